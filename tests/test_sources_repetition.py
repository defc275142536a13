"""How many rows of a Parquet file are read at a time: many of small ones, few that may be large."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import repetition
from pipelines.sources.files import BATCH_BYTES, MAX_COPIED_BYTES, MAX_COPIED_ROWS
from pipelines.sources.repetition import rows_at_a_time

MIB = 1 << 20

#: A row group of 64 MiB, of which no more than four rows would be read if all might be repeated.
LARGE = [bytes([i]) * (1 << 14) for i in range(16)] * 256


def rows_of(values: list[bytes], path: Path, **options: Any) -> int:
    table = pa.table({"image": pa.array(values, pa.binary())})
    pq.write_table(table, path, row_group_size=len(values), **options)
    with path.open("rb") as file:
        return rows_at_a_time(file, pq.ParquetFile(path).metadata.row_group(0), [0])


def test_rows_that_are_written_anew_are_as_large_as_they_look(tmp_path: Path) -> None:
    assert rows_of(LARGE, tmp_path / "a", use_dictionary=False) == MAX_COPIED_ROWS
    few = rows_of([bytes(MIB)] * 40, tmp_path / "b", use_dictionary=False, compression="zstd")
    assert 1 < few <= BATCH_BYTES // MIB


def test_a_large_group_with_a_small_dictionary_is_read_many_rows_at_a_time(tmp_path: Path) -> None:
    # Of which pyarrow puts 1,024 into a dictionary before it finds that it is too large.
    distinct = [i.to_bytes(4, "little") * (1 << 9) for i in range(1 << 15)]
    assert rows_of(distinct, tmp_path / "a") == MAX_COPIED_ROWS


def test_a_value_that_many_rows_name_counts_for_each_of_them(tmp_path: Path) -> None:
    options = {"dictionary_pagesize_limit": 64 * MIB}
    large = [bytes([i]) * (16 * MIB) for i in range(3)] * 30
    assert rows_of(large, tmp_path / "a", **options) <= MAX_COPIED_BYTES // (3 * 16 * MIB)


def test_what_may_name_earlier_values_in_other_ways_is_read_a_few_rows_at_a_time(
    tmp_path: Path,
) -> None:
    options = {"use_dictionary": False, "column_encoding": {"image": "DELTA_BYTE_ARRAY"}}
    distinct = [i.to_bytes(4, "little") * (1 << 14) for i in range(1024)]
    assert rows_of(distinct, tmp_path / "a", **options) <= MAX_COPIED_BYTES // (64 * MIB)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=400), min_size=1, max_size=60), st.sampled_from([None, "zstd"]))
def test_the_size_of_a_dictionary_is_that_of_its_values(
    tmp_path_factory: pytest.TempPathFactory, values: list[bytes], compression: str | None
) -> None:
    path = tmp_path_factory.mktemp("dictionary") / "set.parquet"
    table = pa.table({"image": pa.array(values, pa.binary())})
    pq.write_table(table, path, compression=compression or "none")
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    with path.open("rb") as file:
        size = repetition._dictionary_bytes(file, column)
    assert size == sum(4 + len(value) for value in set(values))


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=16))
def test_a_header_of_any_bytes_is_known_or_not(
    tmp_path_factory: pytest.TempPathFactory, header: bytes
) -> None:
    folder = tmp_path_factory.mktemp("header")
    path = folder / "set.parquet"
    pq.write_table(pa.table({"image": [b"a", b"b"]}), path)
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    (folder / "broken").write_bytes(bytes(column.dictionary_page_offset) + header)
    with (folder / "broken").open("rb") as file:
        size = repetition._dictionary_bytes(file, column)
    assert size is None or size >= 0
