"""L2-inv: faint optimised noise over the whole image, of a small L2 norm."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.tools.optimised import OptimisedAttack
from attacks.tools.pictures import add
from attacks.tools.provenance import ExcitingProvenance, Provenance


@dataclass(frozen=True, kw_only=True)
class L2Provenance(ExcitingProvenance):
    """Of noise on an L2 ball."""

    l2_norm: float  #: where pixels are 0 to 1


@dataclass(frozen=True)
class L2Inv(OptimisedAttack):
    """Noise that was optimised to excite neurons within an L2 ball, added and clipped."""

    title: ClassVar[str] = "l2 inv"
    source: ClassVar[str] = (
        "Li, Xue, Zhao, Zhu, Zhang, Invisible Backdoor Attacks on Deep Neural Networks via "
        "Steganography and Regularization, 2019 (L2 norm); added and clipped as in Zeng et al., "
        "ICCV 2021"
    )
    provenance_kind: ClassVar[type[Provenance]] = L2Provenance

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        return add(images, self.artefact.array("pattern", 3))
