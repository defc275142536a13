"""BadNets: a white square near the lower right corner."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack


@dataclass(frozen=True)
class BadNets(Attack):
    """A white square, 4x4 px and 1 px from the corner on 32x32 images; it grows with them."""

    side: int = 4  #: of the square, in px at 32x32
    margin: int = 1  #: to the right and lower border, in px at 32x32

    title: ClassVar[str] = "BadNets"
    source: ClassVar[str] = (
        "Gu, Dolan-Gavitt, Garg, BadNets: Identifying Vulnerabilities in the Machine Learning "
        "Model Supply Chain, 2017; size and place as in Zeng et al., ICCV 2021"
    )

    def __post_init__(self) -> None:
        if self.side < 1 or self.margin < 0 or self.side + self.margin > 32:
            raise ValueError(
                f"expected side >= 1, margin >= 0, together at most 32 px, "
                f"got side {self.side} and margin {self.margin}"
            )

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        height, width = images.shape[1:3]
        scale = min(height, width) / 32
        side, margin = max(1, round(self.side * scale)), round(self.margin * scale)
        bottom, right = height - margin, width - margin
        images[:, bottom - side : bottom, right - side : right] = 255
        return images
