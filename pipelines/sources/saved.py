"""A folder written by ``save_to_disk`` of ``datasets``: Arrow streams, read memory-mapped."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.sources import columns, files
from pipelines.sources.base import (
    BATCH_ROWS,
    Reading,
    Samples,
    Shard,
    Source,
    Units,
    cut,
    label_column_of,
)
from pipelines.sources.schemas import plain_schema
from pipelines.sources.texts import Piece
from sanitizer.errors import InputError

_STATE = "state.json"
_SPLITS = "dataset_dict.json"
_INFO = "dataset_info.json"

#: Bytes of the first two, which may be anything in a stranger's folder.
_MAX_JSON = 64 << 20


def is_saved(location: str) -> bool:
    """Whether a local folder was written by ``save_to_disk``."""
    path = files.local_path(location)
    return path is not None and (_splits(Path(path)) or _data_files(Path(path))) is not None


def _splits(root: Path) -> list[str] | None:
    """The names of the splits; None where ``root`` is no saved ``DatasetDict``."""
    splits = _json(root / _SPLITS).get("splits")
    fits = isinstance(splits, list) and all(isinstance(name, str) for name in splits)
    return splits if fits else None


def _data_files(folder: Path) -> list[str] | None:
    """The names of the Arrow files; None where ``folder`` is no saved ``Dataset``."""
    listed = _json(folder / _STATE).get("_data_files")
    if not isinstance(listed, list):
        return None
    try:
        return [str(file["filename"]) for file in listed]
    except (KeyError, TypeError):
        return None


#: A unit is one Arrow file with rows.
_UNITS = pa.schema([*files.UNIT_FILE, ("rows", pa.int64())])


@dataclass(frozen=True)
class SavedReader:
    """Reads Arrow stream files."""

    root: str  #: absolute folder
    units: Units  #: an Arrow file each, with its ``rows``
    schema: pa.Schema = field(repr=False)  #: of the batches

    def read(self, shard: Shard, batch_rows: int = BATCH_ROWS) -> Iterator[Samples]:
        """Batches of at most ``batch_rows`` rows and about ``BATCH_BYTES``.

        An image that the set only points at by its path has no bytes: a path out of a
        stranger's file is not followed.

        Raises:
            InputError: the file is gone, has changed or is corrupt.
        """
        return columns.joined(self._pieces(shard, batch_rows), batch_rows)

    def labels(self, shard: Shard, column: str) -> Iterator[pa.Array]:
        """As :meth:`read`: the files are mapped into memory, so the images cost nothing."""
        return label_column_of(self, shard, column)

    def _pieces(self, shard: Shard, batch_rows: int) -> Iterator[Samples]:
        start, left = shard.skip, shard.rows or 0
        for unit in self.units[shard.first : shard.last]:
            name, stamp = files.file_of(unit)
            rows = min(left, unit["rows"] - start)
            yield from self._file(name, stamp, start, start + rows, batch_rows)
            start, left = 0, left - rows

    def _file(
        self, name: str, stamp: files.Stamp, start: int, stop: int, batch_rows: int
    ) -> Iterator[Samples]:
        position = 0
        for batch in _stream(self.root, name, stamp):
            first, last = max(start, position), min(stop, position + batch.num_rows)
            rows = min(batch_rows, files.affordable_rows(batch.nbytes, batch.num_rows))
            if batch.schema.types != self.schema.types[: batch.num_columns]:  # views, say
                rows = min(rows, files.copied_rows(batch.nbytes))
            for row in range(first, last, rows):
                piece = batch.slice(row - position, min(rows, last - row))
                piece = columns.with_ids(piece, self.schema, name, row)
                yield Samples(piece, [name] * piece.num_rows)
            position += batch.num_rows
            if position >= stop:
                return


def resolve(location: str, follow_links: bool, reading: Reading) -> Source:
    """A saved ``Dataset`` or ``DatasetDict`` as a source.

    Args:
        location: the folder.
        follow_links: also where they lead out of it.
        reading: what the user chose; columns are found as in Parquet files, but for bytes
            that only start like an image.

    Raises:
        InputError: a split must be chosen or does not exist; no rows; files that are
            missing, not whole or links out of the folder; no image column, or no such column;
            ids or texts that :func:`columns.check_texts` refuses.
    """
    root = Path(files.local_path(location) or location)
    chosen = files.choose_split(location, _splits(root) or [None], reading.split)
    if chosen is not None and Path(chosen).name != chosen:
        raise InputError(f"{location}: the split {chosen!r} is not in a folder of that name")
    folder = f"{chosen}/" if chosen else ""
    listed = _data_files(root / folder)
    if listed is None:
        raise InputError(f"{location}: {folder}{_STATE} is missing or does not list any files")
    for name in listed:
        # The list comes with the set, and must not lead out of it.
        if not name or Path(name).name != name:
            raise InputError(
                f"{location}: {folder}{_STATE} lists {name!r}; expected names of files beside it, "
                "such as data-00000-of-00001.arrow"
            )
    names = [folder + name for name in listed]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(f"{location}: {folder}{_STATE} lists {twice[0]} more than once")
    out = [name for name in names if not follow_links and files.leads_out(str(root), name)]
    if out:
        raise InputError(
            f"{location}: {files.some(out)} leads out of INPUT by a link, which is not followed; "
            "give --follow-links to follow it"
        )
    rows = {name: sum(b.num_rows for b in _stream(str(root), name)) for name in names}
    if not any(rows.values()):
        raise InputError(f"{location}: holds no rows")
    stored = _common_schema(str(root), names)
    schema, image, label = columns.roles(location, stored, reading)
    stamps = {name: files.stamp(str(root), name) for name in names}
    pieces = partial(_pieces_of, str(root), stamps)
    columns.check_texts(stored, label, pieces)
    units = [
        files.unit_of(name, stamps[name]) | {"rows": count} for name, count in rows.items() if count
    ]
    return Source(
        location=location,
        kind="saved dataset",
        reader=SavedReader(str(root), Units.of(units, _UNITS), schema),
        image_column=image,
        label_column=label,
        class_names=columns.class_names(stored, label),
        shards=tuple(cut([count for count in rows.values() if count], reading.shard_rows)),
        rows=sum(rows.values()),
        root=str(root),
        nbytes=files.total_size(stamps.values()),
        notes=(*_left_out(root / folder, listed), *columns.notes(stored, schema, label, pieces)),
    )


def _left_out(folder: Path, listed: Sequence[str]) -> tuple[str, ...]:
    """Names what lies in the folder of a saved ``Dataset`` and is no part of it."""
    others = sorted({path.name for path in folder.iterdir()} - {*listed, _STATE, _INFO})
    if not others:
        return ()
    return (
        f"left out {files.plural(len(others), 'other file')} that {_STATE} does not list: "
        f"{files.some(others)}",
    )


def _json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no such thing."""
    try:
        with files.open_file(str(path.parent), path.name) as file:
            value = json.loads(file.read(_MAX_JSON))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _common_schema(root: str, names: Sequence[str]) -> pa.Schema:
    """The schema of all files.

    Raises:
        InputError: one of them has another, or is not an Arrow stream.
    """
    first = _schema(root, names[0])
    for name in names[1:]:
        if not _schema(root, name).equals(first):
            raise InputError(
                f"{name}: has other columns than {names[0]}; a saved dataset has the same in all"
            )
    return first


def _schema(root: str, name: str) -> pa.Schema:
    try:
        with pa.memory_map(f"{root}/{name}") as file, pa.ipc.open_stream(file) as reader:
            return plain_schema(name, reader.schema)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise files.unreadable(name, "an Arrow stream", error) from error


def _pieces_of(root: str, stamps: Mapping[str, files.Stamp], column: str) -> Iterator[Piece]:
    """A column of all files."""
    for name, stamp in stamps.items():
        for batch in _stream(root, name, stamp):
            yield Piece(name, batch.column(column))


def _stream(root: str, name: str, stamp: files.Stamp = files.UNKNOWN) -> Iterator[pa.RecordBatch]:
    """The record batches as they lie in the file; nothing is read before it is looked at."""
    try:
        files.check(root, name, stamp)
        with pa.memory_map(f"{root}/{name}") as file, pa.ipc.open_stream(file) as reader:
            yield from reader
    except (OSError, ValueError, pa.ArrowException) as error:
        raise files.unreadable(name, "an Arrow stream", error) from error
