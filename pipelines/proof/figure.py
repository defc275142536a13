"""The picture of a proof: the trigger, what cleaning does to the attack, and every epoch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.proof.tables import COLUMNS, Run, figure

#: Colours of clean accuracy and attack success, distinct for colour-blind eyes too.
COLOURS = {"accuracy": "#0072b2", "asr": "#d55e00"}

NAMES = {"accuracy": "clean accuracy", "asr": "attack success (ASR)"}

#: Line of each victim in the drawing by epoch.
LINES = {"before": "-", "after": "--", "reference": ":"}

VICTIMS = {"before": "poisoned", "after": "cleaned", "reference": "without poison"}


def draw(runs: Sequence[Run], pictures: Mapping[str, np.ndarray], title: str, path: Path) -> None:
    """Draw a proof.

    Args:
        runs: as :mod:`pipelines.proof.tables` describes them, at least one.
        pictures: rows of pictures, each (n, h, w, 3) uint8, by what they are; one n for all.
        title: of the picture.
        path: the PNG to write.
    """
    # matplotlib's objects without pyplot: no display is asked for and nothing global changes.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    whole = Figure(figsize=(11, 7.2), dpi=130, layout="constrained")
    # A title comes from settings and file names: a dollar sign in it is no formula.
    whole.suptitle(title, fontsize=12, parse_math=False)
    parts: Any = whole.subfigures(2, 1, height_ratios=(1.15, 2), hspace=0.03)
    top, bottom = parts
    _draw_pictures(top, pictures)
    left, right = bottom.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_stages(left, runs)
    _draw_epochs(right, runs)
    # Without matplotlib's version in it, the file depends on the proof alone.
    FigureCanvasAgg(whole).print_png(path, metadata={"Software": None})


def _draw_pictures(part: Any, pictures: Mapping[str, np.ndarray]) -> None:
    columns = len(next(iter(pictures.values())))
    axes = part.subplots(len(pictures), columns, squeeze=False)
    for line, (words, images) in zip(axes, pictures.items(), strict=True):
        for ax, image in zip(line, images, strict=True):
            ax.imshow(image, interpolation="nearest")
        line[0].set_ylabel(words, rotation=0, ha="right", va="center", fontsize=9)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])


def _draw_stages(ax: Any, runs: Sequence[Run]) -> None:
    """A point for each run with its interval, and the mean's value in words."""
    for offset, (name, colour) in zip((-0.17, 0.17), COLOURS.items(), strict=True):
        for x, (_, stage, ending) in enumerate(COLUMNS):
            path = ("victims", stage, f"{name}{ending}")
            spread = np.linspace(-0.09, 0.09, len(runs)) if len(runs) > 1 else [0.0]
            for run, shift in zip(runs, spread, strict=True):
                own = figure([run], *path)
                _point(ax, x + offset + shift, own, colour)
            mean = figure(runs, *path)["value"]
            ax.hlines(mean, x + offset - 0.14, x + offset + 0.14, color=colour, linewidth=2)
            low = mean > 0.9
            ax.annotate(
                f"{100 * mean:.1f}",
                (x + offset, mean),
                xytext=(0, -9 if low else 9),
                textcoords="offset points",
                ha="center",
                va="top" if low else "bottom",
                fontsize=9,
                color=colour,
            )
        ax.plot([], [], "o", color=colour, label=NAMES[name])
    ax.set_xticks(range(len(COLUMNS)), [words.replace(", ", ",\n") for words, _, _ in COLUMNS])
    ax.set_xlim(-0.5, len(COLUMNS) - 0.5)
    _percent_axis(ax, "after training, on test images")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False, fontsize=9)


def _point(ax: Any, x: float, found: Mapping[str, Any], colour: str) -> None:
    low, high = found["interval"]
    value = found["value"]
    ax.errorbar(
        x, value, yerr=[[value - low], [high - value]], fmt="o", color=colour, ms=4, capsize=2
    )


def _draw_epochs(ax: Any, runs: Sequence[Run]) -> None:
    for run in runs:
        for stage, line in LINES.items():
            history = run["victims"][stage]["history"]
            epochs = range(1, len(history) + 1)
            for name, colour in COLOURS.items():
                shares = [entry[name] for entry in history]
                ax.plot(epochs, shares, line, color=colour, marker=".", linewidth=1.3)
    for stage, line in LINES.items():
        ax.plot([], [], line, color="#444444", label=VICTIMS[stage])
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
