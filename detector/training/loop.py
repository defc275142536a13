"""Training: a network learns to tell manipulated from clean views.

Measured: 22 epochs of 160,000 pairs, about 85 minutes of two cores, give the bundled detector
(``benchmarks/bundled_detector.py``). At 1 % clean loss it finds 90 % of the paper's seven triggers
on CIFAR-10, 67 % on GTSRB and 81 % on photos of 224 px, all of them PNGs, and of BadNets' squares
95, 97 and 94 % (``benchmarks/detection.md``).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from detector.architectures import build
from detector.inputs import Tiles
from detector.network import Network, logits, pixels_on
from detector.settings import ExpertsSettings, NetworkSettings
from detector.training import EPOCHS, checkpoints
from detector.training.graphics import graphics
from detector.training.manipulations import FAMILIES
from detector.training.pairs import Pool, Views, batches, pairs, signals_kept
from sanitizer.record import Record
from sanitizer.training import TrainingObserver, TrainingState

#: Drawn views that are added to a pool, as a share of it: few sets of photographs have any.
GRAPHICS = 0.03

#: Logits are scaled so that nearly all lie within this: beyond it scores would collide.
LOGIT_RANGE = 8.0


@dataclass(frozen=True)
class TrainSettings(Record):
    """What a training run depends on, besides its pool."""

    epochs: int = EPOCHS
    pairs: int = 40_000  #: clean and manipulated views of an epoch, each
    batch: int = 64  #: pairs of a step
    learning_rate: float = 2e-3  #: the highest; it warms up, then falls as a cosine to 0
    weight_decay: float = 1e-4
    seed: int = 0
    bfloat16: bool = False  #: convolutions in bfloat16, faster where the hardware has it
    #: Families of manipulations that the network never sees, to learn how it does on kinds of
    #: triggers that nobody thought of.
    left_out: tuple[str, ...] = ()
    network: NetworkSettings = field(default_factory=ExpertsSettings)


@dataclass(frozen=True)
class Trained:
    """A trained network and what is known of it."""

    network: Network
    settings: TrainSettings
    temperature: float  #: logits are divided by it before the sigmoid
    figures: dict[str, float]  #: on the held-out views


@signals_kept()
@torch.random.fork_rng()  # the seeds below are not those of the caller
def train(
    pool: np.ndarray,
    held_out: Mapping[str, np.ndarray],
    settings: TrainSettings,
    *,
    checkpoint_dir: Path | None = None,
    observer: TrainingObserver = lambda state: None,
) -> Trained:
    """Train a network to tell manipulated from clean views; on the GPU where there is one.

    To the pool come some views of pages that are drawn by code, which no camera made.

    Deterministic: the same pool, settings and device give the same weights, whether or not
    the run was interrupted.

    Args:
        pool: (n, 32, 32, 3) uint8, clean views, see
            :func:`detector.training.histories.training_views`; n at least 2.
        held_out: (m, 32, 32, 3) uint8 clean views by name, never trained on, to measure on.
        checkpoint_dir: one checkpoint an epoch is kept here, and the run resumes from it.
        observer: called after each step and at the end of each epoch; images are clean and
            manipulated ones.

    Raises:
        ValueError: an empty pool, a pool of the wrong shape, an unknown family left out, or a
            checkpoint of another run.
    """
    unknown = set(settings.left_out) - set(FAMILIES)
    if unknown:
        raise ValueError(f"left out: unknown {sorted(unknown)}, known: {', '.join(FAMILIES)}")
    form = (Tiles.side, Tiles.side, 3)
    if pool.ndim != 4 or pool.shape[1:] != form or pool.dtype != np.uint8 or len(pool) < 2:
        raise ValueError(
            f"pool: expected (n >= 2, {Tiles.side}, {Tiles.side}, 3) uint8, got {pool.shape} "
            f"{pool.dtype}"
        )
    rng = np.random.default_rng([settings.seed, 1 << 33])
    views = Pool(pool, graphics(round(GRAPHICS * len(pool)), Tiles.side, rng))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(settings.seed)
    network = build(settings.network, Tiles.side).to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    steps = -(-settings.pairs // settings.batch)
    checks = _held_out_pairs(held_out, settings.seed)
    figures: dict[str, float] = {}
    done = checkpoints.resume(checkpoint_dir, network, optimizer, settings.to_json(), pool)
    if done == 0:
        _fit_normalisation(network, views, settings, device)
    total = settings.epochs * steps
    for epoch in range(done, settings.epochs):
        torch.manual_seed(settings.seed * 100_003 + epoch)
        drawn = batches(views, steps, settings.batch, (settings.seed, epoch), settings.left_out)
        for step, (images, labels) in enumerate(drawn, start=epoch * steps):
            rate = _rate(step, total) * settings.learning_rate
            with torch.autocast(device.type, torch.bfloat16, enabled=settings.bfloat16):
                loss = _loss(network, images, labels, device)
            _update(network, optimizer, loss, rate)
            state = TrainingState(
                epoch=epoch + 1,
                epochs=settings.epochs,
                done=(step + 1) * settings.batch * 2,
                total=total * settings.batch * 2,
                loss=float(loss.detach()),
            )
            observer(state)
        figures = measure(network, checks)
        checkpoints.store(checkpoint_dir, network, optimizer, settings.to_json(), pool, epoch + 1)
        observer(replace(state, figures=figures))
    return Trained(
        network, settings, _temperature(network, checks), figures or measure(network, checks)
    )


def measure(network: Network, checks: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Detection rate of held-out manipulations at 1 % clean loss, for each set.

    Args:
        checks: by name (2 n, 32, 32, 3) uint8 views, the clean half first.
    """
    rates = {}
    for name, images in checks.items():
        clean, changed = np.split(_logits(network, images), 2)
        rates[name] = float((changed > np.quantile(clean, 0.99)).mean())
    return rates


def _loss(
    network: Network, images: np.ndarray, labels: np.ndarray, device: torch.device
) -> torch.Tensor:
    network.train()
    lessons = network.lessons(pixels_on(images, device)).float()
    truth = torch.from_numpy(labels).to(device).expand_as(lessons)
    # A sum: what learns by itself learns as fast as if it were alone.
    return nn.functional.binary_cross_entropy_with_logits(lessons, truth) * len(lessons)


def _update(
    network: Network, optimizer: torch.optim.Optimizer, loss: torch.Tensor, rate: float
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()


def _rate(step: int, steps: int) -> float:
    """Share of the highest learning rate: 5 % linear warm-up, then a cosine to 0."""
    done = (step + 1) / steps
    return min(done / 0.05, 0.5 * (1 + math.cos(math.pi * done)))


def _fit_normalisation(
    network: Network, pool: Views, settings: TrainSettings, device: torch.device
) -> None:
    rng = np.random.default_rng([settings.seed, 1 << 31])
    images, _ = pairs(pool, rng.integers(0, len(pool), 2000), rng, settings.left_out)
    network.fit_normalisation(pixels_on(images[:2000], device))


def _held_out_pairs(held_out: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, 1 << 32])
    return {name: pairs(views, np.arange(len(views)), rng)[0] for name, views in held_out.items()}


def _logits(network: Network, images: np.ndarray) -> np.ndarray:
    device = next(network.parameters()).device
    return logits(network, pixels_on(images, device))


def _temperature(network: Network, checks: Mapping[str, np.ndarray]) -> float:
    magnitudes = [np.abs(_logits(network, images)) for images in checks.values()]
    if not magnitudes:
        return 1.0
    return max(1.0, float(np.quantile(np.concatenate(magnitudes), 0.999)) / LOGIT_RANGE)
