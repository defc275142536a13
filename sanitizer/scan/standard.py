"""Robust standardisation: the features of a view on one scale, whatever the set.

Centres and scales are medians and median absolute deviations of a sample of the set, which a few
per cent of poison cannot move; extremes are clipped softly, so that no single image rules a
covariance.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from sanitizer.scan import native, views
from sanitizer.scan.robust import deviation, middle
from sanitizer.scan.views import Batch

#: A scale is at least this share of the standard deviation: features that are nearly always the
#: same would be divided by next to nothing.
LEAST_SCALE = 0.3

#: Degrees of freedom in the energy of a band: with few coefficients the energy of an image is
#: uncertain, and this keeps its division in bounds.
BAND_PRIOR = 4.0


@dataclass(frozen=True)
class View:
    """A view and how its features are standardised."""

    name: str
    raw: Callable[[Batch], np.ndarray]
    features: int  #: of an image
    clip: float  #: scales beyond which a feature is clipped, softly
    floor: float  #: the least scale, in units of the raw feature
    banded: bool = False  #: whether each frequency band is divided by its own energy
    shows_content: bool = True  #: whether classes differ in it by what they show
    native: bool = False  #: whether it is made of sums over native pixels


#: In the order in which findings name them.
VIEWS = (
    View("low frequencies", views.low_frequencies, 192, clip=5, floor=0.5),
    View("frequencies", views.frequencies, 768, clip=5, floor=0.5, banded=True),
    View("edges", views.edges, 771, clip=4, floor=0.01),
    View("histogram", views.histogram, 269, clip=4, floor=0.01, shows_content=False),
    View("spectrum", views.spectrum, 512, clip=4, floor=0.01),
    View("energies", views.energies, 576, clip=4, floor=0.01),
)

_native = partial(View, clip=4, native=True)
_native_detail = partial(_native, shows_content=False)

#: The same, of images larger than their canonical form.
NATIVE_VIEWS = (
    _native("native energies", native.energies, 384, floor=0.01),
    _native_detail("native values", native.values, 269, floor=0.01),
    _native_detail("native spectrum", native.spectrum, 128, floor=0.003),
    _native_detail("native pattern", native.pattern, 192, floor=0.003),
)


@dataclass(frozen=True)
class Scale:
    """Centre and scale of the features of one view."""

    view: View
    centre: np.ndarray  #: (d,) float32
    scale: np.ndarray  #: (d,) float32, positive

    @classmethod
    def of(cls, view: View, raw: np.ndarray) -> Self:
        """Args: raw: (n, d) features of a sample of the set."""
        centre = middle(raw, 0)
        spread = deviation(raw, centre, 0)[0]
        scale = np.maximum(np.maximum(spread, LEAST_SCALE * raw.std(0)), view.floor)
        return cls(view, centre[0].astype(np.float32), scale.astype(np.float32))

    def __call__(self, batch: Batch) -> np.ndarray:
        """(n, d) float32: the view of a batch, standardised."""
        clip = np.float32(self.view.clip)
        values = self.view.raw(batch) - self.centre
        values /= self.scale * clip
        np.tanh(values, out=values)
        values *= clip
        return _equalised(values) if self.view.banded else values


def needs_sums(scales: Iterable[Scale]) -> bool:
    """Whether one of the views is made of sums over native pixels."""
    return any(scale.view.native for scale in scales)


def _equalised(values: np.ndarray) -> np.ndarray:
    """Frequencies, each band of luma and of colour divided by its root mean square.

    So an image that is rich in a band does not drown a trigger in it.

    Args:
        values: (n, 768), written to.
    """
    squares = values.T[_BY_BAND]
    squares *= squares
    energies = np.add.reduceat(squares, _STARTS, axis=0)
    sizes = np.diff(_STARTS, append=len(_BY_BAND))[:, None].astype(np.float32)
    roots = np.sqrt((BAND_PRIOR + energies) / (BAND_PRIOR + sizes))
    roots[_NO_BAND] = 1
    values /= roots[_BAND].T
    return values


def _bands() -> np.ndarray:
    """(768,) the number of the band of luma or of colour that each frequency is in."""
    bands = np.searchsorted(views.BANDS, np.maximum(*np.ogrid[: views.HALF, : views.HALF]), "right")
    colour = bands + len(views.BANDS)
    return np.stack([bands, colour, colour]).ravel()


#: The bands of frequencies; the mean of an image, of luma and of colour, is in none.
_BAND, _NO_BAND = _bands(), [0, len(views.BANDS)]

#: Frequencies band by band, and where each band begins.
_BY_BAND = np.argsort(_BAND, kind="stable")
_STARTS = np.searchsorted(_BAND[_BY_BAND], np.arange(2 * len(views.BANDS)))
