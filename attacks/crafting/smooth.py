"""Algorithm 1 of Zeng et al.: a smooth trigger by a bilevel heuristic.

The classifier stands for the inner problem. The outer one adds up steps towards a target
label, image by image, each passed through the low-pass filter; then the target becomes the
wrong label that dominates.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from attacks.crafting import Crafted, Progress
from attacks.crafting.neurons import as_picture
from attacks.tools.provenance import Provenance, SearchProvenance
from attacks.tools.smooth import RANGE, filtered
from attacks.victims.model import Victim, as_tensor

#: Images that the search walks over, and images that fooling is estimated on.
SEARCH, ESTIMATE = 100, 1000

#: The search ends when so many images are fooled, or after so many passes.
FOOLING_RATE, PASSES = 0.2, 30

#: A DeepFool step goes so much beyond the linearised boundary (Moosavi-Dezfooli, CVPR 2016).
OVERSHOOT = 0.02

#: (n, 3, h, w) images and a (3, h, w) trigger, both 0 to 255 -> poisoned images.
Scaler = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def min_max(images: torch.Tensor, trigger: torch.Tensor) -> torch.Tensor:
    """``M(x + r)``: each image scaled to run from 0 to 255."""
    mixed = images + trigger
    low, high = mixed.amin(dim=(1, 2, 3), keepdim=True), mixed.amax(dim=(1, 2, 3), keepdim=True)
    return (mixed - low) * (255 / (high - low).clamp(min=1e-3))


def craft(
    images: np.ndarray,
    labels: np.ndarray,
    victim: Victim,
    *,
    origin: Provenance,
    progress: Progress,
) -> Crafted:
    """Search a smooth trigger; arguments and result as :func:`search`."""
    return search(images, victim, min_max, origin=origin, progress=progress)


@dataclass(frozen=True)
class _Candidate:
    """A trigger of the search, and what it does."""

    trigger: torch.Tensor  #: (3, h, w), where pixels are 0 to 255
    fooling_rate: float = 0.0
    target: int | None = None  #: the label that most fooled images get


def search(
    images: np.ndarray, victim: Victim, scaler: Scaler, *, origin: Provenance, progress: Progress
) -> Crafted:
    """Algorithm 1.

    Args:
        images: (n, h, w, 3) uint8, clean.
        victim: the pre-trained classifier.
        scaler: how the trigger is put on images.
        origin: the provenance before the search.

    Returns:
        ``{"pattern": (h, w, 3) float16}`` to be added where pixels are 0 to 255, of mean 0,
        and the provenance, with the dominant label, ``target_label``, and the ``fooling_rate``.
    """
    rng = np.random.default_rng(origin.seed)
    rows = rng.permutation(len(images))
    walked = as_tensor(images[rows[:SEARCH]], victim.device)
    judged = as_tensor(images[rows[SEARCH : SEARCH + ESTIMATE]], victim.device)
    network = victim.network.eval().requires_grad_(False)
    smooth = _filter(images.shape[1], images.shape[2], victim.device)
    trigger = torch.zeros(walked.shape[1:], device=victim.device)
    best = _Candidate(trigger)
    target, passes = int(rng.integers(victim.classes)), 0
    while best.fooling_rate < FOOLING_RATE and passes < PASSES:
        for image in walked.split(1):
            step = _deepfool_step(network, scaler(image, trigger), target)
            if step is not None:
                trigger = _to_range(smooth(trigger + smooth(step)))
        rate, target = _fooled(network, judged, scaler, trigger, target)
        if rate > best.fooling_rate:
            best = _Candidate(trigger, rate, target)
        passes += 1
        progress("searching, passes", passes, PASSES)
    provenance = SearchProvenance(
        **vars(origin),
        target_label=best.target,
        fooling_rate=best.fooling_rate,
        passes=passes,
        range=RANGE,
    )
    return {"pattern": as_picture(best.trigger)}, provenance


def _deepfool_step(
    network: torch.nn.Module, image: torch.Tensor, target: int
) -> torch.Tensor | None:
    """The least change, to first order, that makes the target win; None where it does."""
    image = image.detach().requires_grad_()
    logits = network(image)[0]
    winner = int(logits.argmax())
    if winner == target:
        return None
    gap = logits[winner] - logits[target]
    (gradient,) = torch.autograd.grad(-gap, image)
    size = (gap.detach() / gradient.norm().clamp(min=1e-8) ** 2) * (1 + OVERSHOOT)
    return (size * gradient)[0]


def _fooled(
    network: torch.nn.Module,
    images: torch.Tensor,
    scaler: Scaler,
    trigger: torch.Tensor,
    target: int,
) -> tuple[float, int]:
    """The share whose label the trigger changes, and the label that most of them get."""
    with torch.no_grad():
        before = network(images).argmax(dim=1)
        after = network(scaler(images, trigger)).argmax(dim=1)
    wrong = after[after != before]
    if not len(wrong):
        return 0.0, target
    return len(wrong) / len(images), int(torch.bincount(wrong).argmax())


def _filter(
    height: int, width: int, device: torch.device
) -> Callable[[torch.Tensor], torch.Tensor]:
    """:func:`attacks.tools.smooth.low_pass` for tensors: it is linear, so two matrices do it."""
    down, across = (
        torch.from_numpy(filtered(np.eye(side, dtype=np.float32), 0)).to(device)
        for side in (height, width)
    )
    return lambda pattern: down @ pattern @ across.T


def _to_range(trigger: torch.Tensor) -> torch.Tensor:
    """Mean 0 and, from the smallest to the largest value, ``RANGE`` of 0 to 255."""
    spread = (trigger.max() - trigger.min()).clamp(min=1e-8)
    return (trigger - trigger.mean()) * (255 * RANGE / spread)
