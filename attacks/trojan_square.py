"""Trojan square: a small square whose colours were optimised against a classifier's neuron."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack, to_uint8
from attacks.tools import artefacts, masks
from attacks.tools.pictures import fit


@dataclass(frozen=True)
class TrojanSquare(Attack):
    """A square of optimised colours, opaque, near the lower right corner; it grows with the image.

    ``T + (1 - mask) x``, the local patching of Zeng et al., ICCV 2021.
    """

    trigger: str = "cifar10"  #: name of a trigger that ships, or a file made by `freqsan craft`

    title: ClassVar[str] = "Trojan square"
    source: ClassVar[str] = (
        "Liu, Ma, Aafer, Lee, Zhai, Wang, Zhang, Trojaning Attack on Neural Networks, NDSS 2018: "
        "mask, then colours by gradient descent on the best-connected neuron; 8x8 px, 6 % of the "
        "image, where the source takes 7 %"
    )

    def __post_init__(self) -> None:
        self._pattern()

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        height, width = images.shape[1:3]
        unit = min(height, width) / masks.SIDE
        side, margin = round(masks.SQUARE * unit), round(masks.SQUARE_MARGIN * unit)
        rows, columns = np.nonzero(masks.square())
        square = self._pattern()[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        bottom, right = height - margin, width - margin
        images[:, bottom - side : bottom, right - side : right] = to_uint8(fit(square, side, side))
        return images

    def _pattern(self) -> np.ndarray:
        return fit(artefacts.load("trojan_square", self.trigger).array("pattern", 3), 32, 32)
