"""Training a victim on a set, poisoned or not.

Measured on CIFAR-10, rows 0 to 39,999 for training and 40,000 to 49,999 for testing, two cores:
see docs/attacks.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from attacks.victims.model import Victim, as_tensor, mixed_precision, placed
from attacks.victims.network import VictimNetwork
from attacks.victims.settings import VictimProvenance, VictimSettings
from sanitizer.training import TrainingObserver, TrainingState

#: Steps between two calls of an observer within an epoch.
OBSERVED_STEPS = 20


@dataclass(frozen=True)
class Trained:
    """A victim and how it came to be what it is."""

    victim: Victim
    history: list[dict[str, float]]  #: the shares of the watched sets, by epoch


def train(
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    settings: VictimSettings,
    *,
    seed: int = 0,
    watch: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    observer: TrainingObserver = lambda state: None,
) -> Trained:
    """Train a victim; on the GPU where there is one. Deterministic on one machine.

    Args:
        images: (n, h, w, 3) uint8, all of one size, sides of at least 8 px.
        labels: (n,) int, 0 to ``classes - 1``.
        seed: of the weights, the order, the augmentation and the choice of images.
        watch: by name, (m, h, w, 3) uint8 images and (m,) labels; after each epoch the share
            that is classified so is recorded: accuracy of clean, ASR of triggered images.
        observer: called after every ``OBSERVED_STEPS`` steps of an epoch, and at its end, then
            with the shares of the watched sets as ``figures``.

    Raises:
        ValueError: no images, of another shape or dtype, or labels out of range.
    """
    _check(images, labels, classes)
    rng = np.random.default_rng([seed, 77])
    if settings.max_images is not None and len(images) > settings.max_images:
        some = np.sort(rng.choice(len(images), settings.max_images, replace=False))
        images, labels = images[some], labels[some]
    network = placed(_network(images, classes, settings, seed))
    victim = Victim(network, classes, VictimProvenance(settings=settings, seed=seed))
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
    done, total = 0, epochs * len(images)
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
            done += len(rows)
            if (step + 1) % OBSERVED_STEPS == 0:
                observer(TrainingState(epoch + 1, epochs, done, total, float(loss.detach())))
        history.append(shares(victim, watch or {}))
        observer(TrainingState(epoch + 1, epochs, done, total, float(loss.detach()), history[-1]))
    network.eval()
    provenance = replace(victim.provenance, history=history)
    return Trained(replace(victim, provenance=provenance), history)


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
