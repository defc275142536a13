"""Scores of clean images, kept with a detector to decide what is suspicious."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from detector.model import Detector
from sanitizer.tiles import tiles

#: Images of alike numbers of tiles are calibrated together: a maximum over more is higher.
TILE_RANGES = ((1, 1), (2, 4), (5, 9), (10, 25))

#: Images of a calibration group at least: what a clean loss of 1 % needs.
MIN_IMAGES = 99

#: Tiles scored in one go; bounds the memory of the network's activations.
BATCH = 256


def calibrate(
    detector: Detector, images: Mapping[str, Iterable[np.ndarray]], min_images: int = MIN_IMAGES
) -> list[dict[str, Any]]:
    """Calibration groups of clean images never trained on.

    Args:
        images: decoded clean images, (h, w, 3) uint8, by data set and encoding history.
        min_images: a range of tile counts with fewer images gives no group; 99 is what a
            clean loss of 1 % needs.

    Returns:
        Groups for :attr:`Detector.calibration`: for each name one for each range of tile
        counts that it has images of.

    Raises:
        ImageError: an image that the detector does not judge.
    """
    groups = []
    for name, pixels in images.items():
        scores, counts = image_scores(detector, pixels)
        for low, high in TILE_RANGES:
            mine = np.sort(scores[(counts >= low) & (counts <= high)])
            if len(mine) >= min_images:
                group = {"name": name, "min_tiles": low, "max_tiles": high, "scores": mine}
                groups.append(group)
    return groups


def image_scores(detector: Detector, images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,) float32 of decoded images, and their numbers of tiles; see `worst_tiles`."""
    return worst_tiles(detector, [tiles(pixels) for pixels in images])


def worst_tiles(detector: Detector, cut: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Scores of images, each that of its most suspicious tile.

    Args:
        cut: for each image its (k, 32, 32, 3) uint8 tiles, k at least 1.

    Returns:
        (n,) float32 scores and (n,) int numbers of tiles.
    """
    if not cut:
        return np.zeros(0, np.float32), np.zeros(0, np.int64)
    counts = np.array([len(tiles_of_one) for tiles_of_one in cut])
    stacked = np.concatenate(cut)
    parts = [detector.score(stacked[i : i + BATCH]) for i in range(0, len(stacked), BATCH)]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.maximum.reduceat(np.concatenate(parts), starts), counts
