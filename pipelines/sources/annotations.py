"""Tables that people write about images: CSV, TSV, JSON Lines or Parquet, a row an image.

They are typed as ``datasets`` types them, so that a copy of a set loads as the set does; that is
pandas for CSV and Arrow for JSON Lines. They are read whole, in the driver.
"""

import io
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources import files, parquet
from pipelines.sources.columns import LABEL_NAMES, with_features
from pipelines.sources.columns import features as features_of
from pipelines.sources.schemas import plain_schema
from pipelines.sources.texts import check_text
from sanitizer.errors import InputError, quoted, shortened
from sanitizer.images import ImageError

#: Extensions of tables of text, and what stands between their columns.
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_LINES = ".jsonl"

#: Bytes of a table, which is in memory whole, and its columns.
MAX_BYTES, MAX_COLUMNS = 256 << 20, 1_000

#: How deep the values of JSON Lines may be nested; Arrow goes down by recursion.
_MAX_DEPTH = 64


_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"')


class Table(NamedTuple):
    """What a file says of images."""

    file: str  #: its name in the listing
    rows: pa.Table


def is_table(name: str) -> bool:
    """Whether a file is such a table but Parquet, by its extension."""
    return files.suffix(name) in (*_SEPARATORS, _LINES)


def read(root: str, name: str, stamp: files.Stamp, label_column: str | None) -> Table:
    """A whole table in a file.

    Args:
        root: of the listing.
        name: of the file in it.
        stamp: when it was listed.
        label_column: that the user named.

    Raises:
        InputError: it cannot be read, is too large or is damaged.
    """
    try:
        with files.open_file(root, name, stamp) as file:
            return parsed(name, file, label_column)
    except OSError as error:
        raise files.unreadable(name, "a table", error) from error


def parsed(name: str, file: IO[bytes], label_column: str | None) -> Table:
    """A whole table.

    Labels that are whole numbers stay such where some are missing, of which pandas makes
    fractions.

    Args:
        name: of the table, whose extension tells its kind.
        file: its content.
        label_column: that the user named.

    Raises:
        InputError: it is too large or is damaged.
        OSError: it cannot be read.
    """
    shown = files.text(name)
    if parquet.is_parquet(name):
        whole = parquet.read_whole(name, file, MAX_BYTES)
        if whole is None:
            raise _too_large(shown)
        return Table(name, whole)
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _too_large(shown)
    separator = _SEPARATORS.get(files.suffix(name))
    rows = _json_lines(shown, data) if separator is None else _csv(shown, data, separator)
    if rows.num_columns > MAX_COLUMNS:
        raise InputError(f"{shown}: has {rows.num_columns:,} columns, at most {MAX_COLUMNS:,}")
    return Table(name, _with_whole_labels(rows, label_column))


def _too_large(shown: str) -> InputError:
    return InputError(
        f"{shown}: holds more than {MAX_BYTES >> 20} MiB, and is read whole; leave out columns "
        "that are not needed, or cut the set in parts"
    )


def _csv(shown: str, data: bytes, separator: str) -> pa.Table:
    import pandas  # half a second, and rarely needed

    head, _, _ = data.partition(b"\n")
    if head.count(separator.encode()) >= MAX_COLUMNS:
        raise InputError(f"{shown}: has more than {MAX_COLUMNS:,} columns")
    with _damage(shown):
        frame = pandas.read_csv(io.BytesIO(data), sep=separator, low_memory=False)
        if not isinstance(frame.index, pandas.RangeIndex):  # it took the first column for one
            raise ValueError("rows have more values than the first line has names")
        table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    if table.num_columns == 1 and (other := next(filter(head.decode().__contains__, ";\t"), None)):
        raise InputError(
            f"{shown}: its columns are separated by {other!r}, expected {separator!r}; save it so"
        )
    types = [pa.string() if pa.types.is_large_string(f.type) else f.type for f in table.schema]
    fields = [f.with_type(kind) for f, kind in zip(table.schema, types, strict=True)]
    return table.cast(pa.schema(fields))


def _json_lines(shown: str, data: bytes) -> pa.Table:
    from pyarrow import json

    if _is_deep(data):
        raise InputError(f"{shown}: is nested more than {_MAX_DEPTH} deep")
    # In one block: the type of a column follows from all of its rows.
    options = json.ReadOptions(use_threads=False, block_size=max(len(data), 1) + 1)
    with _damage(shown):
        table = json.read_json(io.BytesIO(data), read_options=options)
        table.validate(full=True)
    return table


def _is_deep(data: bytes) -> bool:
    """Whether brackets are open within each other so often, outside of text."""
    letters = np.frombuffer(_QUOTED.sub(b"", data), np.uint8)
    opened = (letters == ord("[")) | (letters == ord("{"))
    closed = (letters == ord("]")) | (letters == ord("}"))
    depth = np.cumsum(opened.astype(np.int8) - closed.astype(np.int8), dtype=np.int32)
    return bool(depth.max(initial=0) > _MAX_DEPTH)


@contextmanager
def _damage(shown: str) -> Iterator[None]:
    """One line for whatever is wrong with a table of text."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # pandas raises nearly anything on hostile bytes
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{shown}: cannot be read as a table ({shortened(reason)}); mend it, or take it away"
        ) from error


def _with_whole_labels(rows: pa.Table, label_column: str | None) -> pa.Table:
    wanted = LABEL_NAMES if label_column is None else (label_column,)
    for index, field in enumerate(rows.schema):
        if field.name in wanted and pa.types.is_floating(field.type):
            try:
                whole = rows.column(index).cast(pa.int64())
            except pa.ArrowInvalid:
                continue
            rows = rows.set_column(index, field.with_type(pa.int64()), whole)
    return rows


def together(where: str, tables: list[Table]) -> pa.Table:
    """The rows of all tables; one that has no such column has nulls there.

    Raises:
        InputError: a column is of types that do not go together.
    """
    rows = [table.rows for table in tables]
    known = {name: one for each in reversed(rows) for name, one in features_of(each.schema).items()}
    schemas = [plain_schema(files.text(table.file), table.rows.schema) for table in tables]
    try:
        whole = pa.concat_tables(
            [_under(each, schema) for each, schema in zip(rows, schemas, strict=True)],
            promote_options="permissive",
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        names = files.some([table.file for table in tables])
        raise InputError(f"{where}: the columns of {names} do not go together ({error})") from error
    plain = plain_schema(where, whole.schema)  # concatenating has its own names within a map
    schema = pa.schema([field.with_nullable(True) for field in plain])
    known = {name: one for name, one in known.items() if name in schema.names}
    return _under(whole, with_features(schema, known) if known else schema)


def _under(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows under a schema of like columns."""
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(rows.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def unlabelled(rows: pa.Table, label: str | None, without: int = 0) -> tuple[str, ...]:
    """A note on rows without a label, of which one may be a class called "None".

    Args:
        rows: of the tables.
        label: their column of labels, if they have one.
        without: rows that no table says anything of.
    """
    if label not in rows.schema.names:
        return ()
    missing = rows.column(label).null_count - without
    if not missing:
        return ()
    return (
        f"{files.plural(missing, 'row')} without a {label}; in text, NA, None, null and the like "
        "count as missing, as for load_dataset",
    )


def texts_of(shown: str, name: str, column: pa.ChunkedArray) -> list[str | None]:
    """A column of paths.

    Args:
        shown: the table, for the message.
        name: of the column, likewise.
        column: of text, as a dictionary or not.

    Raises:
        InputError: text that is not UTF-8.
    """
    check_text(shown, name, column)
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    texts: list[str | None] = column.to_pylist()
    return texts


def inside(folder: str, given: str | None) -> str:
    """The name of what a path leads to that stands in a table.

    Args:
        folder: of the table, relative to the listing, with a slash at the end or empty.
        given: the path, relative to that folder.

    Raises:
        ImageError: there is none, or it leads out of the folder. It is not followed.
    """
    if not given:
        raise ImageError("no image", "the row has no path")
    path = given.replace("\\", "/")
    if "://" in path or path.startswith("/") or path[1:3] == ":/":
        raise ImageError(
            "path out of the folder", f"{quoted(given)} is not relative to the table, not followed"
        )
    if ".." in path.split("/"):
        raise ImageError("path out of the folder", f"{quoted(given)} leads up and is not followed")
    name = posixpath.normpath(path)
    if name == "." or "\0" in name:
        raise ImageError("no image", f"{quoted(given)} names no file")
    return folder + name
