"""What the columns of a set mean: which holds the images, which the labels, which the ids."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.base import Reading, Samples
from pipelines.sources.files import BATCH_BYTES, affordable_rows
from pipelines.sources.remote import Unreachable
from pipelines.sources.schemas import METADATA_KEY, check_types
from pipelines.sources.texts import Piece, check_ids, check_text, first_odd_text
from sanitizer.errors import InputError
from sanitizer.images import ImageError

SAMPLE_ID = "sample_id"

#: Where a poisoned set keeps the labels that it had before; not a label column itself.
ORIGINAL_LABEL = "original_label"

#: The storage of an image in a Hugging Face set.
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

_EXPECTED_IMAGES = "expected encoded images as binary, or as a struct with a binary field `bytes`"

#: Values that ``datasets`` knows, and nearly all sets have no others.
_VALUES = ("string", "int64", "int32", "uint8", "float64", "float32", "bool", "binary")

#: How deep Arrow passes nested types on from one library to another, as ``datasets`` has it do.
_MAX_NESTED = 62

#: Names of label columns, the more telling first.
LABEL_NAMES = ("label", "labels", "fine_label", "class", "class_id", "target", "cls")


def features(schema: pa.Schema) -> dict[str, Any]:
    """The Hugging Face features by column name, in their JSON form; empty where there are none."""
    info = _metadata(schema).get("info")
    stored = info.get("features") if isinstance(info, dict) else None
    return stored if isinstance(stored, dict) else {}


def _metadata(schema: pa.Schema) -> dict[str, Any]:
    try:
        stored = json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))
    except ValueError:
        return {}
    return stored if isinstance(stored, dict) else {}


def with_features(schema: pa.Schema, added: dict[str, Any]) -> pa.Schema:
    """``schema`` with these features added to the Hugging Face metadata."""
    return _with_only(schema, features(schema) | added)


def _with_only(schema: pa.Schema, features: dict[str, Any]) -> pa.Schema:
    """``schema`` with these features and no others in the Hugging Face metadata."""
    metadata = _metadata(schema)
    info = metadata.get("info")
    metadata["info"] = (info if isinstance(info, dict) else {}) | {"features": features}
    return schema.with_metadata(
        (schema.metadata or {}) | {METADATA_KEY: json.dumps(metadata).encode()}
    )


def roles(
    where: str,
    schema: pa.Schema,
    reading: Reading,
    guess: Callable[[list[str]], list[str]] = lambda names: [],
) -> tuple[pa.Schema, str, str | None]:
    """What the columns of an input are for.

    Args:
        where: the input, for messages.
        schema: of the input.
        reading: what the user chose.
        guess: picks those columns of plain bytes that hold images, where the schema does
            not tell which.

    Returns:
        The schema of the batches, the image column, and the label column if there is one.

    Raises:
        InputError: no such column, none or several that may hold images, two columns of one
            name, labels in the image column, a ``sample_id`` that is not text, or a column that
            Parquet cannot hold.
    """
    try:
        twice = [name for name, count in Counter(schema.names).items() if count > 1]
        if twice:
            raise InputError(f"several columns are called {twice[0]!r}; rename them")
        check_types(schema)
        image = _find_image_column(schema, reading.image_column, guess)
        label = _find_label_column(schema, reading.label_column, image)
        return output_schema(schema, image), image, label
    except Unreachable:  # which names the file itself
        raise
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


class Row(NamedTuple):
    """One row of an input that is read row by row."""

    values: dict[str, Any]  #: by column
    file: str  #: file, tar or folder that it comes from
    weight: int  #: encoded bytes
    error: ImageError | None = None  #: why the image was not read


def batches(rows: Iterable[Row], schema: pa.Schema, batch_rows: int) -> Iterator[Samples]:
    """Rows in batches of at most ``batch_rows`` rows, closed earlier at ``BATCH_BYTES``."""
    waiting: list[Row] = []
    weight = 0

    def batch() -> Samples:
        values = [row.values for row in waiting]
        return Samples(
            pa.RecordBatch.from_pylist(values, schema=schema),
            [row.file for row in waiting],
            {i: row.error for i, row in enumerate(waiting) if row.error is not None},
        )

    for row in rows:
        waiting.append(row)
        weight += row.weight
        if len(waiting) == batch_rows or weight >= BATCH_BYTES:
            yield batch()
            waiting, weight = [], 0
    if waiting:
        yield batch()


def batches_beside(
    rows: Iterable[Row],
    values: Callable[[], pa.StructArray],
    names: Collection[str],
    schema: pa.Schema,
    batch_rows: int,
) -> Iterator[Samples]:
    """:func:`batches` of rows that have some columns beside them.

    Args:
        rows: without those columns.
        values: gives them, of all of the rows.
        names: of them; where there are none, ``values`` is not asked.
        schema: of the result.
        batch_rows: at most.
    """
    if not names:
        yield from batches(rows, schema, batch_rows)
        return
    own = pa.schema(field for field in schema if field.name not in names)
    others, start = values(), 0
    for piece in batches(rows, own, batch_rows):
        part = others.slice(start, len(piece))
        start += len(piece)
        given = dict(zip(part.type.names, part.flatten(), strict=True))
        given |= zip(piece.batch.schema.names, piece.batch.columns, strict=True)
        batch = pa.RecordBatch.from_arrays([given[name] for name in schema.names], schema=schema)
        yield replace(piece, batch=batch)


def joined(pieces: Iterable[Samples], batch_rows: int) -> Iterator[Samples]:
    """Batches put together or cut, up to ``batch_rows`` rows and ``BATCH_BYTES``.

    Without this a shard of many tiny files would be that many batches.

    Args:
        pieces: of which all images could be read; at most ``batch_rows`` rows each.
    """
    waiting: list[Samples] = []
    rows, weight = 0, 0

    def batch() -> Samples:
        if len(waiting) == 1:
            return waiting[0]
        table = pa.Table.from_batches([piece.batch for piece in waiting]).combine_chunks()
        return Samples(table.to_batches()[0], [file for piece in waiting for file in piece.files])

    for piece in (part for whole in pieces for part in _cut(whole)):
        full = rows + len(piece) > batch_rows or weight + piece.batch.nbytes > BATCH_BYTES
        if waiting and full:
            yield batch()
            waiting, rows, weight = [], 0, 0
        waiting.append(piece)
        rows += len(piece)
        weight += piece.batch.nbytes
    if waiting:
        yield batch()


def _cut(piece: Samples) -> Iterator[Samples]:
    """Parts of about ``BATCH_BYTES``, at least a row each."""
    rows = affordable_rows(piece.batch.nbytes, len(piece))
    for start in range(0, len(piece), rows):
        yield Samples(piece.batch.slice(start, rows), piece.files[start : start + rows])


def sample_ids(batch: pa.RecordBatch) -> list[str]:
    """The ``sample_id`` of each row."""
    return list(batch.column(SAMPLE_ID).to_pylist())


def encoded_images(batch: pa.RecordBatch, image_column: str) -> list[bytes | None]:
    """The encoded bytes of each row, None where the row holds none."""
    images = batch.column(image_column)
    if pa.types.is_struct(images.type):
        images = pc.struct_field(images, "bytes")
    return list(images.to_pylist())


def output_schema(schema: pa.Schema, image_column: str) -> pa.Schema:
    """The input's schema with ``sample_id`` last, and features for every column.

    Those of the input stay, but for some that ``datasets`` refuses, and with them the whole set.

    Raises:
        InputError: the input has a ``sample_id`` that is not text.
    """
    stored = features(schema)
    known = {name: feature for name, feature in stored.items() if _is_loadable(feature)}
    if len(known) < len(stored):
        schema = _with_only(schema, known)
    unknown = [f for f in schema if f.name not in known and f.name != image_column]
    added = _generated_features(unknown)
    if image_column not in known:
        added[image_column] = {"_type": "Image"}
    if SAMPLE_ID not in schema.names:
        schema = schema.append(pa.field(SAMPLE_ID, pa.string()))
        added[SAMPLE_ID] = {"dtype": "string", "_type": "Value"}
    elif not _is_text(schema.field(SAMPLE_ID).type):
        kind = schema.field(SAMPLE_ID).type
        raise InputError(f"the column {SAMPLE_ID} is {kind}, expected string; rename it")
    return with_features(schema, {f.name: added[f.name] for f in schema if f.name in added})


def _is_loadable(feature: Any) -> bool:
    """Whether ``datasets`` can make something of a feature in its JSON form."""
    match feature:
        case {"_type": "Image", **others} if not others:
            return True
        case {"_type": "Value", "dtype": str(dtype), **others} if not others and dtype in _VALUES:
            return True
        case {"_type": "ClassLabel", "names": list(names), **others} if not others:
            return len(set(map(str, names))) == len(names)
    if "names_file" in json.dumps(feature):  # which ``datasets`` would open, wherever it leads
        return False
    from datasets import Features  # half a second, and rarely needed

    try:
        return bool(Features.from_dict({"one": feature}).type)
    except Exception:  # noqa: BLE001  (whatever a stranger's feature leads it to)
        return False


def _generated_features(fields: list[pa.Field]) -> dict[str, Any]:
    """Features for plain Arrow fields; none for a type that ``datasets`` has no feature for."""
    if not fields:
        return {}
    from datasets import Features  # half a second, and rarely needed

    generated: dict[str, Any] = {}
    for field in fields:
        try:
            one = Features.from_arrow_schema(pa.schema([field.remove_metadata()]))
        except (ValueError, TypeError, NotImplementedError):
            continue
        generated |= one.to_dict()
    return generated


def notes(
    stored: pa.Schema,
    schema: pa.Schema,
    label: str | None,
    read: Callable[[str], Iterator[Piece]],
) -> tuple[str, ...]:
    """What the user should be told of the columns.

    Reads all text: a million rows with 100 letters each take half a second.

    Args:
        stored: of the input.
        schema: what :func:`output_schema` makes of it.
        label: the column of labels; None where there is none.
        read: as for :func:`check_texts`.

    Raises:
        InputError: a column of text is damaged.
    """
    before, known = features(stored), features(schema)
    strange = [f"{field.name} ({field.type})" for field in schema if field.name not in known]
    deep = [field.name for field in schema if _nested(field.type) > _MAX_NESTED]
    refused = [name for name, one in before.items() if known.get(name) != one]
    texts = [field.name for field in stored if _holds_text(field.type)]
    places = {name: first_odd_text(name, read(name)) for name in texts}
    odd = [f"{name} (first in {place})" for name, place in places.items() if place]
    unnamed = [
        f"{field.name} ({value} in {file})"
        for field in stored
        for file, value in _without_name(field, class_names(schema, field.name), read)
    ]
    told = []
    unused = [f for f in stored if f.name in LABEL_NAMES and not _is_label(f.type)]
    if label is None and unused:
        names = _some([f"{field.name} ({field.type})" for field in unused])
        told.append(
            f"no labels are read from {names}, as labels are whole numbers, text or true and "
            f"false; if it holds classes, give --label-column {unused[0].name}"
        )
    if strange:
        told.append(
            f"load_dataset has no type for {_some(strange)}: it reads neither INPUT nor a copy of "
            "it; other readers of Parquet do"
        )
    if deep:
        told.append(
            f"load_dataset cannot read columns nested more than {_MAX_NESTED} deep, such as "
            f"{_some(deep)}: it reads neither INPUT nor a copy of it; other readers of Parquet do"
        )
    if refused:
        told.append(
            f"datasets refuses INPUT for its features of {_some(refused)}, such as class names "
            "that occur twice; the metadata of the output has plain ones instead, the values stay"
        )
    if odd:
        told.append(
            f"not all text is UTF-8 in {_some(odd)}: it is passed on as it is, and load_dataset "
            "fails at such rows, of INPUT as of the output"
        )
    if unnamed:
        told.append(
            f"there is no class name for all labels in {_some(unnamed)}: they are passed on as "
            "they are, and load_dataset may refuse them, of INPUT as of the output"
        )
    return tuple(told)


def _without_name(
    field: pa.Field, names: tuple[str, ...] | None, read: Callable[[str], Iterator[Piece]]
) -> Iterator[tuple[str, int]]:
    """A label without a class name, and its file; nothing where all have one.

    A row without a label may have -1, as ``datasets`` has it.
    """
    if names is None or not pa.types.is_integer(field.type):
        return
    for file, column in read(field.name):
        ends = pc.min_max(column)
        for value in (ends["min"].as_py(), ends["max"].as_py()):
            if value is not None and not -1 <= value < len(names):
                yield file, value
                return


def _some(names: list[str]) -> str:
    return ", ".join(names)[:500]


def _find_image_column(
    schema: pa.Schema, wanted: str | None, guess: Callable[[list[str]], list[str]]
) -> str:
    """The column of encoded images.

    Those that the features call images go before structs with a ``bytes`` field, and these
    before what ``guess`` picks among the columns of plain bytes.

    Raises:
        InputError: no such column, a column of another type, none or several that fit.
    """
    if wanted is not None:
        kind = _field(schema, wanted).type
        if not (is_bytes(kind) or _has_bytes(kind)):
            raise InputError(f"the column {wanted} is {kind}, {_EXPECTED_IMAGES}")
        return wanted
    known = features(schema)
    plain = [f.name for f in schema if is_bytes(f.type)]
    structs = [f.name for f in schema if _has_bytes(f.type)]
    images = [n for n in plain + structs if _feature_type(known, n) == "Image"]
    candidates = images or structs or guess(plain)
    if not (plain or structs):
        types = ", ".join(f"{f.name} is {f.type}" for f in schema)
        raise InputError(f"found no image column ({types:.500}), {_EXPECTED_IMAGES}")
    if len(candidates) != 1:
        problem = (
            f"several image columns ({', '.join(candidates)})" if candidates else "no image column"
        )
        raise InputError(f"found {problem}; choose --image-column among {', '.join(schema.names)}")
    return candidates[0]


def _find_label_column(schema: pa.Schema, wanted: str | None, image: str) -> str | None:
    """The column of labels, which is not that of the images; None where nothing looks like one.

    A column of class labels by the features goes before one that is merely called ``label``;
    among several, the order of ``LABEL_NAMES`` decides.

    Raises:
        InputError: there is no column ``wanted``, it is ``image``, or its values cannot be
            counted.
    """
    if wanted is not None:
        if wanted == image:
            raise InputError(
                f"the column {wanted} holds the images, so it cannot hold the labels; choose "
                "another --label-column or leave it out"
            )
        kind = _field(schema, wanted).type
        if isinstance(kind, pa.BaseExtensionType):
            raise InputError(f"the column {wanted} is {kind}, expected labels, numbers or text")
        return wanted
    known = features(schema)
    fields = [f for f in schema if not isinstance(f.type, pa.BaseExtensionType)]
    names = [f.name for f in fields if f.name not in (ORIGINAL_LABEL, image)]
    classes = [n for n in names if _feature_type(known, n) == "ClassLabel"]
    if len(classes) == 1:
        return classes[0]
    plain = [f.name for f in schema if _is_label(f.type)]
    return next((n for n in LABEL_NAMES if n in (classes or plain)), None)


def tells_labels(schema: pa.Schema, wanted: str | None) -> bool:
    """Whether columns that come with a set hold its labels: those ``wanted``, or any usual ones.

    Args:
        schema: of those columns.
        wanted: the column that the user named.
    """
    if wanted is not None:
        return wanted in schema.names
    return _find_label_column(schema, None, "") is not None


def _is_label(kind: pa.DataType) -> bool:
    """Whether a column of this type that is called ``label`` is taken for labels."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind) or _is_text(kind))


def check_texts(
    schema: pa.Schema, label_column: str | None, read: Callable[[str], Iterator[Piece]]
) -> None:
    """See, before the work begins, that the texts which it needs can be read.

    These are the input's own sample ids, its labels, and what dictionaries hold, as Parquet
    cannot read those otherwise. All other text goes through as it is, UTF-8 or not.

    Args:
        schema: of the input.
        label_column: of the input, None where it has none.
        read: reads all of a column from its start, in a fixed order.

    Raises:
        InputError: text that is not UTF-8; or an id that is null, empty or occurs twice.
    """
    if SAMPLE_ID in schema.names:
        check_ids(SAMPLE_ID, lambda: read(SAMPLE_ID))
    for field in schema:
        of_label = field.name == label_column and _is_text(field.type)
        if of_label or _has_text_dictionary(field.type):
            for file, column in read(field.name):
                check_text(file, field.name, column)


def _has_text_dictionary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind)
    return any(_has_text_dictionary(kind.field(i).type) for i in range(kind.num_fields))


def _holds_text(kind: pa.DataType) -> bool:
    """Whether there is text anywhere in a type, but in a dictionary, which is looked at before."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return True
    return any(_holds_text(kind.field(i).type) for i in range(kind.num_fields))


def _nested(kind: pa.DataType) -> int:
    """How many lists and structs lie within each other in a type."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return max((1 + _nested(kind.field(i).type) for i in range(kind.num_fields)), default=0)


def class_names(schema: pa.Schema, label_column: str | None) -> tuple[str, ...] | None:
    """The names of the classes by label, where the features tell."""
    feature = features(schema).get(label_column or "")
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else None


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a value of this type is plain bytes."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _has_bytes(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    index = kind.get_field_index("bytes")
    return index >= 0 and is_bytes(kind.field(index).type)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _feature_type(known: dict[str, Any], name: str) -> str | None:
    feature = known.get(name)
    return feature.get("_type") if isinstance(feature, dict) else None


def _field(schema: pa.Schema, name: str) -> pa.Field:
    if name not in schema.names:
        raise InputError(f"no column {name!r}; the columns are {', '.join(schema.names)}")
    return schema.field(name)


def with_ids(batch: pa.RecordBatch, schema: pa.Schema, file: str, first_row: int) -> pa.RecordBatch:
    """A batch of a file under ``schema``, with ids ``<file>#<row>`` unless it brings its own.

    Args:
        batch: of the input's own columns, which are the first of ``schema``.
        schema: of the result; the types are those of :func:`schemas.plain_schema`.
        file: that the batch comes from, as text.
        first_row: index of the batch's first row in the file.
    """
    columns = [
        column if column.type == kind else column.cast(kind)
        for column, kind in zip(batch.columns, schema.types, strict=False)
    ]
    if SAMPLE_ID not in batch.schema.names:
        rows = range(first_row, first_row + batch.num_rows)
        columns.append(pa.array([f"{file}#{row}" for row in rows], pa.string()))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
