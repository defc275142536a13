"""A split as WebDataset tars: the original members where INPUT was tars, else new ones."""

import gzip
import hashlib
import io
import json
import math
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.exporting.destination import Written
from pipelines.exporting.finished import CleanRun, Judged, image_paths
from pipelines.exporting.folder import NO_BYTES, one_part
from pipelines.exporting.names import Names, extension_of, is_plain, made_of, stem_of
from pipelines.exporting.origin import FILES_KIND, Origin
from pipelines.runs.store import Store
from pipelines.sources import webdataset
from pipelines.sources.columns import encoded_images
from pipelines.sources.files import name_of, text
from sanitizer.errors import InputError, quoted
from sanitizer.records import REJECTED
from sanitizer.summary import label_key

#: The extension where a split has images of several formats: readers want one for all samples,
#: and tell the format by the content.
MIXED = "jpg"

#: What ``datasets`` has in place of a missing label among whole numbers.
NO_LABEL = -1

#: Why a sample is not exported.
NO_MEMBERS = "had no members that could be read"


# --- INPUT's own members --------------------------------------------------------------------


class OriginalTars:
    """Copies members from INPUT's tars, sample by sample; its pieces are the shards.

    Args:
        run: of ``clean``.
        split: that is exported.
        origin: INPUT.
    """

    def __init__(self, run: CleanRun, split: str, origin: Origin):
        self._run, self._split, self._origin = run, split, origin
        self._links = 0

    @property
    def pieces(self) -> int:
        return self._run.shards

    def names(self, piece: int) -> list[str]:
        """The tars of a shard that hold samples of the split.

        Raises:
            InputError: one is no name of a file in a folder.
        """
        names = {name_of(one.source) for one in self._run.judged(piece, self._split).values()}
        for name in names:
            if not is_plain(name):
                raise InputError(f"{quoted(text(name))} is no name of a tar in INPUT")
        return sorted(names)

    def write(self, dest: Store, piece: int, names: Sequence[str]) -> Written:
        judged = self._run.judged(piece, self._split)
        sizes: dict[str, int] = {}
        samples = 0
        for name in names:
            of_tar = {i: one for i, one in judged.items() if one.source == text(name)}
            with _tar(dest, name, sizes) as tar:
                samples += sum(self._copy(sample, tar) for sample in self._samples(name, of_tar))
        left_out = len(judged) - samples
        return Written(sizes, samples, {NO_MEMBERS: left_out} if left_out else {})

    def notes(self) -> list[str]:
        """What the user should know."""
        if not self._links:
            return []
        return [f"{self._links:,} members that are links or no files were left out of the tars"]

    def _samples(self, name: str, judged: dict[str, Judged]) -> Iterator[webdataset.Sample]:
        """The samples of a tar that are exported, as they lie there.

        Raises:
            InputError: it is gone, or they are no longer what was judged.
        """
        left = dict(judged)
        for sample_id, sample in webdataset.samples_of(self._origin.root, name):
            if (said := left.pop(sample_id, None)) is None:
                continue
            if said.sha256 is not None and not _holds(sample, said.sha256):
                raise self._changed(name, f"the image of {quoted(sample_id)} is another")
            yield sample
        if left:
            raise self._changed(name, f"{quoted(next(iter(left)))} is not in it")

    def _changed(self, name: str, how: str) -> InputError:
        return InputError(
            f"{self._origin.address(text(name))} is not what was cleaned: {how}; put that back, or "
            "export with --as folder, which needs OUTPUT alone"
        )

    def _copy(self, sample: webdataset.Sample, tar: tarfile.TarFile) -> bool:
        """Copy the members of a sample; whether there were any."""
        copied = False
        for extension, header in sample.headers.items():
            data = sample.members[extension]
            if isinstance(data, bytes):
                tar.addfile(header, io.BytesIO(data))
                copied = True
            else:
                self._links += 1
        return copied


def _holds(sample: webdataset.Sample, sha256: str) -> bool:
    """Whether a member of a sample is the image that was judged."""
    read = (data for data in sample.members.values() if isinstance(data, bytes))
    return any(hashlib.sha256(data).hexdigest() == sha256 for data in read)


# --- New tars -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """A sample as it is written."""

    sample_id: str
    path: str | None  #: of the image, as far as the input told one
    image: bytes | None
    values: dict[str, Any]  #: of the other columns, as far as JSON can hold them


class NewTars:
    """Writes a tar for each shard: an image, ``.cls`` with its label, and ``.json`` for the rest.

    Args:
        run: of ``clean``.
        split: that is exported.
    """

    def __init__(self, run: CleanRun, split: str):
        self._run, self._split = run, split
        labels = [json.loads(key) for key in run.names]
        numbers = [label for label in labels if label is not None]
        self._has_cls = bool(numbers) and all(type(label) is int for label in numbers)
        self._extension, self._formats = self._choose_extension()
        self._not_json: set[str] = set()  # columns

    @property
    def pieces(self) -> int:
        return self._run.shards

    def names(self, piece: int) -> list[str]:
        """The tar of a shard, if it holds samples of the split."""
        if not self._run.judged(piece, self._split):
            return []
        return [f"{self._split}-{piece:05d}-of-{self._run.shards:05d}.tar"]

    def write(self, dest: Store, piece: int, names: Sequence[str]) -> Written:
        sizes: dict[str, int] = {}
        samples, seen = 0, 0
        judged = self._run.judged(piece, self._split)
        taken = Names(folded=False)
        for name in names:
            with _tar(dest, name, sizes) as tar:
                for row in self._rows(piece):
                    seen += 1
                    if row.image is not None:
                        self._add(tar, row, self._run.said_of(row.sample_id, judged), taken)
                        samples += 1
        return Written(sizes, samples, {NO_BYTES: seen - samples} if seen > samples else {})

    def notes(self) -> list[str]:
        """What the user should know."""
        told = []
        if self._not_json:
            columns = ", ".join(map(quoted, sorted(self._not_json)))
            told.append(f"JSON cannot hold all of {columns:.300}: left out where it cannot")
        if len(self._formats) > 1 and self._split != REJECTED:
            told.append(
                f"images of several formats ({', '.join(self._formats)}) are all called "
                f".{self._extension}, as readers of WebDataset want one extension for all; their "
                "bytes are as they were"
            )
        return told

    def _choose_extension(self) -> tuple[str, list[str]]:
        """The extension of all images, without its dot, and the formats that there are."""
        formats: set[str | None] = set()
        for piece in range(self._run.shards):
            rows = self._run.scores(piece, ["format", "verdict"])
            own = rows.filter(pc.equal(rows["verdict"], self._split))
            formats |= set(pc.unique(own["format"]).to_pylist())
        known = sorted(one for one in formats if one)
        if len(formats) > 1 and None not in formats:
            return MIXED, known
        return extension_of(next(iter(formats), None)).removeprefix("."), known

    def _rows(self, piece: int) -> Iterator[_Row]:
        column = "bytes" if self._split == REJECTED else self._run.summary.source.image_column
        for batch in self._run.rows(piece, self._split):
            others = [name for name in batch.schema.names if name != column]
            values = {name: told for name in others if (told := self._values(batch, name))}
            images, paths = encoded_images(batch, column), image_paths(batch, column)
            for row, (image, path) in enumerate(zip(images, paths, strict=True)):
                own = {name: told[row] for name, told in values.items()}
                yield _Row(own["sample_id"], path, image, own)

    def _values(self, batch: pa.RecordBatch, column: str) -> list[Any] | None:
        """A column as JSON has it; None where it cannot."""
        if not _is_json(batch.schema.field(column).type):
            self._not_json.add(column)
            return None
        try:
            return list(map(_plain, batch.column(column).to_pylist()))
        except UnicodeDecodeError:  # text of a stranger, which is passed on as it is elsewhere
            self._not_json.add(column)
            return None

    def _add(self, tar: tarfile.TarFile, row: _Row, said: Judged, taken: Names) -> None:
        key = self._key(row, taken)
        self._add_member(tar, f"{key}.{self._extension}", row.image or b"")
        if self._has_cls:
            label = NO_LABEL if said.label is None else said.label
            self._add_member(tar, f"{key}.cls", str(label).encode())
        named = {"class_name": self._run.names.get(label_key(said.label))}
        told = (named if said.label is not None else {}) | row.values
        if self._split == REJECTED:
            told |= {"label": _plain(said.label)}
        self._add_member(tar, f"{key}.json", json.dumps(told, ensure_ascii=False).encode())

    def _key(self, row: _Row, taken: Names) -> str:
        """What the members of a sample are called: its name without dots, which end a key."""
        files = self._run.input.kind == FILES_KIND
        own = (row.path or row.sample_id) if files else (row.path or "").rpartition("/")[2]
        made = one_part(row.sample_id)
        wanted = [stem_of(own), made] if own and is_plain(own) else [made]
        return taken.take(*("/".join(map(_without_dots, one.split("/"))) for one in wanted))

    def _add_member(self, tar: tarfile.TarFile, name: str, data: bytes) -> None:
        header = tarfile.TarInfo(name)
        header.size = len(data)
        tar.addfile(header, io.BytesIO(data))


def _without_dots(part: str) -> str:
    return made_of(part).replace(".", "_")


def _is_json(kind: pa.DataType) -> bool:
    """Whether JSON can hold the values of a column."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        return _is_json(kind.value_type)
    if kind.num_fields:
        return all(_is_json(kind.field(i).type) for i in range(kind.num_fields))
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return not any(is_kind(kind) for is_kind in (*binary, pa.types.is_binary_view))


def _plain(value: Any) -> Any:
    """A value of Arrow as JSON has it: no number for NaN, and text for times and the like."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    return str(value)


@contextmanager
def _tar(dest: Store, name: str, sizes: dict[str, int]) -> Iterator[tarfile.TarFile]:
    """A new tar, compressed where its name says so, that is there when it is whole.

    Args:
        dest: where it goes.
        name: of it.
        sizes: take its size, if anything is in it.
    """
    staged = dest.stage(name)
    try:
        with staged.open("wb") as file:
            packed = name.lower().endswith("gz")
            # Without a time and a name in its head, which would be others in each export.
            plain = gzip.GzipFile("", "wb", 6, file, mtime=0) if packed else file
            with tarfile.open(fileobj=cast(IO[bytes], plain), mode="w") as tar:
                yield tar
                is_empty = tar.offset == 0
            if packed:
                plain.close()
        if not is_empty:
            sizes[name] = staged.stat().st_size
            dest.publish(staged, name)
    finally:
        staged.unlink(missing_ok=True)
