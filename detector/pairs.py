"""Pairs of a clean and a manipulated view, drawn anew every epoch.

Both halves of a pair share one history before the manipulation and one encoding after it, so
the manipulation is all that tells them apart.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from detector.histories import random_encoding, random_history
from detector.manipulations import manipulate

#: Share of pairs that are encoded once more after the manipulation.
REENCODED = 0.4


def pairs(
    pool: np.ndarray, chosen: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Clean and manipulated views of the ``chosen`` rows of the pool.

    Returns:
        (2 n, 32, 32, 3) uint8, the clean half first, and (2 n,) float32 labels, 1 manipulated.
    """
    n = len(chosen)
    images = np.empty((2 * n, *pool.shape[1:]), np.uint8)
    for i, row in enumerate(chosen):
        clean = random_history(pool[row], rng)
        changed = manipulate(clean, pool[rng.integers(len(pool))], rng)
        if rng.random() < REENCODED:
            state = rng.bit_generator.state
            clean = random_encoding(clean, rng)
            rng.bit_generator.state = state  # the same encoding for both
            changed = random_encoding(changed, rng)
        images[i], images[n + i] = clean, changed
    return images, np.repeat(np.array([0, 1], np.float32), n)


def batches(
    pool: np.ndarray, steps: int, size: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """``steps`` batches of ``size`` pairs; the next is drawn while the network learns from one."""
    rows = np.resize(rng.permutation(len(pool)), steps * size).reshape(steps, -1)
    with ThreadPoolExecutor(1) as executor:
        following = executor.submit(pairs, pool, rows[0], rng)
        for step in range(steps):
            batch = following.result()
            if step + 1 < steps:
                following = executor.submit(pairs, pool, rows[step + 1], rng)
            yield batch
