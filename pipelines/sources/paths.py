"""A table of paths beside a folder of images: CSV, TSV, JSON Lines, or Parquet without the images.

A path is relative to the folder that its table is in, and must stay there: the table is a
stranger's. What does not, or is missing, is a row without an image that says why.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources import annotations, columns, files, parquet, remote
from pipelines.sources.base import Reading, Source, Units, cut
from pipelines.sources.files import Listing, Stamp
from pipelines.sources.folder import ROW_UNITS, FolderReader
from pipelines.sources.remote import is_remote
from pipelines.sources.texts import Piece
from sanitizer.errors import InputError, quoted
from sanitizer.images import ImageError

#: Names of columns of paths, the more telling first.
NAMES = ("file_name", "filename", "filepath", "file_path", "image_path", "path", "file", "image")

#: The column of the images, if no other has this name.
_IMAGE = "image"


def holds_paths(listing: Listing, reading: Reading) -> bool:
    """Whether Parquet files hold paths of images in place of the images.

    Raises:
        InputError: a split must be chosen or does not exist; a file that is not whole.
    """
    names = files.names_of_split(listing.only(parquet.is_parquet, "")[0], reading.split)
    schema = parquet.schema_of(listing.root, names[0])
    with_bytes = [field for field in schema if _has_bytes(field.type)]
    if reading.image_column is not None:
        chosen = [field for field in schema if field.name == reading.image_column]
        if not chosen or not _has_bytes(chosen[0].type):
            return bool(chosen) and not with_bytes and _is_text(chosen[0].type)
        with_bytes = chosen
    if not with_bytes:
        return _path_column(schema) is not None
    (field, *others) = with_bytes
    is_struct = pa.types.is_struct(field.type) and "path" in {each.name for each in field.type}
    return not others and is_struct and parquet.holds_nothing(listing, names, f"{field.name}.bytes")


def resolve_parquet(listing: Listing, reading: Reading) -> Source:
    """Parquet files of paths as a source; see :func:`resolve`."""
    listing, notes = listing.only(parquet.is_parquet, "Parquet")
    names = files.names_of_split(listing, reading.split)
    return _source(listing, names, reading, notes)


def resolve(listing: Listing, reading: Reading) -> Source:
    """A table of paths as a source.

    The path becomes the image, in a column ``image``; all other columns stay. An id is the path
    below the folder of the listing; of a row whose path is not followed, or is that of a row
    before, it is ``<table>#<row>``.

    Args:
        listing: the table alone.
        reading: what the user chose; ``image_column`` is that of the paths, else one of ``NAMES``.

    Raises:
        InputError: the table cannot be read, has no rows, no column of paths, or none that the
            user named; or not one of its files is there.
    """
    if len(listing.names) > 1:
        raise InputError(f"{listing.location}: found {files.some(listing.names)}; name one of them")
    files.choose_split(listing.location, [None], reading.split)
    return _source(listing, listing.names, reading, ())


def _source(
    listing: Listing, names: Sequence[str], reading: Reading, notes: tuple[str, ...]
) -> Source:
    tables = [
        annotations.read(listing.root, name, files.stamp(listing.root, name), reading.label_column)
        for name in names
    ]
    rows = annotations.together(listing.location, tables)
    if not rows.num_rows:
        raise InputError(f"{listing.location}: holds no rows")
    column = _chosen(listing.location, rows.schema, reading.image_column)
    index = rows.schema.get_field_index(column)
    texts = rows.column(index)
    if pa.types.is_struct(texts.type):
        texts = pc.struct_field(texts, "path")
    given = annotations.texts_of(listing.location, column, texts)
    others = rows.drop_columns([column])
    image = _IMAGE if _IMAGE not in others.schema.names else column
    stored = others.schema
    known = {name: one for name, one in columns.features(stored).items() if name in stored.names}
    whole = columns.with_features(
        pa.schema([pa.field(image, columns.IMAGE_TYPE), *stored]),
        known | {image: {"_type": "Image"}},
    )
    schema, image, label = columns.roles(
        listing.location, whole, replace(reading, image_column=image)
    )
    read = partial(_pieces, listing.location, others)
    columns.check_texts(stored, label, read)
    units = list(_units(listing, tables, given, columns.SAMPLE_ID in stored.names))
    missing = sum(unit["refusal"] is not None for unit in units)
    if missing == len(units):
        first = units[0]["refusal"]
        raise InputError(
            f"{listing.location}: none of its {missing:,} paths in {column} leads to a file, the "
            f"first as {first['kind']}: {first['detail']}; paths are relative to the table"
        )
    if missing:
        notes += (
            f"{files.plural(missing, 'path')} that {'lead' if missing > 1 else 'leads'} to "
            "no file in the folder: rejected",
        )
    return Source(
        location=listing.location,
        kind="paths",
        reader=FolderReader(
            listing.root,
            Units.of(units, ROW_UNITS).beside(others),
            listing.follow_links,
            schema,
            image=image,
            beside=tuple(stored.names),
            file=files.text(names[0]) if len(names) == 1 else ".",
        ),
        image_column=image,
        label_column=label,
        class_names=columns.class_names(schema, label),
        shards=tuple(cut([1] * len(units), reading.shard_rows)),
        rows=len(units),
        root=listing.local,
        nbytes=sum(unit["size"] or 0 for unit in units),
        notes=(
            *notes,
            *columns.notes(stored, schema, label, read),
            *annotations.unlabelled(others, label),
        ),
    )


def _pieces(file: str, rows: pa.Table, column: str) -> Iterator[Piece]:
    for chunk in rows.column(column).chunks:
        yield Piece(file, chunk)


def _chosen(location: str, schema: pa.Schema, wanted: str | None) -> str:
    """The column of paths."""
    if wanted is not None:
        if wanted not in schema.names:
            known = ", ".join(schema.names)
            raise InputError(f"{location}: no column {wanted!r}; the columns are {known:.500}")
        kind = schema.field(wanted).type
        if not (_is_text(kind) or _has_bytes(kind)):
            raise InputError(f"{location}: the column {wanted} is {kind}, expected paths as text")
        return wanted
    found = next((field.name for field in schema if _has_bytes(field.type)), _path_column(schema))
    if found is None:
        raise InputError(
            f"{location}: found no column of paths among {', '.join(schema.names):.500}; expected "
            f"one of {', '.join(NAMES)}, or name it with --image-column"
        )
    return found


def _path_column(schema: pa.Schema) -> str | None:
    texts = {field.name for field in schema if _is_text(field.type)}
    return next((name for name in NAMES if name in texts), None)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _has_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and columns.is_bytes(field.type) for field in kind)
    return columns.is_bytes(kind)


def _units(
    listing: Listing,
    tables: Iterable[annotations.Table],
    given: Sequence[str | None],
    has_ids: bool,
) -> Iterator[dict[str, Any]]:
    """A unit for each row, in order."""
    paths = iter(given)
    taken: set[str] = set()
    look = _Look.at(listing, given)
    for table in tables:
        folder, shown = table.file.rpartition("/")[0], files.text(table.file)
        for row in range(table.rows.num_rows):
            path, refusal, name, stamp = next(paths), None, table.file, files.UNKNOWN
            sample_id: str | None = f"{shown}#{row}"
            try:
                name = annotations.inside(f"{folder}/" if folder else "", path)
                if files.text(name) not in taken:
                    sample_id = None
                stamp = look.at_file(name)
            except ImageError as error:
                kind, _, detail = str(error).partition(": ")
                refusal = {"kind": kind, "detail": detail}
            while sample_id in taken:  # by a file of such a name
                sample_id += "#"
            taken.add(sample_id or files.text(name))
            unit = files.unit_of(name, stamp) | {"label": None, "refusal": refusal}
            yield unit | {columns.SAMPLE_ID: None if has_ids else sample_id}


class _Look:
    """Looks at the files of a folder that a table names; the others may be any number."""

    def __init__(self, listing: Listing, entries: Mapping[str, Stamp] | None):
        self._root, self._follow_links = listing.root, listing.follow_links
        self._entries = entries  #: of a store, by name
        self._real_root = os.path.realpath(listing.root)
        self._inside: dict[str, bool] = {}  #: by folder, whether it lies within the root

    @classmethod
    def at(cls, listing: Listing, given: Iterable[str | None]) -> "_Look":
        """Of a store what is there is asked once, and kept where the table may name it."""
        if not is_remote(listing.root):
            return cls(listing, None)
        ends = {path.rpartition("/")[2] for path in given if path}
        found = (e for e in remote.entries(listing.root) if e.name.rpartition("/")[2] in ends)
        return cls(listing, {e.name: Stamp(e.size, e.version) for e in found})

    def at_file(self, name: str) -> Stamp:
        """What a file is.

        Raises:
            ImageError: there is none, or it is none.
        """
        missing = ImageError("missing file", f"{quoted(name)} is not in the folder")
        if self._entries is not None:
            if name not in self._entries:
                raise missing
            return self._entries[name]
        path = f"{self._root}/{name}"
        try:
            status = os.stat(path)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError) as error:
            if os.path.lexists(path):
                return files.UNKNOWN  # a broken link, of which the reader tells
            raise missing from error
        except (OSError, ValueError):
            return files.UNKNOWN
        if not self._follow_links and self._leads_out(name):
            return files.OUTSIDE
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("no file", f"{quoted(name)} is a folder or a device, expected a file")
        return Stamp(status.st_size, str(status.st_mtime_ns))

    def _leads_out(self, name: str) -> bool:
        folder = name.rpartition("/")[0]
        if folder not in self._inside:
            self._inside[folder] = not files.leads_out(self._root, folder)
        if not self._inside[folder]:
            return True
        is_link = os.path.islink(f"{self._root}/{name}")  # noqa: PTH114
        return is_link and files.leads_out(self._root, name)
