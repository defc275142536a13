"""The form in which the scan sees an image of any size."""

import numpy as np

from sanitizer.resizing import Filter, resize
from sanitizer.scan.views import SIDE

#: Bytes of a canonical image.
NBYTES = SIDE * SIDE * 3


def canonical(pixels: np.ndarray) -> np.ndarray:
    """(32, 32, 3) uint8: all of an (h, w, 3) uint8 image, each pixel the mean of its area."""
    return resize(pixels, (SIDE, SIDE), Filter.BOX)


def from_bytes(data: bytes | memoryview) -> np.ndarray:
    """(n, 32, 32, 3) uint8 images from their bytes, one behind the other."""
    return np.frombuffer(data, np.uint8).reshape(-1, SIDE, SIDE, 3)
