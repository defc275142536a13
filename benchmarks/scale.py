"""``freqsan clean`` on sets of the sizes and shapes that people outgrow a machine with.

    python -m benchmarks.scale DATA_DIR                       # all, a row at a time
    python -m benchmarks.scale DATA_DIR --only "32 px"        # those with such a name
    python -m benchmarks.scale DATA_DIR --table               # what is there

Sets are made of CIFAR-10's and Imagenette's pictures: each copy of a picture is shifted, and every
other one mirrored, so that no two images are the same; photographs are Imagenette's, enlarged,
a few hundred of them under many ids. Finished rows are kept in ``benchmarks/rows/scale.jsonl``
and are not measured again; a set is removed when its row is there.
"""

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.detection_data import table
from benchmarks.lines import append, rows_of
from benchmarks.throughput import clean_command, measure
from sanitizer.record import Record

ROWS = Path(__file__).parent / "rows" / "scale.jsonl"

#: Images of a batch that is made and written at once.
BATCH = 1000

#: By how many pixels a copy of a picture is shifted at most.
SHIFT = 4

#: Photographs that differ, and their height and width in pixels.
PHOTOS, PHOTO = 500, (3000, 4000)

#: Values of the column that makes the one file large: 2 KiB a row.
EMBEDDING = 512


@dataclass(frozen=True, kw_only=True)
class Row(Record):
    """What one set took."""

    name: str
    images: int
    scan: bool
    input_mib: float
    seconds: float
    cpu_seconds: float
    peak_mib: float  #: of the largest process


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures that sets are made of, and their labels."""

    encoded: list[bytes]
    labels: list[int]

    @classmethod
    def of(cls, path: Path) -> "Pictures":
        labels = pq.read_table(path, columns=["label"])["label"].to_pylist()
        return cls(table(path).field("bytes").to_pylist(), labels)

    def copy(self, number: int, form: str) -> tuple[bytes, int]:
        """Image ``number`` of a set of any size, as PNG or JPEG, and its label."""
        at, copies = number % len(self.encoded), number // len(self.encoded)
        if not copies:
            return self.encoded[at], self.labels[at]
        rng = np.random.default_rng([number])
        image = Image.open(io.BytesIO(self.encoded[at])).convert("RGB")
        pixels = np.asarray(image)[:, :: -1 if copies % 2 else 1]
        around = ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0))
        top, left = rng.integers(0, 2 * SHIFT + 1, 2)
        height, width = pixels.shape[:2]
        shifted = np.pad(pixels, around, "reflect")[top : top + height, left : left + width]
        out = io.BytesIO()
        Image.fromarray(shifted).save(out, form, quality=int(rng.integers(75, 96)))
        return out.getvalue(), self.labels[at]

    def photo(self, number: int) -> tuple[bytes, int]:
        """A picture enlarged to the size of a photograph, as JPEG, and its label."""
        image = Image.open(io.BytesIO(self.encoded[number])).convert("RGB")
        out = io.BytesIO()
        image.resize(PHOTO[::-1], Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
        return out.getvalue(), self.labels[number]


def batches(pictures: Pictures, images: int, form: str) -> Iterator[pa.Table]:
    """So many images, a batch at a time, made by as many processes as there are cores."""
    global _copied
    _copied = pictures
    # Forked, they have the pictures, which are too many to be sent with each batch.
    with get_context("fork").Pool() as processes:
        make = partial(one_batch, images=images, form=form)
        yield from processes.imap(make, range(0, images, BATCH))


#: What :func:`one_batch` makes copies of.
_copied: Pictures


def one_batch(first: int, images: int, form: str) -> pa.Table:
    """The images from ``first`` on."""
    return as_table([_copied.copy(i, form) for i in range(first, min(first + BATCH, images))])


def as_table(made: list[tuple[bytes, int]]) -> pa.Table:
    """Images and labels as columns."""
    encoded, labels = zip(*made, strict=True)
    return pa.table({"image": pa.array(encoded, pa.binary()), "label": pa.array(labels)})


def write_files(tables: Iterator[pa.Table], folder: Path, in_a_file: int) -> None:
    """Parquet files of so many batches."""
    writer = None
    for number, batch in enumerate(tables):
        if number % in_a_file == 0:
            if writer:
                writer.close()
            path = folder / f"part-{number // in_a_file:05d}.parquet"
            writer = pq.ParquetWriter(path, batch.schema, compression="none", use_dictionary=False)
        assert writer
        writer.write_table(batch)
    if writer:
        writer.close()


def write_small(source: Path, images: int, folder: Path) -> None:
    """CIFAR-10, over and over."""
    write_files(batches(Pictures.of(source), images, "PNG"), folder, 50)


def write_large(source: Path, images: int, folder: Path) -> None:
    """Imagenette, over and over."""
    write_files(batches(Pictures.of(source), images, "JPEG"), folder, 5)


def write_photos(source: Path, images: int, folder: Path) -> None:
    """Photographs of 12 MP, ten to a batch."""
    pictures = Pictures.of(source)
    kinds = [pictures.photo(i) for i in range(min(PHOTOS, images))]

    def tables() -> Iterator[pa.Table]:
        for first in range(0, images, 10):
            yield as_table([kinds[i % len(kinds)] for i in range(first, first + 10)])

    write_files(tables(), folder, 20)


def write_classes(source: Path, images: int, folder: Path) -> None:
    """CIFAR-10, over and over, ten images a class."""

    def tables() -> Iterator[pa.Table]:
        first = 0
        for batch in batches(Pictures.of(source), images, "PNG"):
            labels = (np.arange(first, first + len(batch)) * 7919) % (images // 10)
            first += len(batch)
            yield batch.set_column(1, "label", pa.array(labels))

    write_files(tables(), folder, 50)


def write_rows(source: Path, images: int, folder: Path) -> None:
    """A file for each image of CIFAR-10."""
    pictures = Pictures.of(source)
    for number in range(images):
        pq.write_table(as_table([pictures.copy(number, "PNG")]), folder / f"{number:06d}.parquet")


def write_one_group(source: Path, images: int, folder: Path) -> None:
    """One row group, as pyarrow writes it, with a column of numbers beside the images."""
    rng = np.random.default_rng(0)

    def with_numbers(batch: pa.Table) -> pa.Table:
        values = rng.random(len(batch) * EMBEDDING, dtype=np.float32)
        numbers = pa.FixedSizeListArray.from_arrays(pa.array(values), EMBEDDING)
        return batch.append_column("embedding", numbers)

    # All at once, in some gigabytes of memory: what is written bit by bit are several row groups.
    table = pa.concat_tables(map(with_numbers, batches(Pictures.of(source), images, "PNG")))
    pq.write_table(table, folder / "set.parquet", row_group_size=images)


@dataclass(frozen=True)
class Case:
    """A set, and how it is cleaned."""

    name: str
    source: str
    images: int
    write: Callable[[Path, int, Path], None]
    scan: tuple[bool, ...] = (False,)  #: with or without, in turn


CIFAR, IMAGENETTE = "cifar10_train.parquet", "imagenette224.parquet"
CASES = (
    Case("32 px", CIFAR, 50_000, write_small, (False, True)),
    Case("32 px", CIFAR, 1_000_000, write_small, (False, True)),
    Case("224 px", IMAGENETTE, 5_000, write_large),
    Case("224 px", IMAGENETTE, 50_000, write_large),
    Case("12 MP", IMAGENETTE, 500, write_photos),
    Case("12 MP", IMAGENETTE, 5_000, write_photos),
    Case("files of one row", CIFAR, 1_000, write_rows),
    Case("files of one row", CIFAR, 10_000, write_rows),
    Case("one row group", CIFAR, 1_000_000, write_one_group),
    Case("ten images a class", CIFAR, 100_000, write_classes, (True,)),
    Case("ten images a class", CIFAR, 1_000_000, write_classes, (True,)),
)


def run(case: Case, data: Path, workers: int, scratch: Path | None) -> Iterator[Row]:
    """Make the set, and clean it; both are removed."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        inputs = Path(folder, "in")
        inputs.mkdir()
        # By another process: a system counts what this one held to the command's peak.
        maker = get_context("spawn").Process(
            target=case.write, args=(data / case.source, case.images, inputs)
        )
        maker.start()
        maker.join()
        if maker.exitcode:
            raise SystemExit(f"{case.name}: the set could not be made")
        size = sum(path.stat().st_size for path in inputs.iterdir())
        for scan in case.scan:
            output = Path(folder, "out")
            options = () if scan else ("--no-scan",)
            usage = measure(clean_command(str(inputs), str(output), workers, *options))
            shutil.rmtree(output)
            yield Row(
                name=case.name,
                images=case.images,
                scan=scan,
                input_mib=round(size / 2**20, 1),
                seconds=round(usage.wall, 1),
                cpu_seconds=round(usage.cpu, 1),
                peak_mib=round(usage.peak, 0),
            )


def show(rows: list[Row]) -> None:
    """Print a table; the last column compares images a second with the smaller set's."""
    print("| set | images | input, MiB | seconds | images/s | CPU ms an image | peak MiB | speed |")
    print("|---|---|---|---|---|---|---|---|")
    first: dict[tuple[str, bool], float] = {}
    for row in rows:
        speed = row.images / row.seconds
        ratio = speed / first.setdefault((row.name, row.scan), speed)
        cells = [
            f"{row.name}, with the scan" if row.scan else row.name,
            f"{row.images:,}",
            f"{row.input_mib:,.0f}",
            f"{row.seconds:,.1f}",
            f"{speed:,.0f}",
            f"{1000 * row.cpu_seconds / row.images:.2f}",
            f"{row.peak_mib:,.0f}",
            f"{ratio:.2f}",
        ]
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Read the arguments, measure what is not there yet and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="a directory with the benchmark data sets")
    parser.add_argument("--only", default="", metavar="TEXT", help="sets whose name begins so")
    parser.add_argument("--images", type=int, help="of the only set that is to be measured")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="where sets are made; up to 15 GB")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    options = parser.parse_args()
    scratch: Path | None = options.scratch
    done = {(row.name, row.images, row.scan) for row in rows_of(ROWS, Row)}
    for case in () if options.table else CASES:
        wanted = case.name.startswith(options.only) and options.images in (None, case.images)
        left = tuple(s for s in case.scan if (case.name, case.images, s) not in done)
        if wanted and left:
            for row in run(replace(case, scan=left), options.data, options.workers, scratch):
                append(ROWS, [row])
                print(row, file=sys.stderr, flush=True)
    order = {(case.name, case.images): i for i, case in enumerate(CASES)}
    show(sorted(rows_of(ROWS, Row), key=lambda row: (row.scan, order[row.name, row.images])))


if __name__ == "__main__":
    main()
