"""Drawings: of scores, in the coordinates of an SVG; of spectra, as PNGs."""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sanitizer import png
from sanitizer.records import CLEAN, POISONED
from sanitizer.resizing import shrunk_to
from sanitizer.spectrum import MeanSpectrum
from sanitizer.summary import Histogram

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Longest side of a picture in the page, in pixels.
THUMBNAIL = 96


# --- The score histogram ------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """The images of one verdict in one bin, as a rectangle."""

    verdict: str  #: "clean" or "poisoned"
    x: float
    y: float
    width: float
    height: float
    words: str  #: what it stands for, for people


@dataclass(frozen=True)
class Mark:
    """A place on an axis."""

    at: float
    words: str  #: the number there


@dataclass(frozen=True)
class HistogramDrawing:
    """Bars, ticks and threshold lines in the coordinates of a 1000 x 300 drawing."""

    bars: list[Bar]  #: in the order in which they are drawn
    x_ticks: list[Mark]
    y_ticks: list[Mark]
    thresholds: list[Mark]  #: from left to right
    left: int  #: the borders of the area that holds the bars
    right: int
    top: int
    bottom: int


def draw_histogram(histogram: Histogram, thresholds: Mapping[str, float]) -> HistogramDrawing:
    """Counts are on a logarithmic scale that starts at one half, so that one image is a bar.

    Args:
        histogram: judged images by score.
        thresholds: the scores to mark, by what they hold for.
    """
    left, right, top, bottom = 60, 990, 24, 260
    edges = histogram.edges
    highest = max(10, *histogram.clean, *histogram.poisoned)
    decades = math.log10(highest * 1.2) - math.log10(0.5)

    def x(score: float) -> float:
        return round(left + (right - left) * score, 1)

    def y(count: float) -> float:
        return round(bottom - (bottom - top) * (math.log10(count) - math.log10(0.5)) / decades, 1)

    bars = [
        Bar(
            verdict=verdict,
            x=x(edges[i]) + 0.5,
            y=y(count),
            width=round(x(edges[i + 1]) - x(edges[i]) - 1, 1),
            height=round(bottom - y(count), 1),
            words=f"score {edges[i]:.2f} to {edges[i + 1]:.2f}: {count:,} {name}",
        )
        for verdict, name, counts in (
            (CLEAN, "kept", histogram.clean),
            (POISONED, "removed", histogram.poisoned),
        )
        for i, count in enumerate(counts)
        if count
    ]
    return HistogramDrawing(
        # The taller bar of a bin is drawn first, so that the shorter shows in front of it.
        bars=sorted(bars, key=lambda bar: -bar.height),
        x_ticks=[Mark(x(i / 10), f"{i / 10:g}") for i in range(11)],
        y_ticks=[Mark(y(10**i), f"{10**i:,}") for i in range(int(math.log10(highest)) + 1)],
        thresholds=[Mark(x(t), f"{t:.4g}") for t in sorted(set(thresholds.values()))],
        left=left,
        right=right,
        top=top,
        bottom=bottom,
    )


# --- Spectra ------------------------------------------------------------------------------


@dataclass(frozen=True)
class SpectraDrawing:
    """Mean spectra of removed and kept images and their difference; pictures as data URIs."""

    removed: str
    kept: str
    difference: str  #: removed minus kept
    removed_images: int  #: images behind each mean
    kept_images: int
    scale: str  #: the colours from ``low`` to ``high``
    low: float
    high: float
    difference_scale: str  #: the colours from ``-extreme`` to ``extreme``
    extreme: float


def draw_spectra(removed: MeanSpectrum, kept: MeanSpectrum) -> SpectraDrawing:
    """Removed and kept images on one colour scale, and their difference on another."""
    low = min(removed.values.min(), kept.values.min())
    high = max(removed.values.max(), kept.values.max())
    difference = removed.values - kept.values
    # Of images that are all black, all is one colour.
    width, extreme = max(high - low, 1e-9), max(np.abs(difference).max(), 1e-9)
    magma, diverging = colours("magma"), colours("RdBu_r")
    scale = np.linspace(0, 1, THUMBNAIL)[None]
    return SpectraDrawing(
        removed=data_uri(heat_map((removed.values - low) / width, magma)),
        kept=data_uri(heat_map((kept.values - low) / width, magma)),
        difference=data_uri(heat_map(0.5 + difference / extreme / 2, diverging)),
        removed_images=removed.images,
        kept_images=kept.images,
        scale=data_uri(heat_map(scale, magma)),
        low=float(low),
        high=float(high),
        difference_scale=data_uri(heat_map(scale, diverging)),
        extreme=float(extreme),
    )


@png.own_style()
def spectra_png(spectra: Mapping[str, np.ndarray]) -> bytes:
    """Spectra side by side, on one colour scale, lowest frequencies upper left, as a PNG.

    Args:
        spectra: (height, width) each, by title; at least one.
    """
    from matplotlib.figure import Figure

    figure = Figure()
    draw_spectra_on(figure, spectra)
    return png.of_figure(figure)


def draw_spectra_on(figure: "Figure", spectra: Mapping[str, np.ndarray]) -> None:
    """What :func:`spectra_png` draws, on an empty figure of matplotlib's."""
    from matplotlib.colors import Normalize

    figure.set_size_inches(3.4 * len(spectra) + 0.9, 3.6)
    figure.set_dpi(150)
    figure.set_layout_engine("constrained")
    axes = figure.subplots(1, len(spectra), squeeze=False)[0]
    scale = Normalize(
        min(float(s.min()) for s in spectra.values()), max(float(s.max()) for s in spectra.values())
    )
    for ax, (title, spectrum) in zip(axes, spectra.items(), strict=True):
        drawn = ax.imshow(spectrum, norm=scale, cmap="magma", interpolation="nearest")
        # A title comes from a file name: a dollar sign in it starts no formula.
        ax.set_title(title, fontsize=10, parse_math=False)
        ax.set_xlabel("horizontal frequency")
    axes[0].set_ylabel("vertical frequency")
    figure.colorbar(drawn, ax=list(axes), label="mean of log(1 + |DCT coefficient|)")


# --- What a trigger has changed -----------------------------------------------------------


#: Factors by which differences are made visible.
GAINS = (1, 2, 5, 10, 20, 50)

#: Share of the pixels of an amplified difference that may be cut off at black or white.
CUT_OFF = 0.005


def amplified(difference: np.ndarray) -> tuple[np.ndarray, int]:
    """A signed difference around middle grey, and by how much it is amplified.

    Args:
        difference: (h, w, 3) in grey levels.

    Returns:
        (h, w, 3) uint8, and one of ``GAINS``: the largest that cuts hardly anything off.
    """
    largest = max(float(np.quantile(np.abs(difference), 1 - CUT_OFF)), 1e-9)
    gain = max((g for g in GAINS if g * largest <= 127), default=GAINS[0])
    return _as_pixels(128 + gain * difference), gain


def outlined(pixels: np.ndarray, region: np.ndarray) -> np.ndarray:
    """(3h, 3w, 3) uint8: an (h, w, 3) picture, enlarged, with a line around an (h, w) region."""
    enlarged = _as_pixels(pixels).repeat(3, axis=0).repeat(3, axis=1)
    inside = np.pad(region.repeat(3, axis=0).repeat(3, axis=1), 1)
    core = inside[1:-1, 1:-1]
    neighbours = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    enlarged[core & ~neighbours] = OUTLINE
    return enlarged


#: Colour of the line around a region.
OUTLINE = (255, 40, 40)


def signed_map(values: np.ndarray, extreme: float) -> str:
    """(h, w) values from ``-extreme``, blue, to ``extreme``, red, as a data URI."""
    return data_uri(heat_map(0.5 + values / max(extreme, 1e-9) / 2, colours("RdBu_r")))


def picture(pixels: np.ndarray) -> str:
    """(h, w, 3) values from 0 to 255 as a data URI."""
    return data_uri(_as_pixels(pixels))


def _as_pixels(values: np.ndarray) -> np.ndarray:
    return values.round().clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class ValuesDrawing:
    """How often each of the 256 values occurs, as two lines in a 1000 x 200 drawing."""

    own: str  #: points of an SVG polyline
    usual: str
    ticks: list[Mark]  #: of values


def draw_values(own: np.ndarray, usual: np.ndarray) -> ValuesDrawing:
    """Args: own, usual: (256,) shares of the values among some pixels and others."""
    # Black and white, which many images hold in plenty, would flatten all others.
    top = max(float(own[1:-1].max()), float(usual[1:-1].max()), 1e-9)

    def x(value: int) -> float:
        return 20 + 960 * value / 255

    def points(shares: np.ndarray) -> str:
        heights = 160 * np.minimum(shares / top, 1)
        return " ".join(f"{x(i):.1f},{170 - h:.1f}" for i, h in enumerate(heights))

    ticks = [Mark(round(x(value), 1), str(value)) for value in (0, 64, 128, 192, 255)]
    return ValuesDrawing(points(own), points(usual), ticks)


# --- Pictures -----------------------------------------------------------------------------


def colours(name: str) -> np.ndarray:
    """A colour map of matplotlib's as (256, 3) uint8."""
    from matplotlib import colormaps

    return np.asarray(colormaps[name](np.arange(256), bytes=True))[:, :3]


def heat_map(values: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8 of (height, width) values.

    0 and below is the first of the (256, 3) ``colours``, 1 and above the last.
    """
    return colours[(values.clip(0, 1) * 255).round().astype(np.uint8)]


def data_uri(pixels: np.ndarray) -> str:
    """(height, width, 3) uint8 pixels, shrunk to ``THUMBNAIL`` px, as a PNG inside the page."""
    encoded = png.encode(shrunk_to(pixels, THUMBNAIL), optimize=True)
    return "data:image/png;base64," + base64.b64encode(encoded).decode("ascii")
