"""What each view and each step of the search of the scan earns: attacks x what is left out.

    python -m benchmarks.scan_ablation cifar10_train.parquet            # resumable
    python -m benchmarks.scan_ablation cifar10_train.parquet --tell     # only the table

One class of the first half of the rows is poisoned by each attack in turn, and searched as a whole
and with a part left out. Of the groups that are found the one that fits the carriers best is
counted, whether or not it would be accepted. A line for each search is added to ``--rows``, and a
search whose line is there is not done again. Cover samples are left out: they would count against
the search, and carry the trigger.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq

import attacks
from benchmarks.detection_data import decoded, table
from benchmarks.lines import append, rows_of
from sanitizer.record import Record
from sanitizer.scan import classes, joining, search
from sanitizer.scan.canonical import Compact
from sanitizer.scan.joining import ClassImages
from sanitizer.scan.pictures import different_pictures, thumbnails
from sanitizer.scan.population import Population
from sanitizer.scan.search import Candidates
from sanitizer.scan.standard import VIEWS

ROWS = Path("benchmarks/rows/scan_ablation.jsonl")

#: Of the images, with the attacker's label.
RATE = 0.01

#: A group with fewer of the carriers is not the trigger's.
LEAST_FOUND = 0.5


@dataclass(frozen=True)
class Row(Record):
    """One search."""

    attack: str
    left_out: str
    carriers: int  #: of which one of each picture is searched
    found: int  #: of them, in the group
    innocents: int  #: in the group
    strength: float

    @property
    def rate(self) -> float:
        """Share of the carriers found; 0 where they are lost among others."""
        share = self.found / self.carriers
        return share if share >= LEAST_FOUND and self.innocents < self.found else 0.0


#: The images of a class as they are searched, and a constant of the search with another value.
Cut = Callable[[ClassImages], ClassImages]
Constant = tuple[ModuleType, str, object]


def _without_view(index: int) -> Cut:
    def cut(images: ClassImages) -> ClassImages:
        kept = [i for i in range(len(images.views)) if i != index]
        return replace(
            images, kinds=[images.kinds[i] for i in kept], views=[images.views[i] for i in kept]
        )

    return cut


def _without_extremes(images: ClassImages) -> ClassImages:
    return replace(
        images, cells=np.zeros_like(images.cells), rest_cells=np.zeros_like(images.rest_cells)
    )


CUTS: dict[str, Cut] = {
    **{view.name: _without_view(i) for i, view in enumerate(VIEWS)},
    "extremes": _without_extremes,
}

CONSTANTS: dict[str, Constant] = {
    "all views side by side": (classes, "_in_all", lambda views: Candidates([], [])),
    "clipping of views": (joining, "REACH", 1e6),
    "three in four candidates": (classes, "OF_A_VIEW", classes.OF_A_VIEW // 4),
    "two groups together": (classes, "_united", lambda images, groups: []),
    "second look": (classes, "LEFT", classes.LEFT[-1:]),
    "skewed starts": (search, "SKEWED", 1),
}

NOTHING = "nothing"
PARTS = (NOTHING, *CUTS, *CONSTANTS)


@contextmanager
def _constant(part: str) -> Iterator[None]:
    if part not in CONSTANTS:
        yield
        return
    module, name, value = CONSTANTS[part]
    usual = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, usual)


@dataclass(frozen=True)
class Poisoned:
    """The target class of a poisoned set."""

    label: int
    pixels: np.ndarray  #: (n, 32, 32, 3) uint8, one of each picture
    carries: np.ndarray  #: (n,) bool

    @classmethod
    def by(
        cls, name: str, pixels: np.ndarray, labels: np.ndarray, rate: float = RATE
    ) -> "Poisoned":
        """A class of some images, poisoned by an attack."""
        attack, rng = attacks.get(name), np.random.default_rng(1000)
        target = attack.own_target
        label = int(rng.integers(labels.max() + 1)) if target is None else target
        own = np.flatnonzero(labels == label)
        pool = own if attack.clean_label else np.flatnonzero(labels != label)
        chosen = rng.permutation(pool)[: round(rate * len(pixels))]
        innocent = np.setdiff1d(own, chosen)
        of_class = np.concatenate([attack(pixels[chosen]), pixels[innocent]])
        kept = different_pictures(thumbnails(of_class))
        return cls(label, of_class[kept], kept < len(chosen))


def searched(
    poisoned: Poisoned, population: Population, parts: list[str]
) -> Iterator[tuple[str, int, int, float]]:
    """Of each part left out: its name, carriers and innocents in the best group, its strength."""
    rng = np.random.default_rng(0)
    images = population.beside(poisoned.label, Compact(poisoned.pixels), rng)
    for part in parts:
        with _constant(part):
            found = [
                (
                    int((group.members & poisoned.carries).sum()),
                    int((group.members & ~poisoned.carries).sum()),
                    group.strength,
                )
                for group in classes.Searched.of(
                    CUTS.get(part, lambda whole: whole)(images)
                ).groups()
            ]
        carriers = int(poisoned.carries.sum())
        yield part, *max(found, key=lambda one: one[0] / (carriers + one[1]), default=(0, 0, 0.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", type=Path, help="CIFAR-10's training set")
    parser.add_argument("--tell", action="store_true", help="search nothing")
    parser.add_argument("--rows", type=Path, default=ROWS)
    options = parser.parse_args()
    if not options.tell:
        _search(options.set, options.rows)
    tell(rows_of(options.rows, Row))


def _search(path: Path, rows: Path) -> None:
    images = table(path)
    half = np.arange(len(images) // 2)
    pixels = np.stack([Compact.of(one).pixels[0] for one in decoded(images, half)])
    labels = pq.read_table(path, columns=["label"])["label"].to_numpy()[half]
    population = Population.of(Compact(pixels), labels, np.random.default_rng(0))
    done = {(row.attack, row.left_out) for row in rows_of(rows, Row)}
    for name in attacks.names():
        parts = [part for part in PARTS if (name, part) not in done]
        if not parts:
            continue
        poisoned = Poisoned.by(name, pixels, labels)
        for part, found, innocents, strength in searched(poisoned, population, parts):
            row = Row(name, part, int(poisoned.carries.sum()), found, innocents, strength)
            append(rows, [row])
            print(name, part, f"{100 * row.rate:.0f} %, {innocents} innocents", flush=True)


def tell(rows: list[Row]) -> None:
    """A table in Markdown; an attack loses by what is left out from 2 points on."""
    whole = {row.attack: row for row in rows if row.left_out == NOTHING}
    print(
        "| left out | carriers found, mean | innocents, mean | strength lost, mean | most by | "
        "attacks that lose 2 points or more |"
    )
    print("|---|---|---|---|---|---|")
    for part in PARTS:
        own = [row for row in rows if row.left_out == part and row.attack in whole]
        if not own:
            continue
        lost = sorted(
            (row.rate - whole[row.attack].rate, row.attack, row.rate)
            for row in own
            if row.rate < whole[row.attack].rate - 0.02
        )
        rate = np.mean([row.rate for row in own])
        innocents = np.mean([row.innocents for row in own if row.rate])
        told = ", ".join(f"{name} {100 * rate:.0f}" for _, name, rate in lost)
        weaker = {row.attack: whole[row.attack].strength - row.strength for row in own}
        strength, most = np.mean(list(weaker.values())), max(weaker, key=lambda name: weaker[name])
        by = f"{most} {weaker[most]:.1f}" if part != NOTHING else ""
        cells = f"{100 * rate:.1f} % | {innocents:.1f} | {strength:.2f} | {by} | {told}"
        print(f"| {part} | {cells} |")


if __name__ == "__main__":
    main()
