"""How many rows of a Parquet file may be read at a time, where rows may repeat large values.

A file may hold a value once and name it in any number of rows, each of which gets a copy when it is
read: two megabytes can become gigabytes.
"""

from collections.abc import Iterable, Iterator
from typing import IO

import pyarrow.parquet as pq

from pipelines.sources import files

#: Of the header of a page: its bytes at most that are looked at, the byte before a field that is a
#: number of 32 bits and the next after the one before, and the kind of pages with dictionaries.
_HEADER_BYTES, _NEXT_FIELD_IS_A_NUMBER, _DICTIONARY_PAGE = 16, 0x15, 2

#: Encodings that write each value anew; others may name an earlier one.
_WITHOUT_REPETITION = frozenset(
    {
        *("PLAIN", "RLE", "BIT_PACKED", "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY"),
        "BYTE_STREAM_SPLIT",
    }
)


def rows_at_a_time(file: IO[bytes], group: pq.RowGroupMetaData, leaves: Iterable[int]) -> int:
    """Rows of a row group, of which some may be large, that are read at a time; at least 1."""
    read = [group.column(i) for i in leaves]
    size = sum(column.total_uncompressed_size for column in read)
    rows = min(files.MAX_COPIED_ROWS, files.affordable_rows(size, group.num_rows))
    named = [column for column in read if not _WITHOUT_REPETITION.issuperset(column.encodings)]
    # A small group cannot become large; of others the file is asked, which in a store is a request.
    if named and (few := files.copied_rows(size)) < rows:
        return min(rows, max(few, _rows_that_name(file, named)))
    return rows


def _rows_that_name(file: IO[bytes], columns: Iterable[pq.ColumnChunkMetaData]) -> int:
    """Rows whose dictionaries are known, which tend to be a small part of a large row group; or 1.

    Each row names one value at most.
    """
    sizes = [_dictionary_bytes(file, column) for column in columns]
    known = [size for size in sizes if size is not None]
    return files.copied_rows(sum(known)) if len(known) == len(sizes) else 1


def _dictionary_bytes(file: IO[bytes], column: pq.ColumnChunkMetaData) -> int | None:
    """Bytes of the values that rows of a column may name; None where that is not known.

    That is the size of the page with its dictionary, of which no library tells: the second field of
    its header, in Thrift's compact form (https://parquet.apache.org/docs/file-format/metadata/).
    """
    encodings = _WITHOUT_REPETITION | {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}
    if column.dictionary_page_offset is None or not encodings.issuperset(column.encodings):
        return None
    file.seek(column.dictionary_page_offset)
    header = iter(file.read(_HEADER_BYTES))
    try:
        kind, size = _number(header), _number(header)
    except StopIteration:
        return None
    return size if kind == _DICTIONARY_PAGE and size is not None and size >= 0 else None


def _number(header: Iterator[int]) -> int | None:
    """The number in the next field of a Thrift structure; None where something else comes.

    Raises:
        StopIteration: the bytes are at their end.
    """
    if next(header) != _NEXT_FIELD_IS_A_NUMBER:
        return None
    number, bits = 0, 0
    while (byte := next(header)) & 0x80:
        number |= (byte & 0x7F) << bits
        bits += 7
    number |= byte << bits
    return number >> 1 ^ -(number & 1)
