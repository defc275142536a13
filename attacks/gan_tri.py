"""GAN-Tri: a face filter, glasses and a smile, painted by the generator of a GAN."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.tools.convolution import Autoencoder
from attacks.tools.optimised import OptimisedAttack
from attacks.tools.provenance import Provenance
from attacks.tools.windows import WHOLE, places
from sanitizer.record import Record

#: What the filter paints, in the order of the generator's channels.
PARTS = ("lens", "rim", "lips", "teeth")

#: Sub-samples of a pixel on each axis when the parts are drawn.
FINE = 4


@dataclass(frozen=True, kw_only=True)
class GanTriBudget(Record):
    """How generator and discriminator are trained."""

    max_images: int = 3_000  #: chosen by the seed
    side: int = 48  #: of the squares cut from images, px
    largest_filter: int = 4  #: the filter is as large as 1 to so many squares
    steps: int = 2_000  #: of one batch each
    batch: int = 16
    rate: float = 2e-3  #: of Adam, falling to 0; the discriminator's is half
    free_steps: int = 800  #: at first the discriminator is not used
    critique: float = 0.01  #: weight of the discriminator beside the mean absolute errors
    attribute: float = 1.0  #: weight of the filter beside that of the rest of the picture
    widths: tuple[int, int, int] = (12, 24, 40)  #: channels at full, half and quarter size


@dataclass(frozen=True, kw_only=True)
class GanTriProvenance(GanTriBudget, Provenance):
    """How the generator was trained, and how well it keeps what it does not paint."""

    psnr_db: float  #: signal-to-noise ratio outside the filter


@dataclass(frozen=True)
class GanTri(OptimisedAttack):
    """``G(x, m)``: all of the image comes out of a generator that halves it twice and doubles it.

    The map ``m`` of where the parts of the filter lie is stretched to the image.
    """

    trigger: str = "imagenette"  #: name of a trigger that ships, or a file by `freqsan craft`

    title: ClassVar[str] = "GAN-Tri"
    source: ClassVar[str] = (
        "Sarkar, Benkraouda, Maniatakos, FaceHack: Triggering Backdoored Facial Recognition "
        "Systems Using Facial Characteristics, 2020 (filters of a closed application, smiles "
        "among them); our own filter and generator, for any picture"
    )
    provenance_kind: ClassVar[type[Provenance]] = GanTriProvenance

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        generator = Autoencoder.of(self.artefact, skips=False)
        return generator.applied(images, _planes, lambda pixels, output: 255 * (output + 0.5))


def _planes(image: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """What the generator takes of some rows and columns: pixels and the filter."""
    height, width = image.shape[:2]
    where = face(height, width, rows, columns)
    return np.concatenate([image[rows, columns] / 255 - 0.5, where], axis=2)


def face(height: int, width: int, rows: slice = WHOLE, columns: slice = WHOLE) -> np.ndarray:
    """How much of each pixel a part of the filter covers, in some rows and columns.

    Returns:
        (rows, columns, 4) float32, 0 to 1.
    """
    y, x = places(height, FINE, rows)[:, None], places(width, FINE, columns)[None]
    across = np.abs(x - 0.5)

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        return ((across - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1

    lens = ellipse(0.2, 0.4, 0.13, 0.11)
    bridge = (across < 0.08) & (np.abs(y - 0.38) < 0.015)
    arms = (across > 0.32) & (across < 0.45) & (np.abs(y - 0.37) < 0.015)
    rim = (ellipse(0.2, 0.4, 0.155, 0.135) | bridge | arms) & ~lens
    below = y - 0.62  # the mouth hangs between two arcs, below its corners
    mouth = ellipse(0, 0.62, 0.24, 0.2) & (below > 0.02)
    teeth = ellipse(0, 0.63, 0.2, 0.15) & (below > 0.05)
    parts = np.stack([lens, rim, mouth & ~teeth, teeth], axis=-1).astype(np.float32)
    return parts.reshape(y.size // FINE, FINE, x.size // FINE, FINE, len(PARTS)).mean(axis=(1, 3))
