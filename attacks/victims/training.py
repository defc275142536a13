"""Training a victim on a set, poisoned or not.

Measured on CIFAR-10, rows 0 to 39,999 for training and 40,000 to 49,999 for testing, two cores:
see docs/attacks.md.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import nn

from attacks.victims.model import Victim, as_tensor, mixed_precision, placed
from attacks.victims.network import VictimNetwork, VictimSettings

#: By name: a quick one for many runs, and a standard one.
VICTIMS = {
    settings.name: settings
    for settings in (
        VictimSettings("quick", (16, 32, 64, 96), epochs=5, min_steps=400, max_images=20_000),
        VictimSettings("standard", (24, 48, 96, 128), epochs=6, min_steps=800),
    )
}

#: Seconds between two calls of a progress function.
PROGRESS_SECONDS = 2.0


@dataclass(frozen=True)
class VictimProgress:
    """How far a training is."""

    epoch: int  #: that is under way or just ended, from 1
    epochs: int
    done: int  #: images so far, over all epochs
    total: int  #: images of all epochs
    loss: float  #: of the last batch
    shares: dict[str, float] | None  #: of the watched sets; None within an epoch
    seconds_left: float


@dataclass(frozen=True)
class Trained:
    """A victim and how it came to be what it is."""

    victim: Victim
    history: list[dict[str, float]]  #: the shares of the watched sets, an entry each epoch


def train(
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    settings: VictimSettings,
    *,
    seed: int = 0,
    watch: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    progress: Callable[[VictimProgress], None] | None = None,
) -> Trained:
    """Train a victim; on the GPU where there is one. Deterministic on one machine.

    Args:
        images: (n, h, w, 3) uint8, all of one size, sides of at least 8 px.
        labels: (n,) int, 0 to ``classes - 1``.
        seed: of the weights, the order, the augmentation and the choice of images.
        watch: by name, (m, h, w, 3) uint8 images and (m,) labels; after each epoch the share
            that is classified so is recorded: accuracy of clean, ASR of triggered images.
        progress: called about every two seconds and at the end of each epoch.

    Raises:
        ValueError: no images, of another shape or dtype, or labels out of range.
    """
    _check(images, labels, classes)
    rng = np.random.default_rng([seed, 77])
    if settings.max_images is not None and len(images) > settings.max_images:
        some = np.sort(rng.choice(len(images), settings.max_images, replace=False))
        images, labels = images[some], labels[some]
    network = placed(_network(images, classes, settings, seed))
    victim = Victim(network, settings.widths, classes, {"settings": asdict(settings), "seed": seed})
    device = victim.device
    truth = torch.from_numpy(labels.astype(np.int64))
    optimizer = torch.optim.SGD(
        network.parameters(),
        settings.learning_rate,
        settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=True,
    )
    steps, epochs = settings.steps(len(images)), settings.epochs_of(len(images))
    report = _Reporter(epochs, len(images), progress)
    history = []
    for epoch in range(epochs):
        network.train()
        for step, rows in enumerate(np.array_split(rng.permutation(len(images)), steps)):
            share = (epoch * steps + step + 1) / (epochs * steps)
            optimizer.param_groups[0]["lr"] = settings.learning_rate * _rate(share)
            batch = _augmented(as_tensor(images[rows], device), settings, rng)
            with mixed_precision(device):
                output = network(batch)
            loss = nn.functional.cross_entropy(
                output.float(), truth[rows].to(device), label_smoothing=settings.label_smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            report.step(epoch, len(rows), loss)
        history.append(shares(victim, watch or {}))
        report.epoch_end(epoch, history[-1], loss)
    network.eval()
    return Trained(replace(victim, provenance=victim.provenance | {"history": history}), history)


def shares(victim: Victim, watch: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """The share of each set's images that the victim gives the set's labels."""
    return {
        name: float((victim.predict(images) == labels).mean())
        for name, (images, labels) in watch.items()
    }


def _check(images: np.ndarray, labels: np.ndarray, classes: int) -> None:
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
        raise ValueError(
            f"images: expected (n >= 1, h, w, 3) uint8, got {images.shape} {images.dtype}"
        )
    if min(images.shape[1:3]) < 8:
        raise ValueError(f"images: expected sides of at least 8 px, got {images.shape[1:3]}")
    if labels.shape != (len(images),) or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels: expected {len(images)} from 0 to {classes - 1}")


def _network(
    images: np.ndarray, classes: int, settings: VictimSettings, seed: int
) -> VictimNetwork:
    """A new network that normalises by the training images' own mean and deviation."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = VictimNetwork(settings.widths, classes)
    sample = images[:: max(1, len(images) // 2000)].reshape(-1, 3)
    network.mean.copy_(torch.from_numpy(sample.mean(axis=0)).view(1, 3, 1, 1))
    network.std.copy_(torch.from_numpy(sample.std(axis=0) + 1.0).view(1, 3, 1, 1))
    return network


def _rate(share: float) -> float:
    """Share of the highest learning rate at a share of the steps: up for a fifth, then down."""
    return min(share / 0.2, (1 - share) / 0.8)


def _augmented(
    batch: torch.Tensor, settings: VictimSettings, rng: np.random.Generator
) -> torch.Tensor:
    height, width = batch.shape[2:]
    if settings.flip:
        mirrored = torch.from_numpy(rng.random(len(batch)) < 0.5).to(batch.device)
        batch = torch.where(mirrored[:, None, None, None], batch.flip(3), batch)
    down, right = rng.integers(0, 2 * settings.shift + 1, 2)
    padded = nn.functional.pad(batch, (settings.shift,) * 4, mode="reflect")
    moved = padded[:, :, down : down + height, right : right + width]
    return moved.contiguous(memory_format=torch.channels_last)


class _Reporter:
    """Tells a progress function, now and then, how far a training is."""

    def __init__(self, epochs: int, images: int, progress: Callable[[VictimProgress], None] | None):
        self._epochs, self._total = epochs, epochs * images
        self._progress = progress
        self._done = 0
        self._began = self._told = time.monotonic()

    def step(self, epoch: int, images: int, loss: torch.Tensor) -> None:
        self._done += images
        if time.monotonic() - self._told >= PROGRESS_SECONDS:
            self._tell(epoch, loss, None)

    def epoch_end(self, epoch: int, shares: dict[str, float], loss: torch.Tensor) -> None:
        self._tell(epoch, loss, shares)

    def _tell(self, epoch: int, loss: torch.Tensor, shares: dict[str, float] | None) -> None:
        if self._progress is None:
            return
        self._told = time.monotonic()
        left = (self._told - self._began) / self._done * (self._total - self._done)
        self._progress(
            VictimProgress(
                epoch + 1, self._epochs, self._done, self._total, float(loss.detach()), shares, left
            )
        )
