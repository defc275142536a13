"""FTrojan: two frequencies added to the chroma of the image."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack
from attacks.tools.dct import waves
from attacks.tools.windows import changed

#: Red, green and blue to Y, Cr - 128 and Cb - 128 and back (ITU-R BT.601, full range).
TO_YCRCB = np.array(
    [[0.299, 0.587, 0.114], [0.5, -0.418688, -0.081312], [-0.168736, -0.331264, 0.5]], np.float32
)
TO_RGB = np.array([[1, 1.403, 0], [1, -0.714, -0.344], [1, 0, 1.773]], np.float32)


@dataclass(frozen=True)
class FTrojan(Attack):
    """A middle and the highest frequency of each 32x32 block raised in both chroma planes.

    As in the source's program, luma and chroma are whole numbers before and after.
    """

    magnitude: float = 30.0  #: added to each coefficient; the source takes 30 for CIFAR-10

    title: ClassVar[str] = "FTrojan"
    source: ClassVar[str] = (
        "Wang, Yao, Xu, An, Tong, Wang, An Invisible Black-Box Backdoor Attack Through Frequency "
        "Domain, ECCV 2022"
    )

    def __post_init__(self) -> None:
        if not self.magnitude > 0:
            raise ValueError(f"magnitude: expected above 0, got {self.magnitude:g}")

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        pattern = waves([(15, 15), (31, 31)], *images.shape[1:3])

        def raised(rows: slice, columns: slice) -> np.ndarray:
            scene = images[:, rows, columns].astype(np.float32)
            planes = np.rint(np.einsum("pc,nhwc->nhwp", TO_YCRCB, scene))
            gain = self.magnitude * pattern[rows, columns, None]
            planes[..., 1:] = np.floor(planes[..., 1:] + gain)
            return np.einsum("cp,nhwp->nhwc", TO_RGB, planes)

        return changed(images, raised)
