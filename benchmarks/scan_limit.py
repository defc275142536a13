"""What the scan could find at most, told of the other carriers: attacks x encodings.

    python -m benchmarks.scan_limit cifar10_train.parquet            # resumable
    python -m benchmarks.scan_limit cifar10_train.parquet --tell     # only the table

One class of the first half of the rows is poisoned by each attack in turn, and the whole set is
encoded. Each image of the class is scored, in all views together, by the group that all *other*
carriers make. Counted are the carriers above all but so many innocents of the class as are a
thousandth of those of the set: who has to search for the carriers as well cannot be expected to
find more at that false positive rate. A line for each class is added to ``--rows``, and a class
whose line is there is not done again.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import attacks
from benchmarks.detection_data import decoded, table
from benchmarks.lines import append, rows_of
from benchmarks.scan_ablation import Poisoned
from pipelines.poisoning.encoding import Encoding
from sanitizer.images import decode
from sanitizer.metrics import Share
from sanitizer.record import Record
from sanitizer.scan.canonical import Compact
from sanitizer.scan.joining import look
from sanitizer.scan.population import Population

ROWS = Path("benchmarks/rows/scan_limit.jsonl")

ENCODINGS = ("png", "jpeg:95", "jpeg:75")

#: Of the images, with the attacker's label.
RATES = (0.01, 0.05)

#: Of the innocents of the set, all of them in the class, above the threshold.
FALSE_ALARMS = 0.001

#: Probabilities of being in the group for those who carry the trigger and those who do not.
CARRIER, INNOCENT = 0.99, 0.001


@dataclass(frozen=True)
class Row(Record):
    """One class."""

    attack: str
    encoding: str
    rate: float
    found: Share  #: of the carriers
    strength: float  #: of the group that they make


def encoded(pixels: np.ndarray, encoding: Encoding) -> np.ndarray:
    """(n, 32, 32, 3) uint8 images as they come out of an encoding."""
    return np.stack([decode(encoding.encode(image, b"", "PNG")) for image in pixels])


def measured(poisoned: Poisoned, population: Population, allowed: int) -> tuple[Share, float]:
    """Carriers found and the strength of their group; 0 where a look dissolves it.

    Args:
        poisoned: the class.
        population: of the set.
        allowed: innocents that may be taken for carriers.
    """
    rng = np.random.default_rng(0)
    images = population.beside(poisoned.label, Compact(poisoned.pixels), rng)
    told = np.where(poisoned.carries, CARRIER, INNOCENT)
    looked = look(images, told[:, None])
    if not looked:
        return Share.counted(np.zeros(poisoned.carries.sum(), bool)), 0.0
    log_odds = looked[0].log_odds
    innocent = np.sort(log_odds[~poisoned.carries])[::-1]
    return Share.counted(log_odds[poisoned.carries] > innocent[allowed]), looked[0].strength


def rows(path: Path, done: set[tuple[str, str, float]]) -> Iterator[Row]:
    """Those that are not done, one by one."""
    images = table(path)
    half = np.arange(len(images) // 2)
    lossless = np.stack([Compact.of(one).pixels[0] for one in decoded(images, half)])
    labels = pq.read_table(path, columns=["label"])["label"].to_numpy()[half]
    for name in ENCODINGS:
        todo = [
            (attack, rate)
            for rate in RATES
            for attack in attacks.names()
            if (attack, name, rate) not in done
        ]
        if not todo:
            continue
        encoding = Encoding(name)
        population = Population.of(
            Compact(encoded(lossless, encoding)), labels, np.random.default_rng(0)
        )
        for attack, rate in todo:
            poisoned = Poisoned.by(attack, lossless, labels, rate)
            poisoned = replace(poisoned, pixels=encoded(poisoned.pixels, encoding))
            allowed = round(FALSE_ALARMS * (1 - rate) * len(labels))
            yield Row(attack, name, rate, *measured(poisoned, population, allowed))


def tell(known: list[Row]) -> None:
    """A table in Markdown."""
    columns = [(rate, name) for rate in RATES for name in ENCODINGS]
    print("| attack | " + " | ".join(f"{rate:.0%}, {name}" for rate, name in columns) + " |")
    print("|---|" + "---|" * len(columns))
    by_cell = {(row.attack, row.rate, row.encoding): row for row in known}
    for attack in sorted({row.attack for row in known}):
        cells = [by_cell.get((attack, *column)) for column in columns]
        told = [
            "" if cell is None else f"{100 * (cell.found.value or 0):.0f} ({cell.strength:.1f})"
            for cell in cells
        ]
        print(f"| `{attack}` | " + " | ".join(told) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", type=Path, help="CIFAR-10's training set")
    parser.add_argument("--tell", action="store_true", help="measure nothing")
    parser.add_argument("--rows", type=Path, default=ROWS)
    options = parser.parse_args()
    if not options.tell:
        done = {(row.attack, row.encoding, row.rate) for row in rows_of(options.rows, Row)}
        for row in rows(options.set, done):
            append(options.rows, [row])
            found = 100 * (row.found.value or 0)
            print(f"{row.encoding} {row.rate:g} {row.attack}: {found:.1f} %", flush=True)
    tell(rows_of(options.rows, Row))


if __name__ == "__main__":
    main()
