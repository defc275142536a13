"""PNG, the one form in which freqsan draws: the same picture always gives the same bytes."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from sanitizer.silence import without_warnings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def encode(pixels: np.ndarray, *, optimize: bool = False) -> bytes:
    """(height, width, 3) uint8 pixels as a PNG; ``optimize`` takes longer and saves bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=optimize)
    return buffer.getvalue()


@contextmanager
def own_style() -> Iterator[None]:
    """matplotlib's own style, whatever a file of settings says; also decorates functions.

    matplotlib reads a ``matplotlibrc`` in the working directory, which may be the data's, and
    some settings are more than taste: ``text.usetex`` starts LaTeX with a preamble from there.
    """
    from matplotlib import style

    with style.context("default"):
        yield


@without_warnings  # of letters that the font lacks, which it prints: a name may hold any
def of_figure(figure: "Figure") -> bytes:
    """A matplotlib figure as a PNG; no display is asked for and nothing global changes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    # Without matplotlib's version in it, the file depends on the drawing alone.
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()
