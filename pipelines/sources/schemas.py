"""The schema of a file as freqsan goes on with it, and what of it is refused."""

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sanitizer.errors import InputError

#: Where the metadata of a schema keeps what ``datasets`` knows of it, as JSON.
METADATA_KEY = b"huggingface"

#: Bytes of that JSON at most, and how deep it may be nested; it is read again and again.
MAX_METADATA, MAX_DEPTH = 16 << 20, 100


def plain_schema(file: str, schema: pa.Schema) -> pa.Schema:
    """The schema with some types replaced by plain ones, to which the batches are cast.

    Extension types that Python code registers, such as those of ``datasets``, become what
    Arrow shows where they are not registered: that differs between processes, and the batches
    of all workers must have one schema. Arrow's own, such as UUID and JSON, are known
    everywhere and stay. A view of text or bytes, which Arrow can hardly compute with, becomes
    text or bytes, as Parquet stores it.

    Args:
        file: that has the schema, as text.
        schema: as it is in the file.

    Raises:
        InputError: a name that is not UTF-8, or Hugging Face metadata beyond all measure.
    """
    try:
        return _plain(schema)
    except UnicodeDecodeError as error:
        raise odd_name(file, error) from error
    except ValueError as error:
        raise InputError(f"{file}: {error}") from error


def odd_name(file: str, error: UnicodeDecodeError) -> InputError:
    """The one line for a file of which Arrow cannot tell the names of the columns."""
    return InputError(f"{file}: the name of a column is not UTF-8 ({error}); rename it")


def _plain(schema: pa.Schema) -> pa.Schema:
    _check_metadata((schema.metadata or {}).get(METADATA_KEY, b""))
    fields = [_plain_field(schema.field(i)) for i, _ in enumerate(schema.names)]
    return pa.schema(fields, metadata=schema.metadata)


def _check_metadata(stored: bytes) -> None:
    """Refuse what would take memory and stack again wherever it is read.

    Raises:
        ValueError: it is too large or nested too deeply.
    """
    if len(stored) > MAX_METADATA:
        size = f"{len(stored):,} bytes of Hugging Face metadata"
        raise ValueError(f"holds {size}, at most {MAX_METADATA:,} are read")
    too_deep = f"its Hugging Face metadata is nested more than {MAX_DEPTH} deep"
    try:
        level = [json.loads(stored)]
    except RecursionError as error:
        raise ValueError(too_deep) from error
    except ValueError:
        return  # not JSON: nobody reads it
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
    if level:
        raise ValueError(too_deep)


def _inside(value: Any) -> Iterable[Any]:
    """What a JSON value consists of."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _plain_field(field: pa.Field) -> pa.Field:
    kind, metadata = field.type, field.metadata
    if isinstance(kind, pa.ExtensionType):
        described = {
            b"ARROW:extension:name": kind.extension_name.encode(),
            b"ARROW:extension:metadata": kind.__arrow_ext_serialize__(),
        }
        kind, metadata = kind.storage_type, (metadata or {}) | described
    plain = _plain_type(kind)
    return field.with_type(kind if plain == kind else plain).with_metadata(metadata)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_string_view(kind):
        return pa.string()
    if types.is_binary_view(kind):
        return pa.binary()
    if types.is_struct(kind):
        return pa.struct([_plain_field(kind.field(i)) for i in range(kind.num_fields)])
    if types.is_map(kind):
        key, item = _plain_field(kind.key_field), _plain_field(kind.item_field)
        return pa.map_(key, item, kind.keys_sorted)
    if types.is_fixed_size_list(kind):
        return pa.list_(_plain_field(kind.value_field), kind.list_size)
    if types.is_large_list(kind):
        return pa.large_list(_plain_field(kind.value_field))
    if types.is_list(kind):
        return pa.list_(_plain_field(kind.value_field))
    return kind


def check_types(schema: pa.Schema) -> None:
    """See that every column can be written again.

    Raises:
        InputError: Parquet has no such type.
    """
    for field in schema:
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"the column {field.name} is {field.type}, which Parquet cannot hold; leave it "
                "out or store it as another type"
            ) from error
