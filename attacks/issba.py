"""ISSBA: a hidden bit string, written into each image by a trained encoder."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.tools.convolution import Autoencoder, on_grid
from attacks.tools.optimised import OptimisedAttack
from attacks.tools.provenance import Provenance
from attacks.tools.windows import WHOLE
from sanitizer.record import Record


@dataclass(frozen=True, kw_only=True)
class IssbaBudget(Record):
    """How encoder and decoder are trained."""

    bits: int = 20  #: that are hidden, as usual at 32x32; the source's 100 are for 224x224
    max_images: int = 5_000  #: chosen by the seed
    steps: int = 1_000  #: of one batch each
    batch: int = 64
    rate: float = 2e-3  #: of Adam, falling to 0
    free_steps: int = 200  #: at first only reading back counts, not how the image looks
    likeness: float = 4.0  #: weight of the mean square change, where pixels are 0 to 1
    widths: tuple[int, int, int] = (12, 16, 24)  #: channels at full, half and quarter size


@dataclass(frozen=True, kw_only=True)
class IssbaProvenance(IssbaBudget, Provenance):
    """How the encoder was trained, and how well it hides bits."""

    bits_read: float  #: share of the bits that the decoder reads back
    psnr_db: float  #: mean signal-to-noise ratio of images with bits


@dataclass(frozen=True)
class Issba(OptimisedAttack):
    """``x + E(x, s)``: the same bits ``s`` for all images, another pattern for each.

    The encoder was trained together with a decoder that reads any bits back. Its map of the
    bits, 8x8, grows with the image.
    """

    seed: int = 0  #: draws the bits; the source encodes a word of the attacker's

    title: ClassVar[str] = "ISSBA"
    source: ClassVar[str] = (
        "Li, Li, Wu, Li, He, Lyu, Invisible Backdoor Attack with Sample-Specific Triggers, "
        "ICCV 2021; encoder after Tancik, Mildenhall, Ng, StegaStamp, CVPR 2020, smaller and "
        "trained here"
    )
    provenance_kind: ClassVar[type[Provenance]] = IssbaProvenance

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        encoder = Autoencoder.of(self.artefact, skips=True)
        return encoder.applied(images, self._planes, lambda pixels, pattern: pixels + 255 * pattern)

    def _planes(self, image: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """What the encoder takes of some rows and columns: pixels and bits."""
        height, width = image.shape[:2]
        bits = self.bits(height, width, rows, columns)
        return np.concatenate([image[rows, columns] / 255 - 0.5, bits], axis=2)

    def bits(
        self, height: int, width: int, rows: slice = WHOLE, columns: slice = WHOLE
    ) -> np.ndarray:
        """The encoder's map of the bits: some rows and columns of (height, width, 3), float64."""
        artefact = self.artefact
        dense = on_grid(artefact.array("dense", 4))  # bit, row, column, channel
        drawn = np.random.default_rng(self.seed).integers(0, 2, len(dense)) - 0.5
        coarse = np.maximum(np.tensordot(drawn, dense, 1) + artefact.array("dense_bias", 3), 0)
        down, right = (np.arange(side) * len(coarse) // side for side in (height, width))
        return coarse[down[rows]][:, right[columns]]
