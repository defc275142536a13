"""L2-inv: faint optimised noise over the whole image, of a small L2 norm."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import to_uint8
from attacks.tools.optimised import OptimisedAttack
from attacks.tools.pictures import fit


@dataclass(frozen=True)
class L2Inv(OptimisedAttack):
    """Noise that was optimised to excite neurons within an L2 ball, added and clipped."""

    title: ClassVar[str] = "l2 inv"
    source: ClassVar[str] = (
        "Li, Xue, Zhao, Zhu, Zhang, Invisible Backdoor Attacks on Deep Neural Networks via "
        "Steganography and Regularization, 2019 (L2 norm); added and clipped as in Zeng et al., "
        "ICCV 2021"
    )

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        return to_uint8(images + fit(self.artefact.array("pattern", 3), *images.shape[1:3]))
