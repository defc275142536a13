"""The small-input detector of Zeng et al. (ICCV 2021), and how it learns, after their code.

38.6 million multiply-adds an image of 32x32. Learnt with Adadelta at a rate of 0.05 from batches
of 64, half clean and half manipulated; the manipulated half is drawn anew for every round.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.paper.manipulations import manipulated
from detector.training import checkpoints
from sanitizer.dct import dct2
from sanitizer.record import Record

#: What the network looks at: the DCT of 0 to 255 pixels, as it is; or the pixels from 0 to 1.
FREQUENCY, IMAGE = "frequency", "image"

#: Channels of the three blocks, and the share that is dropped after each.
BLOCKS = ((32, 0.2), (64, 0.3), (128, 0.4))

#: Weight of the squares of a convolution's weights in the loss.
PENALTY = 1e-4

LEARNING_RATE, BATCH = 0.05, 64

#: Images that are described at a time.
PART = 500


@dataclass(frozen=True)
class Schedule(Record):
    """How long a detector learns; the authors: 5 rounds of 10 epochs of 50,000 images."""

    rounds: int = 5
    epochs: int = 10  #: of a round
    images: int = 50_000  #: clean ones of an epoch, at most, and as many manipulated
    seed: int = 0


class PaperNetwork(nn.Module):
    """Six convolutions with ELU and batch norm, and one dense layer: (n, 2) logits."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for outputs, dropped in BLOCKS:
            layers += [*_convolution(inputs, outputs), *_convolution(outputs, outputs)]
            layers += [nn.MaxPool2d(2), nn.Dropout(dropped)]
            inputs = outputs
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.last = nn.Linear(inputs * 4 * 4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(self.features(inputs))


def inputs_of(images: np.ndarray, domain: str) -> torch.Tensor:
    """(n, 32, 32, 3) uint8 images as the network takes them, (n, 3, 32, 32) float32."""
    if domain == FREQUENCY:
        return torch.from_numpy(dct2(images))
    return torch.from_numpy(np.moveaxis(images, -1, 1).astype(np.float32) / 255)


def fit(
    images: np.ndarray,
    domain: str,
    schedule: Schedule,
    directory: Path,
    after_epoch: Callable[[int, PaperNetwork], None],
) -> PaperNetwork:
    """A network that tells manipulated from clean images; resumes at the epoch it had finished.

    Args:
        images: (n, 32, 32, 3) uint8, clean.
        after_epoch: called with the number of epochs so far, from 1.
    """
    torch.manual_seed(schedule.seed)
    network = PaperNetwork()
    optimizer = _optimizer(network)
    settings = {"domain": domain, **schedule.to_json()}
    done = checkpoints.resume(directory, network, optimizer, settings, images)
    for epoch in range(done, schedule.rounds * schedule.epochs):
        rng = np.random.default_rng([schedule.seed, epoch // schedule.epochs])
        clean = images[rng.permutation(len(images))[: schedule.images]]
        changed = manipulated(clean, rng)
        learn(network, optimizer, clean, changed, domain, seed=epoch)
        checkpoints.store(directory, network, optimizer, settings, images, epoch + 1)
        after_epoch(epoch + 1, network)
    return network


def tuned(
    network: PaperNetwork, clean: np.ndarray, changed: np.ndarray, domain: str, epochs: int
) -> PaperNetwork:
    """The network after a few more epochs on these images alone; it is changed itself."""
    optimizer = _optimizer(network)
    for epoch in range(epochs):
        learn(network, optimizer, clean, changed, domain, seed=epoch)
    return network


def learn(
    network: PaperNetwork,
    optimizer: torch.optim.Optimizer,
    clean: np.ndarray,
    changed: np.ndarray,
    domain: str,
    seed: int,
) -> None:
    """One epoch over all clean and all changed images."""
    torch.manual_seed(seed)
    network.train()
    images = np.concatenate([clean, changed])
    labels = torch.from_numpy(np.repeat([0, 1], [len(clean), len(changed)]))
    for rows in torch.randperm(len(images)).split(BATCH):
        loss = nn.functional.cross_entropy(network(inputs_of(images[rows], domain)), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def described(network: PaperNetwork, images: np.ndarray, domain: str) -> np.ndarray:
    """(n, 2048) float32: what the last layer is told of each image."""
    network.eval()
    parts = np.array_split(images, max(1, len(images) // PART))
    with torch.inference_mode():
        return torch.cat([network.features(inputs_of(part, domain)) for part in parts]).numpy()


def flagged(network: PaperNetwork, images: np.ndarray, domain: str) -> np.ndarray:
    """(n,) bool: which images are called manipulated."""
    with torch.inference_mode():
        clean, changed = network.last(torch.from_numpy(described(network, images, domain))).T
    return (changed > clean).numpy()


def distance(network: PaperNetwork, clean: np.ndarray, poisoned: np.ndarray) -> float:
    """How far poisoned images are from the clean ones on average, as in the paper's Figure 4.

    The clean ones are represented by that which is nearest to the last layer's weights for clean.

    Args:
        clean: (n, 2048) descriptions, and so are the m ``poisoned`` ones.
    """
    weights = network.last.weight[0].detach().numpy()
    nearest = clean[np.linalg.norm(clean - weights, axis=1).argmin()]
    return float(np.linalg.norm(poisoned - nearest, axis=1).mean())


def _optimizer(network: PaperNetwork) -> torch.optim.Optimizer:
    convolutions = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d)]
    others = [p for p in network.parameters() if all(p is not weight for weight in convolutions)]
    # Torch adds the decay to the gradient; that of the squares is twice the weights.
    groups = [{"params": convolutions, "weight_decay": 2 * PENALTY}, {"params": others}]
    return torch.optim.Adadelta(groups, lr=LEARNING_RATE, rho=0.95, eps=1e-7)


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.ELU(),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
    ]
