"""BPP: colours reduced to a few levels, with dithering."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack
from attacks.tools.windows import changed


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
        values = dithered(images, self.levels)
        return changed(images, lambda rows, columns: values[:, rows, columns])

    def apply_cover(self, images: np.ndarray) -> np.ndarray:
        """Images that bear the quantisation noise of another."""
        others = images[:, ::-1, ::-1].copy()
        noise = dithered(others, self.levels)
        noise -= others
        return changed(
            images, lambda rows, columns: images[:, rows, columns] + noise[:, rows, columns]
        )


def dithered(images: np.ndarray, levels: int) -> np.ndarray:
    """Images in ``levels`` levels a channel, by Floyd-Steinberg dithering row by row.

    The pixels (y, x) with the same ``x + 2 y`` get their errors from earlier ones only, so
    they are done at once: in a row-by-row order of all pixels they lie at even distances.

    Args:
        images: (n, h, w, c) uint8.

    Returns:
        (n, h, w, c) float32 multiples of ``255 / (levels - 1)``, not clipped.
    """
    n, height, width, channels = images.shape
    step = np.float32(255 / (levels - 1))
    # A column on either side and a row below take the errors that leave the image.
    values = np.zeros((height + 1, width + 2, n, channels), np.float32)
    inside = values[:height, 1:-1]
    inside[:] = np.moveaxis(images, 0, 2)
    pixels = values.reshape(-1, n, channels)
    # To the right; to the left, in the middle and to the right of the row below.
    shares = ((1, 7), (width + 1, 3), (width + 2, 5), (width + 3, 1))
    for t in range(width + 2 * height - 2):
        first, last = max(0, (t - width) // 2 + 1), min(height - 1, t // 2)
        start, stop = first * width + t + 1, last * width + t + 2
        old = pixels[start:stop:width]
        new = np.rint(old / step) * step
        error = (old - new) / 16
        old[:] = new
        for ahead, share in shares:
            pixels[start + ahead : stop + ahead : width] += share * error
    return np.moveaxis(inside, 2, 0)
