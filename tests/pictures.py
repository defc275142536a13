"""Pixels that the tests make up."""

import numpy as np


def noise(*shape: int) -> np.ndarray:
    """Random uint8 pixels, the same on every call."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
