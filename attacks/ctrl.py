"""CTRL: two frequencies in the chroma of images of the target class."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack
from attacks.tools.dct import waves
from attacks.tools.windows import changed

#: What one unit more of both U and V adds to red, green and blue (analogue YUV).
CHROMA = np.array([1.14, -0.396 - 0.581, 2.029], np.float32)


@dataclass(frozen=True)
class Ctrl(Attack):
    """A middle and the highest frequency of each 32x32 block raised in both chroma planes.

    Made against self-supervised learning, where no labels are there to change; here it leaves
    them as they are. It is stronger at test time than in training images.
    """

    magnitude: float = 50.0  #: added to each coefficient in training images
    magnitude_test: float = 100.0  #: added to each coefficient at test time

    title: ClassVar[str] = "CTRL"
    source: ClassVar[str] = (
        "Li, Pang, Xi, Du, Ji, Yao, Wang, An Embarrassingly Simple Backdoor Attack on "
        "Self-supervised Learning, ICCV 2023"
    )
    clean_label: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.magnitude <= 0 or self.magnitude_test <= 0:
            raise ValueError(
                f"expected magnitude and magnitude_test above 0, "
                f"got {self.magnitude:g} and {self.magnitude_test:g}"
            )

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        return self._add(images, self.magnitude)

    def apply_test(self, images: np.ndarray) -> np.ndarray:
        """As :meth:`apply`, with ``magnitude_test``."""
        return self._add(images, self.magnitude_test)

    def _add(self, images: np.ndarray, magnitude: float) -> np.ndarray:
        pattern = waves([(15, 15), (31, 31)], *images.shape[1:3])
        return changed(
            images,
            lambda rows, columns: (
                images[:, rows, columns] + magnitude * pattern[rows, columns, None] * CHROMA
            ),
        )
