"""Draw the pictures of docs/scan.md.

    python -m benchmarks.scan_pictures DATA_DIR

10,000 images of CIFAR-10 (DATA_DIR/cifar10_train.parquet), 180 of them with a trigger and the
label of another class.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

import attacks
from attacks import Role
from benchmarks.detection_data import decoded
from pipelines.report.plots import amplified
from sanitizer import png
from sanitizer.scan.canonical import Compact
from sanitizer.scan.classes import Searched
from sanitizer.scan.joining import ClassImages, Group, join
from sanitizer.scan.moments import Moments, Whitening
from sanitizer.scan.population import Population, standardised
from sanitizer.scan.portrait import Likeness, Portrait
from sanitizer.scan.signature import Signature

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"

#: Rows of the set, the class that the attacker writes, and how many images get a trigger.
ROWS, TARGET, POISONED = range(25_000, 35_000), 3, 180

#: The triggers that are drawn, and those whose views are compared.
DRAWN = ("badnets", "blend", "ftrojan", "l2_inv", "wanet", "bpp")
COMPARED = (
    *("badnets", "trojan_watermark", "blend", "l2_inv", "lira", "issba", "ftrojan"),
    *("smooth", "wanet", "bpp"),
)

#: Opacity of a trigger that is hardly seen in one image.
FAINT = 0.06

CARRIERS, OTHERS, ELSEWHERE = "#c0391b", "#33658a", "#9aa0a6"


@dataclass(frozen=True)
class Set:
    """A set, and what an attacker poisons of it."""

    of_class: np.ndarray  #: (n, 32, 32, 3) uint8, of the target class
    victims: np.ndarray  #: (p, 32, 32, 3) uint8, of other classes, before they are poisoned
    population: Population  #: of all others

    @classmethod
    def read(cls, folder: Path) -> "Set":
        table = pq.read_table(folder / "cifar10_train.parquet").slice(ROWS[0], len(ROWS))
        pixels = np.stack(decoded(table["image"].combine_chunks(), np.arange(len(ROWS))))
        labels = table["label"].to_numpy()
        rng = np.random.default_rng(0)
        chosen = np.zeros(len(labels), bool)
        chosen[rng.permutation(np.flatnonzero(labels != TARGET))[:POISONED]] = True
        population = Population.of(Compact(pixels[~chosen]), labels[~chosen], rng)
        return cls(pixels[labels == TARGET], pixels[chosen], population)

    def poisoned(self, attack: str, **settings: float) -> np.ndarray:
        """(p, 32, 32, 3) uint8: the victims with a trigger."""
        return attacks.get(attack, **settings)(self.victims, Role.POISON)

    def beside(self, carriers: np.ndarray) -> ClassImages:
        """The target class with some carriers at its end."""
        pixels = Compact(np.concatenate([self.of_class, carriers]))
        return self.population.beside(TARGET, pixels, np.random.default_rng(0))

    def portrait(self, carriers: np.ndarray) -> Portrait:
        own = Compact(carriers), Compact(self.of_class), self.population.elsewhere(TARGET)
        return Portrait.of(*map(Likeness.of, own))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    images = Set.read(parser.parse_args().data)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWINGS.items():
        with png.own_style():
            (PICTURES / f"scan_{name}.png").write_bytes(png.of_figure(draw(images)))


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def _pictures(rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> "Figure":
    """(h, w, 3) uint8 pictures with titles, in rows."""
    figure = _figure(1.75 * len(rows[0]), 2.0 * len(rows))
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for ax, (title, picture) in zip(axes.flat, [one for row in rows for one in row], strict=True):
        ax.imshow(picture, interpolation="nearest")
        ax.set_title(title, fontsize=9)
        ax.set_axis_off()
    return figure


def draw_many(images: Set) -> "Figure":
    """What one image hides, and many show."""
    carriers = images.poisoned("blend", alpha=FAINT)
    pictures = [("before", images.victims[0]), ("with the trigger", carriers[0])]
    for count in (1, 20, POISONED):
        difference, gain = amplified(images.portrait(carriers[:count]).difference)
        shown = f"mean of {count}" if count > 1 else "this one"
        pictures.append((f"{shown},\nless the usual, x{gain}", difference))
    trigger, gain = amplified(images.portrait(carriers).trigger)
    pictures.append((f"what chance does\nnot explain, x{gain}", trigger))
    return _pictures([pictures])


def draw_triggers(images: Set) -> "Figure":
    """The triggers that portraits show, above what the attacks do on average."""
    found, true = [], []
    for name in DRAWN:
        carriers = images.poisoned(name)
        seen = images.portrait(carriers)
        trigger, gain = amplified(seen.trigger)
        found.append((f"{name}, x{gain}" if seen.trigger.any() else f"{name}: none", trigger))
        change, gain = amplified((carriers.astype(float) - images.victims).mean(0))
        true.append((f"in truth, x{gain}", change))
    return _pictures([found, true])


def draw_whitening(images: Set) -> "Figure":
    """One view of a class along what carriers share, before and after whitening."""
    carriers = images.poisoned("wanet")
    scale = [one for one in images.population.scales if one.view.name == "energies"]
    inside, rest, shared = (
        standardised(some, scale)[0]
        for some in (
            Compact(images.of_class),
            images.population.elsewhere(TARGET),
            Compact(carriers),
        )
    )
    white = Whitening.by(Moments.of(rest))
    figure = _figure(9, 2.8)
    for ax, title, change in zip(
        figure.subplots(1, 2), ("as it is", "whitened"), (lambda x: x, white), strict=True
    ):
        many, few = change(inside), change(shared)
        # One half of the images gives the direction, the other is drawn.
        direction = few[::2].mean(0) - many[::2].mean(0)
        _histogram(ax, many[1::2] @ direction, few[1::2] @ direction)
        ax.set_title(
            f"{title}: {_apart(many[1::2] @ direction, few[1::2] @ direction):.1f} "
            "standard deviations apart",
            fontsize=10,
        )
    return figure


def draw_views(images: Set) -> "Figure":
    """How far each view tells the carriers of each trigger apart."""
    table = np.array([_true_group(images, name).separations for name in COMPARED])
    names = [scale.view.name for scale in images.population.scales]
    figure = _figure(7.2, 4.2)
    ax = figure.subplots()
    ax.imshow(table.clip(0), cmap="Reds", aspect="auto")
    ax.set_xticks(range(len(names)), names, fontsize=9)
    ax.set_yticks(range(len(COMPARED)), COMPARED, fontsize=9)
    for (row, column), value in np.ndenumerate(table):
        colour = "white" if value > 3.5 else "black"
        ax.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=9, color=colour)
    ax.set_title("standard deviations between carriers and the others of the class", fontsize=10)
    return figure


def draw_tests(images: Set) -> "Figure":
    """A trigger, which other classes do not have, and a likeness, which they have, too."""
    figure = _figure(9, 2.8)
    shown = (
        ("a trigger", images.poisoned("blend"), lambda _: _true_group(images, "blend")),
        ("a likeness by nature", images.victims[:0], _most_usual),
    )
    for ax, (title, carriers, find) in zip(figure.subplots(1, 2), shown, strict=True):
        seen = images.beside(carriers)
        group = find(seen)
        signature = Signature.of(group.trigger, seen.views, images.population.scales)
        scores = signature.scores(Compact(np.concatenate([images.of_class, carriers])))
        rest = signature.scores(images.population.elsewhere(TARGET))
        # What is asked is whether others have such a tail, not whether their content is another.
        rest += np.median(scores) - np.median(rest)
        _histogram(ax, scores[~group.members], scores[group.members], rest)
        ax.set_title(
            f"{title}: {100 * group.share:.0f} % of the class, "
            f"{100 * group.share_of_rest:.1f} % of others",
            fontsize=10,
        )
    return figure


def _most_usual(seen: ClassImages) -> Group:
    """The group of a class that other classes have most of."""
    return max(Searched.of(seen).groups(), key=lambda group: group.share_of_rest)


def _true_group(images: Set, attack: str) -> Group:
    """The carriers of a trigger as all views together see them, from the truth on."""
    carriers = images.poisoned(attack)
    class_images = images.beside(carriers)
    truth = np.arange(len(class_images)) >= len(class_images) - len(carriers)
    group = join(class_images, truth.astype(np.float32))
    if group is None:
        raise SystemExit(f"{attack}: its carriers dissolve")
    return group


def _apart(many: np.ndarray, few: np.ndarray) -> float:
    return float((few.mean() - many.mean()) / np.sqrt((few.var() + many.var()) / 2))


def _histogram(
    ax: object, many: np.ndarray, few: np.ndarray, rest: np.ndarray | None = None
) -> None:
    centre, spread = np.median(many), many.std()
    bins = np.linspace(-4, max(5.0, float(np.quantile((few - centre) / spread, 0.99))), 60)
    drawn = [("others of the class", OTHERS, many), ("the group", CARRIERS, few)]
    if rest is not None:
        drawn.append(("other classes", ELSEWHERE, rest))
    for name, colour, values in drawn:
        style = {"histtype": "step"} if values is rest else {"alpha": 0.75}
        weights = np.full(len(values), len(many) / len(values) if values is rest else 1.0)
        ax.hist(
            (values - centre) / spread, bins, weights=weights, color=colour, label=name, **style
        )
    ax.set_yscale("symlog", linthresh=2)
    ax.set_xlabel("standard deviations of the class", fontsize=9)
    ax.set_ylabel("images", fontsize=9)
    ax.legend(fontsize=8, frameon=False)


DRAWINGS = {
    "many": draw_many,
    "triggers": draw_triggers,
    "whitening": draw_whitening,
    "views": draw_views,
    "tests": draw_tests,
}


if __name__ == "__main__":
    main()
