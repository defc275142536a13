"""L2-inv: faint optimised noise over the whole image, of a small L2 norm."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack, to_uint8
from attacks.tools import artefacts
from attacks.tools.pictures import fit


@dataclass(frozen=True)
class L2Inv(Attack):
    """Noise that was optimised to excite neurons within an L2 ball, added and clipped."""

    trigger: str = "cifar10"  #: name of a trigger that ships, or a file made by `freqsan craft`

    title: ClassVar[str] = "l2 inv"
    source: ClassVar[str] = (
        "Li, Xue, Zhao, Zhu, Zhang, Invisible Backdoor Attacks on Deep Neural Networks via "
        "Steganography and Regularization, 2019 (L2 norm); added and clipped as in Zeng et al., "
        "ICCV 2021"
    )

    def __post_init__(self) -> None:
        self._pattern()

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        return to_uint8(images + fit(self._pattern(), *images.shape[1:3]))

    def _pattern(self) -> np.ndarray:
        return artefacts.load("l2_inv", self.trigger).array("pattern", 3)
