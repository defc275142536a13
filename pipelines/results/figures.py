"""Figures that a notebook shows by itself, of images and why they were judged as they were."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pipelines.report.plots import draw_spectra_on
from sanitizer import png
from sanitizer.errors import one_line, shortened
from sanitizer.images import ImageError, decode
from sanitizer.resizing import shrunk_to
from sanitizer.summary import class_name, label_key

#: Images in a row of a figure.
ACROSS = 4

#: Inches of an image, and of what is said below it.
SIDE, WORDS = 2.2, 1.1

#: Longest side of an image in a figure, in pixels: there are no more in those inches.
PIXELS = 440

#: Letters of a line below an image.
LETTERS = 34


class ShownFigure(Figure):
    """A figure that a notebook draws without ``%matplotlib`` and without pyplot's state."""

    def _repr_png_(self) -> bytes:
        return png.of_figure(self)


@png.own_style()
def gallery(
    drawn: Sequence[Mapping[str, Any]],
    images: Mapping[str, bytes | None],
    names: Mapping[str, str],
    title: str,
) -> Figure:
    """Some images, each with its id, class and reason.

    Args:
        drawn: their score rows.
        images: encoded, by ``sample_id``.
        names: of the classes, by label key.
        title: of the figure.
    """
    down = max(1, math.ceil(len(drawn) / ACROSS))
    figure = ShownFigure(figsize=(SIDE * ACROSS, (SIDE + WORDS) * down), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(down, ACROSS, squeeze=False).flat
    for ax in axes[len(drawn) :]:
        ax.set_axis_off()
    for ax, row in zip(axes, drawn, strict=False):
        _draw(ax, images.get(row["sample_id"]))
        # A dollar sign in a name starts no formula.
        ax.set_xlabel(_words(row, names), fontsize=7, parse_math=False)
    return figure


def _draw(ax: Any, data: bytes | None) -> None:
    """An image, however it is encoded, or why there is none."""
    ax.set_xticks([])
    ax.set_yticks([])
    try:
        pixels = shrunk_to(decode(data), PIXELS)
    except ImageError as error:
        ax.set_box_aspect(1)
        words = textwrap.fill(one_line(str(error)), 24)
        ax.text(0.5, 0.5, words, ha="center", va="center", fontsize=7, parse_math=False)
        return
    ax.imshow(pixels, interpolation="nearest")  # the pixels of a small image are seen as they are


def _words(row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Which image it is, and what decided."""
    key = label_key(row["label"])
    named = shortened(one_line(row["sample_id"]), LETTERS)
    of_class = (
        "" if key == "null" else shortened(one_line(names.get(key, class_name(key))), LETTERS)
    )
    said = textwrap.wrap(one_line(row["reason"]), LETTERS, max_lines=5, placeholder=" …")
    return "\n".join(filter(None, [named, of_class, *said]))


@png.own_style()
def spectra(values: Mapping[str, np.ndarray]) -> Figure:
    """Mean spectra side by side, as :func:`pipelines.report.plots.spectra_png` draws them."""
    figure = ShownFigure()
    draw_spectra_on(figure, values)
    return figure
