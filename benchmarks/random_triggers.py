"""How well the scan finds triggers that nobody chose: families of all kinds, settings by lot.

    python -m benchmarks.random_triggers DATA --trials 95         # resumable
    python -m benchmarks.random_triggers DATA --tell              # only the table

DATA is the folder of the benchmark data sets. A trial poisons one class with images of others, in
the untouched half of CIFAR-10 or GTSRB, and searches that class; how often clean classes are called
is counted by :mod:`benchmarks.scan_nulls`. Its trigger, class and rate follow from its number. A
line for each trial is added to ``--rows`` as it is done, and one whose line is there is not done
again; where the scan has changed, remove the file.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy.fft import idctn
from scipy.ndimage import zoom

from attacks.base import to_uint8
from attacks.tools.warping import warped
from benchmarks.lines import append, rows_of
from benchmarks.scan_nulls import UNTOUCHED, Images, halves
from sanitizer.record import Record
from sanitizer.resizing import resize
from sanitizer.scan.canonical import Compact
from sanitizer.scan.population import Population
from sanitizer.scan.scan import search
from sanitizer.scan.views import SIDE

ROWS = Path("benchmarks/rows/random_triggers.jsonl")

SOURCES = "cifar10_train", "gtsrb_train"

#: Share of the set that is poisoned.
RATES = 0.005, 0.01, 0.03, 0.1

#: A trigger is found where the scan finds this share of its carriers.
FOUND = 0.9

#: (n, 32, 32, 3) uint8 to the same with a trigger.
Trigger = Callable[[np.ndarray], np.ndarray]

#: A trigger by lot; some take a picture of the set, (32, 32, 3) uint8.
Family = Callable[[np.random.Generator, np.ndarray], Trigger]


def _over(cover: np.ndarray, opacity: np.ndarray | float) -> Trigger:
    """Lay a cover over all images."""
    return lambda images: to_uint8(images * (1 - opacity) + cover * opacity)


def _added(pattern: np.ndarray) -> Trigger:
    return lambda images: to_uint8(images + pattern)


def _each(change: Callable[[Image.Image], Image.Image]) -> Trigger:
    return lambda images: np.stack([np.asarray(change(Image.fromarray(one))) for one in images])


def _region(top: int, left: int, side: int, opacity: float) -> np.ndarray:
    region = np.zeros((SIDE, SIDE, 1))
    region[top : top + side, left : left + side] = opacity
    return region


def _patch(
    of: Callable[[np.random.Generator, int, np.ndarray], np.ndarray], sides: range
) -> Family:
    """A square anywhere, of side pixels filled by ``of``."""

    def family(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
        side = int(rng.choice(sides))
        top, left = rng.integers(0, SIDE - side, 2)
        cover = np.zeros((SIDE, SIDE, 3))
        cover[top : top + side, left : left + side] = of(rng, side, picture)
        return _over(cover, _region(top, left, side, rng.uniform(0.4, 1)))

    return family


def _colour(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, 3)


def _stripes(rng: np.random.Generator, side: int, picture: np.ndarray) -> np.ndarray:
    colour = _colour(rng)
    return np.where((np.indices((side, side))[0] % 2 == 0)[..., None], colour, 255 - colour)


def _noise_over(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
    return _over(rng.integers(0, 256, (SIDE, SIDE, 3)), rng.uniform(0.04, 0.2))


def _picture_over(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
    return _over(picture, rng.uniform(0.06, 0.3))


def _smooth_field(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
    field = zoom(rng.normal(size=(4, 4, 3)), (SIDE // 4, SIDE // 4, 1), order=3)
    return _added(field * rng.uniform(10, 40) / np.abs(field).max())


def _wave(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
    angle, periods, phase = rng.uniform(0, np.pi), rng.uniform(1, 12), rng.uniform(0, 2 * np.pi)
    rows, columns = np.indices((SIDE, SIDE)) / SIDE
    along = columns * np.cos(angle) + rows * np.sin(angle)
    wave = np.sin(2 * np.pi * periods * along + phase)
    return _added(rng.uniform(4, 25) * wave[..., None])


def _frequency(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
    coefficients = np.zeros((SIDE, SIDE))
    coefficients[tuple(rng.integers(2, SIDE, 2))] = rng.uniform(20, 200)
    return _added(idctn(coefficients, norm="ortho")[..., None])


def _text(low: int, high: int, faintest: float, strongest: float) -> Family:
    """A few letters of some size."""

    def family(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
        mask = Image.new("L", (SIDE, SIDE))
        letters = "".join(rng.choice(list("ABCDEFGHKLMNPRSTXYZ0123456789"), rng.integers(1, 5)))
        place = int(rng.integers(0, SIDE // 2)), int(rng.integers(0, SIDE - 10))
        font = ImageFont.load_default(size=int(rng.integers(low, high)))
        ImageDraw.Draw(mask).text(place, letters, fill=255, font=font)
        opacity = np.asarray(mask)[..., None] / 255 * rng.uniform(faintest, strongest)
        return _over(_colour(rng), opacity)

    return family


def _frame(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
    width = int(rng.integers(1, 4))
    return _over(_colour(rng), 1 - _region(width, width, SIDE - 2 * width, 1))


def _warp(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
    """Pixels moved by 0.25 to 1 on average along each axis, by a field of 3 to 8 knots a side."""
    knots = int(rng.integers(3, 9))
    field = zoom(rng.uniform(-1, 1, (2, knots, knots)), (1, SIDE / knots, SIDE / knots), order=3)
    field *= rng.uniform(0.25, 1) / np.abs(field).mean()
    offsets = np.moveaxis(field, 0, -1)
    return lambda images: to_uint8(warped(images, offsets))


def _tilt(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
    degrees = rng.uniform(3, 12)
    return _each(lambda one: one.rotate(degrees, Image.Resampling.BILINEAR))


def _blur(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
    radius = rng.uniform(0.4, 1)
    return _each(lambda one: one.filter(ImageFilter.GaussianBlur(radius)))


def _sharpening(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
    percent = int(rng.integers(50, 250))
    return _each(lambda one: one.filter(ImageFilter.UnsharpMask(1, percent, 0)))


def _grain(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
    deviation = rng.uniform(3, 12)
    return lambda images: to_uint8(images + rng.normal(0, deviation, images.shape))


def _depth(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
    lost = int(rng.integers(3, 6))
    return lambda images: images >> lost << lost


def _tones(rng: np.random.Generator, picture: np.ndarray) -> Trigger:
    gamma = rng.uniform(0.6, 1.6, 3)
    return lambda images: to_uint8(255 * (images / 255) ** gamma)


FAMILIES: dict[str, Family] = {
    "flat square": _patch(lambda rng, side, picture: _colour(rng), range(2, 9)),
    "square of noise": _patch(
        lambda rng, side, picture: rng.integers(0, 256, (side, side, 3)), range(2, 9)
    ),
    "striped square": _patch(_stripes, range(2, 9)),
    "part of a photograph": _patch(
        lambda rng, side, picture: resize(picture, (side, side)), range(8, 20)
    ),
    "letters": _text(7, 12, 0.3, 1),
    "large letters": _text(16, 30, 0.15, 0.6),
    "frame": _frame,
    "noise laid over": _noise_over,
    "photograph laid over": _picture_over,
    "smooth field": _smooth_field,
    "wave": _wave,
    "one frequency": _frequency,
    "warp": _warp,
    "tilt": _tilt,
    "blur": _blur,
    "sharpening": _sharpening,
    "grain": _grain,
    "colour depth": _depth,
    "tones": _tones,
}


@dataclass(frozen=True)
class Row(Record):
    """A trial."""

    source: str
    trial: int
    family: str
    label: int
    innocent: int  #: images of the class
    poisoned: int  #: images with the trigger under its label
    found: int  #: of these
    lost: int  #: of the innocent
    reasons: list[str]

    @property
    def is_found(self) -> bool:
        return self.found >= FOUND * self.poisoned


def done(source: str, trial: int, images: Images, population: Population) -> Row:
    """Poison a class, search it, and compare with the truth."""
    rng = np.random.default_rng(trial)
    family = list(FAMILIES)[trial % len(FAMILIES)]
    trigger = FAMILIES[family](rng, images.pixels[rng.integers(len(images.pixels))])
    label = int(rng.choice(np.unique(images.labels)))
    innocent = images.pixels[images.labels == label]
    others = rng.permutation(np.flatnonzero(images.labels != label))
    carriers = images.pixels[others[: round(rng.choice(RATES) * len(images.labels))]]
    order = rng.permutation(len(carriers) + len(innocent))
    of_class = Compact(np.concatenate([trigger(carriers), innocent])[order])
    carries, called = order < len(carriers), np.zeros(len(order), bool)
    reasons = []
    for found in search(population, label, of_class):
        called |= found.log_odds_of(of_class, np.arange(len(of_class))) > 0
        reasons.append(found.reason.name)
    counts = len(innocent), len(carriers), int(called[carries].sum()), int(called[~carries].sum())
    return Row(source, trial, family, label, *counts, reasons)


def main() -> None:
    """Do the trials that are missing, and tell of all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--trials", type=int, default=95, help="of each set")
    parser.add_argument("--source", choices=SOURCES, action="append", help="only this set")
    parser.add_argument("--tell", action="store_true", help="search nothing")
    parser.add_argument("--rows", type=Path, default=ROWS)
    options = parser.parse_args()
    if not options.tell:
        for source in options.source or SOURCES:
            _search(source, options)
    tell(rows_of(options.rows, Row))


def _search(source: str, options: argparse.Namespace) -> None:
    known = {(row.source, row.trial) for row in rows_of(options.rows, Row)}
    missing = [trial for trial in range(options.trials) if (source, trial) not in known]
    if not missing:
        return
    images = dict(halves(options.data / f"{source}.parquet"))[UNTOUCHED]
    pixels = Compact(images.pixels)
    population = Population.of(pixels, images.labels, np.random.default_rng(0))
    for trial in missing:
        row = done(source, trial, images, population)
        append(options.rows, [row])
        print(
            f"{source} {trial}, {row.family}: {row.found} of {row.poisoned} carriers and "
            f"{row.lost} of {row.innocent} innocents",
            flush=True,
        )


def tell(rows: list[Row]) -> None:
    """A table in Markdown, by family."""
    sources = list(dict.fromkeys(row.source for row in rows))
    heads = [f"{s.split('_')[0]}: found, carriers %, innocents lost %" for s in sources]
    print(f"| family | {' | '.join(heads)} |\n|{'---|' * (1 + len(sources))}")
    for name in [*FAMILIES, "all"]:
        of_family = [row for row in rows if name in (row.family, "all")]
        cells = [_cell([row for row in of_family if row.source == s]) for s in sources]
        print(f"| {name} | {' | '.join(cells)} |")


def _cell(rows: list[Row]) -> str:
    if not rows:
        return ""
    carriers = np.mean([row.found / row.poisoned for row in rows])
    innocents = np.mean([row.lost / row.innocent for row in rows])
    whole = sum(row.is_found for row in rows)
    return f"{whole} of {len(rows)}, {100 * carriers:.0f}, {100 * innocents:.2f}"


if __name__ == "__main__":
    main()
