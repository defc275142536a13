"""How often the scan calls a clean class infected: groups of many classes without a trigger.

    python -m benchmarks.scan_nulls DATA                      # design and untouched half, resumable
    python -m benchmarks.scan_nulls DATA --half untouched     # one of them
    python -m benchmarks.scan_nulls DATA --tell               # only the summary

DATA is the folder of the benchmark data sets. Each set is split by rows, GTSRB by tracks, into a
half by which constants may be set and one that is only counted. Both are made into classes of many
kinds: other encodings, crops, wrong labels, few images. A line for each class, with what was found
in it, is added to ``--rows`` as it is scanned, and a class whose line is there is not scanned
again;
where the scan has changed, remove the file.
"""

import argparse
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from scipy.stats import beta

from benchmarks.detection_data import decoded, table, tracks
from benchmarks.lines import append, rows_of
from sanitizer.record import Record
from sanitizer.resizing import Filter, resize
from sanitizer.scan.canonical import Compact
from sanitizer.scan.decision import Reason
from sanitizer.scan.evidence import Evidence
from sanitizer.scan.pictures import different_pictures, thumbnails
from sanitizer.scan.population import Population
from sanitizer.scan.scan import LEAST_PICTURES, search
from sanitizer.scan.views import SIDE

ROWS = Path("benchmarks/rows/scan_nulls.jsonl")

#: Constants may be set by the first, never by the second.
HALVES = DESIGN, UNTOUCHED = "design", "untouched"

#: Sets of a kind, where a half could be made into more.
MOST_PARTS = 10


@dataclass(frozen=True)
class Images:
    """A labelled set; images of one unit, such as a track, stay together."""

    pixels: np.ndarray  #: (n, 32, 32, 3) uint8
    labels: np.ndarray  #: (n,) int64

    def __getitem__(self, chosen: np.ndarray) -> "Images":
        return Images(self.pixels[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Called(Record):
    """What was taken for a trigger, and how many images of its class would be taken out."""

    reason: Reason
    evidence: Evidence
    judged: int


@dataclass(frozen=True)
class Row(Record):
    """A clean class that was scanned."""

    source: str
    half: str
    kind: str
    part: int  #: number of the set, where a half was made into several
    label: int
    images: int
    pictures: int
    seconds: float
    called: list[Called]

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        return self.source, self.half, self.kind, self.part, self.label

    @property
    def lost(self) -> int:
        """Images that would be taken out, were no two findings the same."""
        return sum(one.judged for one in self.called)


def halves(path: Path) -> Iterator[tuple[str, Images]]:
    """Both halves of a data set, as canonical images."""
    images = table(path)
    labels = pq.read_table(path, columns=["label"])["label"].to_numpy()
    if path.stem.startswith("gtsrb"):
        first = tracks(images) % 2 == 0
    else:
        first = np.arange(len(images)) < len(images) // 2
    for half, rows in ((DESIGN, np.flatnonzero(first)), (UNTOUCHED, np.flatnonzero(~first))):
        pixels = np.stack([Compact.of(one).pixels[0] for one in decoded(images, rows)])
        yield half, Images(pixels, labels[rows])


def _jpeg(pixels: np.ndarray, *qualities: int) -> np.ndarray:
    for quality in qualities:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        pixels = np.asarray(Image.open(file))
    return pixels


#: A set made into others, or into itself in another form.
Kind = Callable[[Images, np.random.Generator], Iterator[Images]]


def _each(change: Callable[[np.ndarray], np.ndarray]) -> Kind:
    """All images changed in the same way."""

    def changed(images: Images, rng: np.random.Generator) -> Iterator[Images]:
        yield Images(np.stack([change(one) for one in images.pixels]), images.labels)

    return changed


def _through(between: int, there: Filter, back: Filter) -> Callable[[np.ndarray], np.ndarray]:
    return lambda one: resize(resize(one, (between, between), there), (SIDE, SIDE), back)


def _cropped(images: Images, rng: np.random.Generator) -> Iterator[Images]:
    """A crop of 28 x 28 anywhere, enlarged."""
    at = rng.integers(0, 5, (len(images.pixels), 2))
    crops = [one[y : y + 28, x : x + 28] for one, (y, x) in zip(images.pixels, at, strict=True)]
    yield Images(np.stack([resize(one, (SIDE, SIDE)) for one in crops]), images.labels)


def _histories(images: Images, rng: np.random.Generator) -> Iterator[Images]:
    """In each class another share of images, up to 40 %, that were JPEG files of any quality."""
    pixels = images.pixels.copy()
    for label in np.unique(images.labels):
        of_class = rng.permutation(np.flatnonzero(images.labels == label))
        for i in of_class[: int(rng.uniform(0, 0.4) * len(of_class))]:
            pixels[i] = _jpeg(pixels[i], *rng.choice([50, 75, 85, 95], rng.integers(1, 3)).tolist())
    yield Images(pixels, images.labels)


def _noisy_labels(images: Images, rng: np.random.Generator) -> Iterator[Images]:
    """A tenth of the labels drawn anew."""
    wrong = rng.random(len(images.labels)) < 0.1
    others = rng.choice(np.unique(images.labels), len(images.labels))
    yield Images(images.pixels, np.where(wrong, others, images.labels))


def _confused_labels(images: Images, rng: np.random.Generator) -> Iterator[Images]:
    """A tenth of each class under the label of the next."""
    wrong = rng.random(len(images.labels)) < 0.1
    names, index = np.unique(images.labels, return_inverse=True)
    yield Images(images.pixels, np.where(wrong, names[(index + 1) % len(names)], images.labels))


def _pairs(images: Images, rng: np.random.Generator) -> Iterator[Images]:
    """Two classes under each label."""
    yield Images(images.pixels, images.labels // 2)


def _dozens(images: Images, rng: np.random.Generator) -> Iterator[Images]:
    """Classes that have next to no images, a dozen under each label."""
    yield Images(images.pixels, images.labels // 12)


def _put_together(images: Images, rng: np.random.Generator) -> Iterator[Images]:
    """Classes by lot under five labels, in up to three sets of a few thousand images."""
    order = rng.permutation(len(images.labels))
    for rows in np.array_split(order, np.clip(len(order) // 4_000, 1, 3)):
        some = images[rows[:4_000]]
        names, index = np.unique(some.labels, return_inverse=True)
        yield Images(some.pixels, rng.integers(0, 5, len(names))[index])


def _shuffled(images: Images, rng: np.random.Generator) -> Iterator[Images]:
    """Labels drawn by lot, for classes of all sizes."""
    yield Images(images.pixels, _sizes(len(images.labels), rng))


def _sub_classes(images: Images, rng: np.random.Generator) -> Iterator[Images]:
    """Each class cut into several of all sizes."""
    labels = images.labels * 1000
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        labels[of_class] += _sizes(len(of_class), rng)
    yield Images(images.pixels, labels)


def _sizes(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) classes of 60 to 2,500 images, in random order."""
    sizes = np.exp(rng.uniform(np.log(60), np.log(2500), count // 60 + 1)).astype(int)
    return rng.permutation(np.repeat(np.arange(len(sizes)), sizes)[:count])


def _sets_of(most: int) -> Kind:
    """Disjoint sets with ``most`` images of each class."""

    def cut(images: Images, rng: np.random.Generator) -> Iterator[Images]:
        by_class = [
            rng.permutation(np.flatnonzero(images.labels == label))
            for label in np.unique(images.labels)
        ]
        for start in range(0, min(map(len, by_class)) - most + 1, most):
            yield images[np.concatenate([one[start : start + most] for one in by_class])]

    return cut


#: Forms in which a class may come.
FORMS: dict[str, Kind] = {
    "as it is": lambda images, rng: iter([images]),
    "JPEG 75": _each(lambda one: _jpeg(one, 75)),
    "JPEG 95": _each(lambda one: _jpeg(one, 95)),
    "JPEG 60, then 90": _each(lambda one: _jpeg(one, 60, 90)),
    "some were JPEG": _histories,
    "24 px and back": _each(_through(24, Filter.BILINEAR, Filter.BICUBIC)),
    "48 px and back": _each(_through(48, Filter.BICUBIC, Filter.BOX)),
    "crops": _cropped,
}

#: Other classes of the same images.
LABELS: dict[str, Kind] = {
    "wrong labels": _noisy_labels,
    "confused labels": _confused_labels,
    "pairs of classes": _pairs,
    "random labels": _shuffled,
    "sub-classes": _sub_classes,
}

FEW: dict[str, Kind] = {f"{size} a class": _sets_of(size) for size in (60, 100, 200, 400)}

#: What each set is made into.
SOURCES: dict[str, dict[str, Kind]] = {
    "cifar10_train": {**FORMS, **FEW, **LABELS},
    "imagenette224": {**FORMS, **{name: FEW[name] for name in ("60 a class", "100 a class")}},
    "gtsrb_train": {
        **{name: FORMS[name] for name in ("as it is", "JPEG 75", "some were JPEG", "crops")},
        **{name: LABELS[name] for name in ("wrong labels", "confused labels", "random labels")},
        "several classes a label": _put_together,
    },
    "caltech101_32": {
        "a dozen classes": _dozens,
        "several classes a label": _put_together,
        "random labels": _shuffled,
    },
}


def scanned(images: Images) -> Iterator[tuple[int, int, int, float, list[Called]]]:
    """Each class of a set: label, images, different pictures, seconds, what was found."""
    population = Population.of(Compact(images.pixels), images.labels, np.random.default_rng(0))
    for label in np.unique(images.labels).tolist():
        start = time.perf_counter()
        of_class = Compact(images.pixels[images.labels == label])
        pictures = len(different_pictures(thumbnails(of_class.pixels)))
        if pictures < LEAST_PICTURES:
            continue
        called = [
            Called(one.reason, one.evidence, int((one.signature.log_odds(of_class) > 0).sum()))
            for one in search(population, label, of_class)
        ]
        yield label, len(of_class), pictures, time.perf_counter() - start, called


def main() -> None:
    """Scan the classes that are missing, and tell what was decided of all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--half", choices=HALVES, action="append", help="only this half")
    parser.add_argument("--source", choices=SOURCES, action="append", help="only this set")
    parser.add_argument("--kind", action="append", help="only this kind")
    parser.add_argument("--tell", action="store_true", help="scan nothing")
    parser.add_argument("--rows", type=Path, default=ROWS)
    options = parser.parse_args()
    if not options.tell:
        for source in options.source or SOURCES:
            for half, images in halves(options.data / f"{source}.parquet"):
                if half in (options.half or HALVES):
                    _scan(source, half, images, options)
    rows = rows_of(options.rows, Row)
    for half in options.half or HALVES:
        tell(half, [row for row in rows if row.half == half])


def _scan(source: str, half: str, images: Images, options: argparse.Namespace) -> None:
    """Scan all kinds of classes of a half that are missing."""
    path: Path = options.rows
    done = {row.key[:4] for row in rows_of(path, Row)}
    for kind, made in SOURCES[source].items():
        if options.kind and kind not in options.kind:
            continue
        parts = islice(made(images, np.random.default_rng(0)), MOST_PARTS)
        for part, one in enumerate(parts):
            if (source, half, kind, part) in done:
                continue
            rows = [
                Row(source, half, kind, part, label, count, pictures, round(seconds, 2), called)
                for label, count, pictures, seconds, called in scanned(one)
            ]
            append(path, rows)
            print(f"{source}, {half}, {kind} {part}: {len(rows)} classes", flush=True)


def tell(half: str, rows: list[Row]) -> None:
    """Print a table of how many classes of a half were called infected, and how many may be.

    Classes of one kind have no image in common, those of several kinds have. So the bound over all
    of them is too low, and that over the richest kind of each set is too high.
    """
    if not rows:
        return
    kinds: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        kinds.setdefault(row.source, {}).setdefault(row.kind, []).append(row)
    print(f"| {half} | classes | called | at most, % | images lost, % |")
    print("|---|---|---|---|---|")
    for source, by_kind in kinds.items():
        for kind, of_kind in by_kind.items():
            print(_line(f"{source.split('_')[0]}, {kind}", of_kind))
    print(_line("all, were they independent", rows))
    richest = [max(by_kind.values(), key=len) for by_kind in kinds.values()]
    apart = [row for of_kind in richest for row in of_kind]
    print(_line("those without a common image", apart))


def _line(name: str, rows: list[Row]) -> str:
    called = sum(bool(row.called) for row in rows)
    lost = sum(row.lost for row in rows) / sum(row.images for row in rows)
    cells = (
        name,
        len(rows),
        called,
        f"{100 * most(called, len(rows)):.2f}",
        f"{100 * lost:.3f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def most(called: int, of: int) -> float:
    """The 95 % upper bound of a rate (Clopper, Pearson, Biometrika 26, 1934)."""
    return 1.0 if called == of else float(beta.ppf(0.95, called + 1, of - called))


if __name__ == "__main__":
    main()
