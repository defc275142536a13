"""A folder written by ``save_to_disk`` of ``datasets``: Arrow streams, read memory-mapped."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.sources import columns, files
from pipelines.sources.base import BATCH_ROWS, Source
from sanitizer.errors import InputError

_STATE = "state.json"
_SPLITS = "dataset_dict.json"


def is_saved(location: str) -> bool:
    """Whether a local folder was written by ``save_to_disk``."""
    path = files.local_path(location)
    return path is not None and (_splits(Path(path)) or _data_files(Path(path))) is not None


def _splits(root: Path) -> list[str] | None:
    """The names of the splits; None where ``root`` is no saved ``DatasetDict``."""
    found = _json(root / _SPLITS).get("splits")
    fits = isinstance(found, list) and all(isinstance(name, str) for name in found)
    return found if fits else None


def _data_files(folder: Path) -> list[str] | None:
    """The names of the Arrow files; None where ``folder`` is no saved ``Dataset``."""
    found = _json(folder / _STATE).get("_data_files")
    if not isinstance(found, list):
        return None
    try:
        # Base names only: the list comes with the set, and must not lead out of it.
        return [Path(file["filename"]).name for file in found]
    except (KeyError, TypeError):
        return None


@dataclass(frozen=True)
class SavedShard:
    """Some consecutive rows of one Arrow stream file."""

    root: str  #: absolute folder
    name: str  #: of the file, relative to ``root``
    stamp: files.Stamp  #: of the file, when it was resolved
    start: int  #: index of its first row in the file
    stop: int  #: index behind its last row
    label: str | None  #: the label column
    schema: pa.Schema = field(repr=False)  #: of the batches

    @property
    def source(self) -> str:
        return self.name

    def read(self, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Batches of at most ``batch_rows`` rows and about ``BATCH_BYTES``.

        An image that the set only points at by its path has no bytes: a path out of a
        stranger's file is not followed.

        Raises:
            InputError: the file is gone, has changed or is corrupt.
        """
        position = 0
        for batch in _stream(self.root, self.name, self.stamp):
            first, last = max(self.start, position), min(self.stop, position + batch.num_rows)
            rows = min(batch_rows, files.affordable_rows(batch.nbytes, batch.num_rows))
            for row in range(first, last, rows):
                part = batch.slice(row - position, min(rows, last - row))
                yield columns.with_ids(part, self.schema, self.label, self.name, row)
            position += batch.num_rows
            if position >= self.stop:
                return


def resolve(
    location: str,
    *,
    split: str | None,
    image_column: str | None,
    label_column: str | None,
    shard_rows: int,
) -> Source:
    """A saved ``Dataset`` or ``DatasetDict`` as a source.

    Raises:
        InputError: a split must be chosen or does not exist; no rows; files that are
            missing or not whole; no image column, or no such column.
    """
    root = Path(files.local_path(location) or location)
    chosen = files.choose_split(location, _splits(root) or [None], split)
    if chosen is not None and Path(chosen).name != chosen:
        raise InputError(f"{location}: the split {chosen!r} is not in a folder of that name")
    folder = f"{chosen}/" if chosen else ""
    listed = _data_files(root / folder)
    if listed is None:
        raise InputError(f"{location}: {folder}{_STATE} is missing or does not list any files")
    names = [folder + name for name in listed]
    rows = {name: sum(b.num_rows for b in _stream(str(root), name)) for name in names}
    if not any(rows.values()):
        raise InputError(f"{location}: holds no rows")
    schema, image, label = columns.roles(
        location, _schema(str(root), names[0]), image_column, label_column
    )
    stamps = {name: files.stamp(str(root), name) for name in names}
    return Source(
        location=location,
        kind="saved dataset",
        schema=schema,
        image_column=image,
        label_column=label,
        class_names=columns.class_names(schema, label),
        shards=tuple(
            SavedShard(
                str(root),
                name,
                stamps[name],
                start,
                min(start + shard_rows, count),
                label,
                schema,
            )
            for name, count in rows.items()
            for start in range(0, count, shard_rows)
        ),
        rows=sum(rows.values()),
        root=str(root),
        nbytes=files.total_size(stamps.values()),
    )


def _json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no such thing."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _schema(root: str, name: str) -> pa.Schema:
    try:
        with pa.memory_map(f"{root}/{name}") as file, pa.ipc.open_stream(file) as reader:
            return columns.plain_schema(reader.schema)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise files.unreadable(name, "an Arrow stream", error) from error


def _stream(root: str, name: str, stamp: files.Stamp = files.UNKNOWN) -> Iterator[pa.RecordBatch]:
    """The record batches as they lie in the file; nothing is read before it is looked at."""
    try:
        files.check(root, name, stamp)
        with pa.memory_map(f"{root}/{name}") as file, pa.ipc.open_stream(file) as reader:
            yield from reader
    except (OSError, ValueError, pa.ArrowException) as error:
        raise files.unreadable(name, "an Arrow stream", error) from error
