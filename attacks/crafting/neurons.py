"""Patterns that excite neurons of a classifier, as Trojaning Attack makes its triggers."""

from collections.abc import Callable

import numpy as np
import torch

from attacks.victims.model import Victim, as_tensor

#: (n, 3, h, w) images and a (3, h, w) pattern, both 0 to 255 -> triggered images, likewise.
Put = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

#: Images of a step, and images that an optimisation draws them from.
BATCH, IMAGES = 64, 2000

#: Neurons are driven towards so many times the largest activation that clean images reach.
EXCITEMENT = 10.0


def some_images(images: np.ndarray, seed: int, victim: Victim) -> torch.Tensor:
    """At most ``IMAGES`` of (n, h, w, 3) uint8 images, chosen by the seed, as a tensor."""
    rows = np.random.default_rng(seed).permutation(len(images))[:IMAGES]
    return as_tensor(images[np.sort(rows)], victim.device)


def best_connected(victim: Victim, count: int) -> torch.Tensor:
    """The penultimate neurons with the largest sum of absolute incoming weights, (count,) int64.

    Liu et al. select a neuron so: what is strongly connected is easily driven.
    """
    incoming = victim.network.last_weights().abs().sum(dim=(1, 2, 3))
    return torch.topk(incoming, count).indices


def excite(
    victim: Victim,
    clean: torch.Tensor,
    pattern: torch.Tensor,
    put: Put,
    neurons: torch.Tensor,
    *,
    steps: int,
    seed: int,
    rate: float = 8.0,
    project: Callable[[torch.Tensor], torch.Tensor] = lambda pattern: pattern.clamp(0, 255),
    progress: Callable[[int], None] = lambda step: None,
) -> torch.Tensor:
    """Optimise a pattern until images that carry it drive ``neurons`` to a high target.

    Minimises the squared distance of the neurons' activations from ``EXCITEMENT`` times
    their largest on clean images, by Adam on the pattern alone.

    Args:
        clean: (n, 3, h, w) images to put the pattern on, 0 to 255.
        pattern: (3, h, w), where to start.
        steps: of one batch each.
        rate: step size, in pixel values of 0 to 255.
        project: back into what is allowed, after each step.
    """
    network = victim.network.eval().requires_grad_(False)
    with torch.no_grad():
        target = EXCITEMENT * network.features(clean[:500])[:, neurons].amax(dim=0).clamp(min=1.0)
    pattern = pattern.clone().requires_grad_()
    optimizer = torch.optim.Adam([pattern], lr=rate)
    rng = np.random.default_rng([seed, 1])
    for step in range(steps):
        rows = torch.from_numpy(rng.integers(0, len(clean), BATCH)).to(clean.device)
        excited = network.features(put(clean[rows], pattern))[:, neurons]
        loss = ((excited - target) ** 2 / target**2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            pattern.copy_(project(pattern))
        progress(step + 1)
    return pattern.detach()


def as_picture(pattern: torch.Tensor) -> np.ndarray:
    """(3, h, w) tensor -> (h, w, 3) float16, as artefacts hold patterns."""
    return pattern.permute(1, 2, 0).cpu().numpy().astype(np.float16)
