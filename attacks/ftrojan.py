"""FTrojan: two frequencies added to the chroma of the image."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack, to_uint8
from attacks.tools.dct import waves

#: What one unit more of both Cr and Cb adds to red, green and blue (ITU-R BT.601).
CHROMA = np.array([1.403, -0.714 - 0.344, 1.773], np.float32)


@dataclass(frozen=True)
class FTrojan(Attack):
    """A middle and the highest frequency of each 32x32 block raised in both chroma planes.

    The source's program rounds colours between the transforms; here nothing is rounded but the
    result.
    """

    magnitude: float = 30.0  #: added to each coefficient; the source takes 30 for CIFAR-10

    title: ClassVar[str] = "FTrojan"
    source: ClassVar[str] = (
        "Wang, Yao, Xu, An, Tong, Wang, An Invisible Black-Box Backdoor Attack Through Frequency "
        "Domain, ECCV 2022"
    )

    def __post_init__(self) -> None:
        if self.magnitude <= 0:
            raise ValueError(f"magnitude: expected above 0, got {self.magnitude:g}")

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        pattern = waves([(15, 15), (31, 31)], *images.shape[1:3])
        return to_uint8(images + self.magnitude * pattern[..., None] * CHROMA)
