"""Pairs of a clean and a manipulated view, drawn anew every epoch.

Both halves of a pair share one history before the manipulation and one encoding after it, so
the manipulation is all that tells them apart.
"""

import multiprocessing
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import signal_handling

from detector.training.histories import random_encoding, random_history
from detector.training.manipulations import manipulate

#: Share of pairs that are encoded once more after the manipulation.
REENCODED = 0.5


class Views(Protocol):
    """Clean views to draw from, as an array of them or a :class:`Pool`."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Pool:
    """Two arrays of views, one behind the other: to join them would take their memory twice."""

    first: np.ndarray  #: (n, 32, 32, 3) uint8
    second: np.ndarray  #: (m, 32, 32, 3) uint8

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, row: int, /) -> np.ndarray:
        beyond = row - len(self.first)
        view: np.ndarray = self.first[row] if beyond < 0 else self.second[beyond]
        return view


def pairs(
    pool: Views,
    chosen: np.ndarray,
    rng: np.random.Generator,
    left_out: Collection[str] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Clean and manipulated views of the ``chosen`` rows of the pool.

    Args:
        left_out: families of manipulations that are not drawn from.

    Returns:
        (2 n, 32, 32, 3) uint8, the clean half first, and (2 n,) float32 labels, 1 manipulated.
    """
    n = len(chosen)
    images = np.empty((2 * n, *pool[0].shape), np.uint8)
    for i, row in enumerate(chosen.tolist()):
        clean = random_history(pool[row], rng)
        changed = manipulate(clean, pool[int(rng.integers(len(pool)))], rng, left_out)
        if rng.random() < REENCODED:
            state = rng.bit_generator.state
            clean = random_encoding(clean, rng)
            rng.bit_generator.state = state  # the same encoding for both
            changed = random_encoding(changed, rng)
        images[i], images[n + i] = clean, changed
    return images, np.repeat(np.array([0, 1], np.float32), n)


class PairBatches(Dataset[tuple[np.ndarray, np.ndarray]]):
    """The batches of one epoch by step, each drawn from its own seed."""

    def __init__(
        self,
        pool: Views,
        steps: int,
        size: int,
        seed: tuple[int, int],
        left_out: Collection[str],
    ):
        rows = np.random.default_rng(seed).permutation(len(pool))
        self.pool, self.seed, self.left_out = pool, seed, left_out
        self.rows = np.resize(rows, steps * size).reshape(steps, size)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((*self.seed, step))
        return pairs(self.pool, self.rows[step], rng, self.left_out)


def batches(
    pool: Views,
    steps: int,
    size: int,
    seed: tuple[int, int],
    left_out: Collection[str] = (),
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """``steps`` batches of ``size`` pairs, drawn by another process while the network learns."""
    loader = DataLoader(
        PairBatches(pool, steps, size, seed, left_out),
        batch_size=None,
        num_workers=1,
        prefetch_factor=8,
        # The first is the system's own; to ask for it by default would settle it for all.
        multiprocessing_context=multiprocessing.get_all_start_methods()[0],
    )
    for images, labels in loader:
        yield images.numpy(), labels.numpy()


@contextmanager
def signals_kept() -> Iterator[None]:
    """Take back the handler that torch sets for good where a loader starts a process.

    Torch also forgets that it has set it, so that a loader of the caller's has one again.
    """
    child = getattr(signal, "SIGCHLD", None)  # not on Windows
    before = signal.getsignal(child) if child is not None else None
    try:
        yield
    finally:
        if child is not None and signal.getsignal(child) is not before:
            signal.signal(child, before)
            signal_handling._SIGCHLD_handler_set = False
