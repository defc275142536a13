"""What lies beside the images of a folder: licences, captions, and the tables of ``imagefolder``.

A table is copied line by line, but for the lines on images that are not exported; a file with the
name of an image, such as the caption ``a.txt`` of ``a.jpg``, goes where the image goes; and all
others are copied.
"""

import csv
import io
import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.exporting.destination import Written
from pipelines.exporting.names import NameSet, is_plain, stem_of
from pipelines.exporting.origin import Origin
from pipelines.runs.store import Store
from pipelines.sources.files import SPLIT_NAMES, some
from pipelines.sources.folder import is_image

#: Bytes of a file, and rows of a table, that are in memory at a time.
BLOCK, ROWS = 1 << 20, 10_000


class OddTableError(ValueError):
    """A table that does not read as what its name says."""


@dataclass
class Sides:
    """The files beside the images of INPUT.

    Args:
        origin: INPUT.
        exported: the names of the images that are exported.
        folder: of the split that was cleaned, where INPUT has several; None: all.
    """

    origin: Origin
    exported: NameSet
    folder: str | None
    odd: list[str] = field(default_factory=list)  #: tables that could not be read

    def names(self) -> list[str]:
        """Those that are copied, a table perhaps without lines."""
        images = filter(is_image, self.origin.listing.names)
        of_images = NameSet(stem_of(name) for name in images)
        kept = NameSet(stem_of(name) for name in self.origin.listing.names if name in self.exported)
        return [
            name
            for name in self.origin.beside()
            if is_plain(name)
            and self._is_of_split(name)
            and (stem_of(name) in kept or stem_of(name) not in of_images)
        ]

    def write(self, dest: Store, names: Sequence[str]) -> Written:
        """Copy them."""
        sizes = {}
        for name in names:
            size = self._copy(dest, name)
            if size is not None:
                sizes[name] = size
        return Written(sizes, 0, {})

    def notes(self) -> list[str]:
        """What the user should know."""
        if not self.odd:
            return []
        return [
            f"{some(self.odd)} in INPUT is no table that tells its images by file_name, and was "
            "left out"
        ]

    def _is_of_split(self, name: str) -> bool:
        """Whether a file is not of another split."""
        top = name.partition("/")[0] if "/" in name else ""
        return self.folder is None or top == self.folder or top.lower() not in SPLIT_NAMES

    def _copy(self, dest: Store, name: str) -> int | None:
        """Copy a file; None where nothing is left of a table."""
        copy = _TABLES.get(posixpath.basename(name), _copy_all)
        folder = posixpath.dirname(name)

        def is_kept(images: Iterable[str]) -> bool:
            told = [posixpath.normpath(posixpath.join(folder, image)) for image in images]
            return all(image in self.exported for image in told)

        staged = dest.stage(name)
        try:
            with self.origin.open(name) as source, staged.open("wb") as target:
                lines = copy(source, target, is_kept)
            if lines == 0:
                return None
            size = staged.stat().st_size
            dest.publish(staged, name)
            return size
        except OddTableError:
            self.odd.append(name)
            return None
        finally:
            staged.unlink(missing_ok=True)


#: Whether the row on some images is kept.
IsKept = Callable[[Iterable[str]], bool]


def _copy_all(source: IO[bytes], target: IO[bytes], is_kept: IsKept) -> int | None:
    """Copy a file as it is."""
    while block := source.read(BLOCK):
        target.write(block)
    return None


def _copy_csv(source: IO[bytes], target: IO[bytes], is_kept: IsKept) -> int:
    """Copy the head of a CSV file and the rows that are kept, each byte for byte."""
    lines: list[str] = []
    # Odd bytes come out as they went in, and so do the ends of lines.
    text = io.TextIOWrapper(source, "utf-8", "surrogateescape", newline="")

    def read() -> Iterator[str]:
        for line in text:
            lines.append(line)
            yield line

    reader = csv.reader(read())
    columns: list[int] | None = None
    rows = 0
    try:
        for row in reader:
            if columns is None:
                columns = [i for i, n in enumerate(row) if _tells_images(n.removeprefix("\ufeff"))]
                if not columns:
                    raise OddTableError
                kept = True
            else:
                images = [row[i] for i in columns if i < len(row) and row[i]]
                kept = bool(images) and is_kept(images)
                rows += kept
            if kept:
                target.write("".join(lines).encode("utf-8", "surrogateescape"))
            lines.clear()
    except csv.Error as error:
        raise OddTableError from error
    return rows


def _copy_json_lines(source: IO[bytes], target: IO[bytes], is_kept: IsKept) -> int:
    """Copy the lines of a file of JSON lines that are kept, each byte for byte."""
    rows = 0
    for line in source:
        if not line.strip():
            continue
        try:
            row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
        except (ValueError, RecursionError) as error:
            raise OddTableError from error
        images = list(_images_of(row))
        if not images:
            raise OddTableError
        if is_kept(images):
            target.write(line)
            rows += 1
    return rows


def _copy_parquet(source: IO[bytes], target: IO[bytes], is_kept: IsKept) -> int:
    """Copy the rows of a Parquet file that are kept, with their values and types."""
    rows = 0
    try:
        with pq.ParquetFile(source) as file:
            columns = [name for name in file.schema_arrow.names if _tells_images(name)]
            if not columns:
                raise OddTableError
            with pq.ParquetWriter(target, file.schema_arrow) as writer:
                for batch in file.iter_batches(ROWS):
                    named = map(list, map(_images_of, batch.select(columns).to_pylist()))
                    kept = [bool(images) and is_kept(images) for images in named]
                    writer.write_batch(batch.filter(pa.array(kept, pa.bool_())))
                    rows += sum(kept)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise OddTableError from error
    return rows


def _images_of(row: Any) -> Iterator[str]:
    """The images that a row of a table names."""
    if not isinstance(row, dict):
        return
    for column, value in row.items():
        if _tells_images(column):
            yield from (v for v in (value if isinstance(value, list) else [value]) if v)


def _tells_images(column: str) -> bool:
    """Whether a column names images, as ``datasets`` has it."""
    return column in ("file_name", "file_names") or column.endswith(("_file_name", "_file_names"))


_TABLES = {
    "metadata.csv": _copy_csv,
    "metadata.jsonl": _copy_json_lines,
    "metadata.parquet": _copy_parquet,
}
