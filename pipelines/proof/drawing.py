"""The picture of a proof: the trigger, what cleaning does to the attack, and every epoch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.proof.columns import COLUMNS, Figure, over
from pipelines.proof.records import Run, VictimFigures
from sanitizer import png
from sanitizer.metrics import Estimate

#: Colours of clean accuracy and attack success, distinct for colour-blind eyes too.
ACCURACY, ASR = "#0072b2", "#d55e00"

#: The victims in the drawing by epoch: what they are trained on, and the style of their line.
LINES: tuple[tuple[str, str, Callable[[Run], VictimFigures]], ...] = (
    ("poisoned", "-", lambda run: run.victims.before),
    ("cleaned", "--", lambda run: run.victims.after),
    ("without poison", ":", lambda run: run.victims.reference),
)


@png.own_style()
def draw(runs: Sequence[Run], pictures: Mapping[str, np.ndarray], title: str) -> bytes:
    """A PNG of a proof.

    Args:
        runs: at least one.
        pictures: rows of pictures, each (n, h, w, 3) uint8, by what they are; one n for all.
        title: of the whole.
    """
    from matplotlib.figure import Figure as Drawing

    whole = Drawing(figsize=(11, 7.2), dpi=130, layout="constrained")
    # A title comes from settings and file names: a dollar sign in it is no formula.
    whole.suptitle(title, fontsize=12, parse_math=False)
    halves: Any = whole.subfigures(2, 1, height_ratios=(1.15, 2), hspace=0.03)
    top, bottom = halves
    _draw_pictures(top, pictures)
    left, right = bottom.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_columns(left, runs)
    _draw_epochs(right, runs)
    return png.of_figure(whole)


def _draw_pictures(part: Any, pictures: Mapping[str, np.ndarray]) -> None:
    count = len(next(iter(pictures.values())))
    axes = part.subplots(len(pictures), count, squeeze=False)
    for line, (words, images) in zip(axes, pictures.items(), strict=True):
        for ax, image in zip(line, images, strict=True):
            ax.imshow(image, interpolation="nearest")
        line[0].set_ylabel(words, rotation=0, ha="right", va="center", fontsize=9)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])


def _draw_columns(ax: Any, runs: Sequence[Run]) -> None:
    _draw_figures(ax, -0.17, runs, [column.accuracy for column in COLUMNS], ACCURACY)
    _draw_figures(ax, 0.17, runs, [column.asr for column in COLUMNS], ASR)
    ax.plot([], [], "o", color=ACCURACY, label="clean accuracy")
    ax.plot([], [], "o", color=ASR, label="attack success (ASR)")
    titles = [column.title.replace(", ", ",\n") for column in COLUMNS]
    ax.set_xticks(range(len(COLUMNS)), titles)
    ax.set_xlim(-0.5, len(COLUMNS) - 0.5)
    _percent_axis(ax, "after training, on test images")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False, fontsize=9)


def _draw_figures(
    ax: Any, offset: float, runs: Sequence[Run], figures: Sequence[Figure], colour: str
) -> None:
    """In each column a point for each run with its interval, and the mean's value in words.

    Args:
        offset: of the points from the middle of the column.
    """
    for x, figure in enumerate(figures):
        spread = np.linspace(-0.09, 0.09, len(runs)) if len(runs) > 1 else [0.0]
        for run, shift in zip(runs, spread, strict=True):
            _draw_point(ax, x + offset + shift, over([run], figure), colour)
        mean = over(runs, figure).value
        if mean is None:
            continue
        ax.hlines(mean, x + offset - 0.14, x + offset + 0.14, color=colour, linewidth=2)
        below = mean > 0.9  # above it there is no room
        ax.annotate(
            f"{100 * mean:.1f}",
            (x + offset, mean),
            xytext=(0, -9 if below else 9),
            textcoords="offset points",
            ha="center",
            va="top" if below else "bottom",
            fontsize=9,
            color=colour,
        )


def _draw_point(ax: Any, x: float, figure: Estimate, colour: str) -> None:
    if figure.value is None or figure.interval is None:
        return
    low, high = figure.interval
    errors = [[figure.value - low], [high - figure.value]]
    ax.errorbar(x, figure.value, yerr=errors, fmt="o", color=colour, ms=4, capsize=2)


def _draw_epochs(ax: Any, runs: Sequence[Run]) -> None:
    for run in runs:
        for _, line, victim in LINES:
            history = victim(run).history
            epochs = range(1, len(history) + 1)
            style: dict[str, Any] = {"linestyle": line, "marker": ".", "linewidth": 1.3}
            ax.plot(epochs, [epoch.accuracy for epoch in history], color=ACCURACY, **style)
            ax.plot(epochs, [epoch.asr for epoch in history], color=ASR, **style)
    for title, line, _ in LINES:
        ax.plot([], [], line, color="#444444", label=title)
    ax.set_xlabel("epoch")
    ax.locator_params("x", integer=True)
    _percent_axis(ax, "while training, on some of the test images")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, frameon=False, fontsize=9)


def _percent_axis(ax: Any, title: str) -> None:
    ax.set_ylim(-0.02, 1.02)
    ax.set_yticks(np.linspace(0, 1, 6), [f"{share} %" for share in range(0, 101, 20)])
    ax.grid(axis="y", color="#dddddd", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(title, fontsize=10)
