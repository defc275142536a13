"""A few images of a set, judged in this process to tell how a run over all of them would go."""

import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.judging.scan import ClassSearch
from pipelines.judging.score import ScoreStep
from pipelines.sources.base import BATCH_ROWS, Samples, Source
from pipelines.sources.columns import encoded_images
from sanitizer.scan.canonical import Compact
from sanitizer.scan.population import RESTED, SAMPLED, Population
from sanitizer.scan.scan import LEAST_PICTURES, SEARCHED

Result = TypeVar("Result")

#: Images that are looked at, at most, and after so many seconds no more than that.
IMAGES, SECONDS = 1024, 5.0

#: Shards that they come from, evenly over the set.
SHARDS = 4

#: Images that are judged together at first, before the clock starts: what is loaded at first use
#: would count. Then so many that they take about so many seconds; a run takes ``BATCH_ROWS``.
FIRST, SECONDS_TOGETHER = 16, 0.5

#: Images of the class that is searched to see how long that takes; a larger one takes as much
#: longer as it is larger.
CLASS = 1_000


@dataclass
class Stopwatch:
    """Seconds of work by the cores that it keeps busy, and by the clock.

    How much longer the clock takes depends on what else the machine does, from one second to the
    next; so that is told over all that was timed together.
    """

    cores: float = 0.0
    clock: float = 0.0

    @property
    def slowness(self) -> float:
        """How many times longer work takes than a core that does nothing else would need."""
        return max(1.0, self.clock / max(self.cores, 1e-9))

    def time(self, work: Callable[[], Result]) -> tuple[Result, float]:
        """What some work gives, and the seconds of the cores that it took."""
        cores, clock = time.process_time(), time.perf_counter()
        result = work()
        cores, clock = time.process_time() - cores, time.perf_counter() - clock
        self.cores += cores
        self.clock += clock
        return result, cores


@dataclass
class Judged:
    """What was seen of some images of a set, and what it took."""

    images: int = 0
    nbytes: int = 0  #: that they take in the files of the set
    timed: int = 0  #: of the images, those that the seconds are of
    reading: float = 0.0  #: seconds by the clock
    scoring: float = 0.0  #: of cores: decoding, scoring, and keeping what the scan looks at
    copying: float = 0.0  #: of cores: writing them as Parquet
    copied: int = 0  #: bytes of that Parquet
    rows: int = 0  #: bytes of their score rows
    working: int = 0  #: bytes that wait for the later passes
    formats: Counter[str] = field(default_factory=Counter)
    sides: list[int] = field(default_factory=list)  #: the longest of each image that decodes, px
    labels: Counter[object] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)  #: by kind
    first_reject: str = ""  #: id and reason
    compact: list[Compact] = field(default_factory=list)  #: as the scan sees them


def judge_some(source: Source, step: ScoreStep, watch: Stopwatch) -> Judged:
    """Judge images from all over a set, as a run would, in one thread.

    Args:
        source: of which a few shards are begun.
        step: set up; what it scores goes nowhere.
        watch: for the time that it takes.

    Raises:
        InputError: the input is unreadable.
    """
    seen, places = Judged(), _spread(source)
    began, together = time.perf_counter(), FIRST
    for done, place in enumerate(places, 1):
        deadline = began + SECONDS * done / len(places)
        if seen.images and time.perf_counter() >= deadline:
            continue
        for samples, reading in _first_of(source, place, -(-IMAGES // len(places))):
            start = 0
            while start < len(samples) and time.perf_counter() < deadline:
                some = _cut(samples, start, together)
                before = time.perf_counter()
                _add(seen, some, reading * len(some) / len(samples), source, step, watch)
                start += len(some)
                speed = len(some) / (time.perf_counter() - before)
                together = max(1, min(BATCH_ROWS, round(SECONDS_TOGETHER * speed)))
            if time.perf_counter() >= deadline:
                break
    return seen


def _cut(samples: Samples, start: int, rows: int) -> Samples:
    """Some of a few samples."""
    unread = {row - start: error for row, error in samples.unread.items() if row >= start}
    return Samples(samples.batch.slice(start, rows), samples.files[start : start + rows], unread)


def _spread(source: Source) -> Sequence[int]:
    """The numbers of some shards, evenly over the set; those of small shards are more."""
    shards = len(source.shards)
    size = max(1, max(shard.size for shard in source.shards))
    wanted = min(shards, max(SHARDS, -(-IMAGES // size)))
    return sorted({round(place) for place in np.linspace(0, shards - 1, wanted)})


def _first_of(source: Source, shard: int, most: int) -> Iterator[tuple[Samples, float]]:
    """The first images of a shard, some at a time, and the seconds that it took to read them."""
    reading = source.reader.read(source.shards[shard], min(BATCH_ROWS, most))
    while most > 0:
        began = time.perf_counter()
        samples = next(reading, None)
        if samples is None:
            return
        yield samples, time.perf_counter() - began
        most -= len(samples)


def _add(
    seen: Judged,
    samples: Samples,
    reading: float,
    source: Source,
    step: ScoreStep,
    watch: Stopwatch,
) -> None:
    """Add what is seen of some images."""
    (scored, compact), scoring = watch.time(lambda: step.score(samples))
    copied, copying = watch.time(lambda: _parquet_bytes(samples.batch))
    if seen.images:  # else what is loaded at first use would count
        seen.timed += len(samples)
        seen.reading += reading
        seen.scoring += scoring
        seen.copying += copying
    seen.images += len(samples)
    encoded = encoded_images(samples.batch, source.image_column)
    seen.nbytes += sum(_as_stored(len(data or b""), source) for data in encoded)
    seen.copied += copied
    seen.rows += _parquet_bytes(scored)
    kept = [one for one in compact if one is not None]
    seen.compact += kept
    seen.working += scored.nbytes + sum(len(b or b"") for one in kept for b in one.to_bytes())
    for row in scored.to_pylist():
        if row["reject_kind"]:
            seen.rejected[row["reject_kind"]] += 1
            seen.first_reject = seen.first_reject or f"{row['sample_id']}: {row['reject_reason']}"
        if row["format"]:
            seen.formats[row["format"]] += 1
            seen.sides.append(max(row["width"], row["height"]))
        seen.labels[str(row["label"])] += 1


def _as_stored(nbytes: int, source: Source) -> int:
    """Bytes that an image takes in the files of a set: in a tar it has a head, and is filled up."""
    return (nbytes + 2 * 512 - 1) // 512 * 512 if source.kind == "webdataset" else nbytes


def _parquet_bytes(batch: pa.RecordBatch) -> int:
    """Of some rows in a file of many, which has but one head and foot."""
    return _file_bytes(batch) - _file_bytes(batch.slice(0, 0))


def _file_bytes(batch: pa.RecordBatch) -> int:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_batches([batch]), sink, compression="zstd")
    return int(sink.tell())


@dataclass(frozen=True)
class SearchCost:
    """What the scan takes, in seconds of one core."""

    population: float  #: in each process, to know the set that classes are compared with
    fixed: float  #: for each class
    image: float  #: for each image of a class, up to ``SEARCHED`` of them

    def of_class(self, images: int) -> float:
        """Of a class of so many images."""
        return self.fixed + self.image * min(images, SEARCHED)


def search_cost(
    compact: Sequence[Compact], images: int, largest: int, watch: Stopwatch
) -> SearchCost | None:
    """Search two classes of invented images, made of real ones, as large as the set has them.

    Args:
        compact: real images, as the scan sees them.
        images: of the set.
        largest: of its largest class.
        watch: for the time that it takes.

    Returns:
        None where there is next to nothing to search.
    """
    if len(compact) < 2 or largest < LEAST_PICTURES:
        return None
    rng = np.random.default_rng(0)
    size = min(largest, CLASS)
    others = min(max(images - size, size), RESTED)
    varied = _varied(Compact.joined(compact), others + size, rng)
    labels = np.repeat([0, 1], [others, size])
    known, seconds = watch.time(lambda: Population.of(varied, labels, np.random.default_rng(0)))
    population = seconds / len(varied) * min(images, SAMPLED)

    def search(some: Compact) -> float:
        return watch.time(lambda: list(ClassSearch.of(known, 1, some).triggers))[1]

    small, large = search(varied[others : others + size // 4]), search(varied[others:])
    each = max(large - small, 0.0) / max(size - size // 4, 1)
    return SearchCost(population, max(large - each * size, 0.0), each)


def _varied(images: Compact, count: int, rng: np.random.Generator) -> Compact:
    """``count`` images, no two of which are alike: real ones, moved and with noise."""
    chosen = images[rng.integers(0, len(images), count)]
    moved = [
        np.roll(pixels, shift, axis=(0, 1))
        for pixels, shift in zip(chosen.pixels, rng.integers(0, 32, (count, 2)), strict=True)
    ]
    noise = rng.integers(-8, 9, chosen.pixels.shape, dtype=np.int16)
    pixels = (np.stack(moved) + noise).clip(0, 255).astype(np.uint8)
    return Compact(pixels, chosen.native)


def peak_of_this_process() -> int:
    """The most memory that this process has held so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
