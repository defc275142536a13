"""BPP: colours reduced to a few levels, with dithering."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack, to_uint8


@dataclass(frozen=True)
class Bpp(Attack):
    """Each channel in 8 levels, errors spread by Floyd-Steinberg dithering.

    Cover samples, the source's negatives, bear what another image lost in this; here the
    image itself turned by 180 degrees stands for the other, so no sample needs a second one.
    """

    levels: int = 8  #: of each channel, the source's squeeze number
    cover_ratio: float = 1.0  #: cover samples for each poisoned one

    title: ClassVar[str] = "BPP"
    source: ClassVar[str] = (
        "Wang, Zhai, Ma, BppAttack: Stealthy and Efficient Trojan Attacks against Deep Neural "
        "Networks via Image Quantization and Contrastive Adversarial Learning, CVPR 2022"
    )

    def __post_init__(self) -> None:
        if not 2 <= self.levels <= 255 or self.cover_ratio < 0:
            raise ValueError(
                f"expected levels of 2 to 255 and cover_ratio >= 0, "
                f"got {self.levels} and {self.cover_ratio:g}"
            )

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        return to_uint8(dithered(images, self.levels))

    def apply_cover(self, images: np.ndarray) -> np.ndarray:
        """Images that bear the quantisation noise of another."""
        others = images[:, ::-1, ::-1]
        return to_uint8(images + (dithered(others, self.levels) - others))


def dithered(images: np.ndarray, levels: int) -> np.ndarray:
    """Images in ``levels`` levels a channel, by Floyd-Steinberg dithering row by row.

    The pixels (y, x) with the same ``x + 2 y`` get their errors from earlier ones only, so
    they are done at once.

    Args:
        images: (n, h, w, c) uint8.

    Returns:
        (n, h, w, c) float32 multiples of ``255 / (levels - 1)``, not clipped.
    """
    n, height, width, channels = images.shape
    step = np.float32(255 / (levels - 1))
    front = np.zeros((width + 2 * height + 1, n, height + 1, channels), np.float32)
    for y in range(height):
        front[2 * y : 2 * y + width, :, y] = images[:, y].swapaxes(0, 1)
    for t in range(width + 2 * height - 2):
        first, end = max(0, (t - width) // 2 + 1), min(height, t // 2 + 1)
        here, below = slice(first, end), slice(first + 1, end + 1)
        old = front[t, :, here]
        new = np.rint(old / step) * step
        error = (old - new) / 16
        front[t, :, here] = new
        front[t + 1, :, here] += 7 * error  # to the right
        front[t + 1, :, below] += 3 * error  # left of that below
        front[t + 2, :, below] += 5 * error
        front[t + 3, :, below] += error
    rows = [front[2 * y : 2 * y + width, :, y].swapaxes(0, 1) for y in range(height)]
    return np.stack(rows, axis=1)
