"""Tables beside the images of a folder, as ``load_dataset('imagefolder')`` reads them.

A ``metadata.csv``, ``.jsonl`` or ``.parquet`` says something of images in its folder and below, a
row each, by their ``file_name``.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from pipelines.sources import annotations, columns, files
from pipelines.sources.base import Reading
from pipelines.sources.columns import SAMPLE_ID
from pipelines.sources.files import Listing
from pipelines.sources.texts import Piece
from sanitizer.errors import InputError
from sanitizer.images import ImageError

NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")

_FILE_NAME = "file_name"

#: Columns that an image gets, and its table may not have.
_OWN = ("image", SAMPLE_ID)


def is_metadata(name: str) -> bool:
    """Whether a file is such a table, by its name."""
    return name.rpartition("/")[2] in NAMES


class Joined(NamedTuple):
    """Images with what is said of them, a row each."""

    names: Sequence[str]  #: of the image of each row, in the listing
    ids: Mapping[int, str]  #: by row, its id where that is not the name
    values: pa.Table | None  #: the columns of the tables, of each row; None without a table
    without: int  #: rows of which no table says anything, where there is one
    notes: tuple[str, ...]


#: Reads a table by its name in the listing.
Read = Callable[[str], annotations.Table]


def joined(listing: Listing, chosen: Sequence[str], read: Read) -> Joined:
    """Images with their rows of the tables in their folder and above it.

    Of two tables in folders within each other, the inner one is right. An image that a table has
    several rows for is there as often: as its name first, then as ``<table>#<row>``.

    Args:
        listing: all images, and the tables, of which none may lead out of the input.
        chosen: the images to read, sorted.
        read: reads one of the tables.

    Raises:
        InputError: a table cannot be read, has a column that an image gets, or one that does not
            go with those of another.
    """
    tables = [name for name in listing.names if is_metadata(name)]
    in_folder = Counter(map(_folder, tables))
    if twice := [name for name in tables if in_folder[_folder(name)] > 1]:
        names = [name for name in twice if _folder(name) == _folder(twice[0])]
        raise InputError(f"{listing.location}: found {files.some(names)}; keep one of them")
    used: list[annotations.Table] = []
    said = _Said(listing, chosen)
    for name in sorted(tables, key=lambda name: (-name.count("/"), name)):
        first = bisect_left(chosen, _folder(name))
        if first < len(chosen) and chosen[first].startswith(_folder(name)):
            table = read(name)
            if said.add(table):
                used.append(table._replace(rows=table.rows.drop_columns([_FILE_NAME])))
    if not used:
        return Joined(chosen, {}, None, 0, tuple(said.notes()))
    everything = annotations.together(listing.location, used)
    names, ids, indices = said.rows()
    values = everything.take(pa.array(indices, pa.int64()))
    return Joined(names, ids, values, indices.count(None), tuple(said.notes()))


def _folder(name: str) -> str:
    """The folder of a file, with a slash at the end; empty for the outermost."""
    return name[: name.rfind("/") + 1]


@dataclass(frozen=True)
class Columns:
    """The columns of a set of images, from its folders and tables."""

    schema: pa.Schema  #: of the batches
    image: str
    label: str | None
    class_names: tuple[str, ...] | None
    numbers: dict[str, int]  #: of the classes, where the folders give the labels; else empty
    beside: tuple[str, ...]  #: those of the tables
    notes: tuple[str, ...]


def columns_of(
    location: str, of_folders: Iterable[str | None], said: Joined, reading: Reading
) -> Columns:
    """The columns that a set of images has.

    Where a table tells the labels, the folders do not; nor where there is a table and one folder.

    Args:
        location: the input, for messages.
        of_folders: the class of each image by its folder, those of other splits included.
        said: what tables say of those that are read.
        reading: what the user chose.

    Raises:
        InputError: no such column, or one that Parquet cannot hold.
    """
    stored = pa.schema([]) if said.values is None else said.values.schema
    classes = sorted({name for name in of_folders if name is not None})
    told = columns.tells_labels(stored, reading.label_column)
    if said.values is not None and (told or len(classes) < 2 or "label" in stored.names):
        classes = []
    fields = [pa.field("image", columns.IMAGE_TYPE)]
    features: dict[str, object] = {"image": {"_type": "Image"}}
    if classes:
        fields.append(pa.field("label", pa.int64()))
        features["label"] = {"names": classes, "_type": "ClassLabel"}
    known = columns.features(stored)
    whole = columns.with_features(pa.schema([*fields, *stored]), features | known)
    schema, image, label = columns.roles(location, whole, reading)
    notes: tuple[str, ...] = ()
    if said.values is not None:
        read = partial(_pieces, said.values)
        columns.check_texts(stored, label if label in stored.names else None, read)
        notes = columns.notes(stored, schema, label, read)
        notes += annotations.unlabelled(said.values, label, said.without)
    return Columns(
        schema=schema,
        image=image,
        label=label,
        class_names=columns.class_names(schema, label),
        numbers={name: number for number, name in enumerate(classes)},
        beside=tuple(stored.names),
        notes=notes,
    )


def _pieces(values: pa.Table, column: str) -> Iterator[Piece]:
    for chunk in values.column(column).chunks:
        yield Piece("the tables", chunk)


class _Place(NamedTuple):
    """Where a row is."""

    file: str  #: the table
    row: int  #: in the table
    overall: int  #: in all tables together


class _Said:
    """What tables say of the images, table after table, the inner ones first."""

    def __init__(self, listing: Listing, chosen: Sequence[str]):
        self._listing = listing
        self._chosen = chosen
        self._images: set[str] | None = None  #: all of them; None before there is a table
        self._read: set[str] = set()  #: the chosen ones
        self._places: dict[str, list[_Place]] = defaultdict(list)  #: by image
        self._count = 0  #: of rows so far
        self._tables: list[str] = []
        self._missing: list[str] = []
        self._notes: list[str] = []

    def add(self, table: annotations.Table) -> bool:
        """Take in a table; False where it says nothing of images."""
        shown = files.text(table.file)
        names = table.rows.schema.names
        if _FILE_NAME not in names or not _is_text(table.rows.schema.field(_FILE_NAME).type):
            self._notes.append(
                f"{shown} is not read: it has no column {_FILE_NAME} of text to tell the images "
                f"by, only {files.some(names)}"
            )
            return False
        if taken := next((name for name in names if name in _OWN), None):
            raise InputError(f"{shown}: has a column {taken}, which each image gets; rename it")
        if self._images is None:
            self._images, self._read = set(self._listing.names), set(self._chosen)
        passed_over = 0
        column = table.rows.column(_FILE_NAME)
        for row, given in enumerate(annotations.texts_of(shown, _FILE_NAME, column)):
            try:
                image = annotations.inside(_folder(table.file), given)
            except ImageError:
                image = ""
            places = self._places.get(image)
            if places is not None and places[0].file != table.file:
                passed_over += 1
            elif image in self._read:
                self._places[image].append(_Place(table.file, row, self._count + row))
            elif image not in self._images:
                self._missing.append(f"{given}")
        self._count += table.rows.num_rows
        self._tables.append(table.file)
        if passed_over:
            self._notes.append(
                f"left out {files.plural(passed_over, 'row')} of {shown} on images that a table "
                "in an inner folder has rows for"
            )
        return True

    def rows(self) -> tuple[list[str], dict[int, str], list[int | None]]:
        """The image of each row, some ids, and where in all tables each is."""
        names: list[str] = []
        ids: dict[int, str] = {}
        indices: list[int | None] = []
        for image in self._chosen:
            for number, place in enumerate(self._places.get(image, ())):
                if number:
                    ids[len(names)] = f"{files.text(place.file)}#{place.row}"
                names.append(image)
                indices.append(place.overall)
            if image not in self._places:
                names.append(image)
                indices.append(None)
        return names, ids, indices

    def notes(self) -> Iterator[str]:
        """What the user should be told."""
        yield from self._notes
        if not self._tables:
            return
        tables = files.some(self._tables)
        without = [image for image in self._chosen if image not in self._places]
        again = sum(len(places) - 1 for places in self._places.values())
        if without:
            yield (
                f"{files.plural(len(without), 'image')} without a row in {tables}: "
                f"{files.some(without)}; read with nulls in its columns"
            )
        if self._missing:
            yield (
                f"left out {files.plural(len(self._missing), 'row')} of {tables} without an image: "
                f"{files.some(self._missing)}"
            )
        if again:
            yield f"{files.plural(again, 'row')} of {tables} on an image that has one already"


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
