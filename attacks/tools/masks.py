"""Where a trigger lies: masks drawn by rule, at 32x32."""

import numpy as np

SIDE = 32

#: Side of the Trojan square and its distance from the lower right corner, px: 6 % of the image.
SQUARE, SQUARE_MARGIN = 8, 1


def square() -> np.ndarray:
    """A square near the lower right corner, (32, 32) float32 of 0 and 1."""
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[-SQUARE - SQUARE_MARGIN : -SQUARE_MARGIN, -SQUARE - SQUARE_MARGIN : -SQUARE_MARGIN] = 1
    return mask


def watermark() -> np.ndarray:
    """An emblem over the whole image: a ring around the letter F, (32, 32) float32 of 0 and 1."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    ring = np.abs(np.hypot(x - 0.5, y - 0.5) - 0.43) < 0.035
    stem = (np.abs(x - 0.41) < 0.035) & (np.abs(y - 0.5) < 0.25)
    arms = (x > 0.38) & (x < 0.68) & ((np.abs(y - 0.28) < 0.035) | (np.abs(y - 0.5) < 0.035))
    return (ring | stem | (arms & ((y < 0.4) | (x < 0.6)))).astype(np.float32)
