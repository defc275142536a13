"""Parquet: columns, splits, shards within row groups, and the memory that reading takes."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Features, load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import files_of, rows_of

from pipelines.jobs.ingest import ingest
from pipelines.sources import open_source, parquet, texts
from pipelines.sources.columns import IMAGE_TYPE
from pipelines.sources.files import list_files
from sanitizer.errors import InputError


@pytest.fixture
def table(data_dir: Path) -> pa.Table:
    """Sixty rows of a real set, with its Hugging Face metadata."""
    return pq.read_table(data_dir / "caltech101_32.parquet").slice(0, 60)


def test_real_set_is_kept_with_its_features(data_dir: Path) -> None:
    path = data_dir / "caltech101_32.parquet"
    source = open_source(str(path))
    original = pq.read_table(path)
    rows = rows_of(source)
    assert (source.kind, source.rows, source.label_column) == ("parquet", 2000, "label")
    assert source.class_names is not None
    assert source.class_names[5] == "accordion"
    assert [r.pop("sample_id") for r in rows] == [f"{path.name}#{i}" for i in range(2000)]
    assert rows == original.to_pylist()
    before, after = (Features.from_arrow_schema(s) for s in (original.schema, source.schema))
    assert {k: v for k, v in after.items() if k != "sample_id"} == before


@settings(max_examples=40, deadline=None)
@given(
    files=st.lists(st.integers(0, 60), min_size=1, max_size=3).filter(any),
    group_rows=st.integers(1, 70),
    shard_rows=st.integers(1, 80),
    batch_rows=st.integers(1, 20),
)
def test_shards_cover_every_row_once(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[int],
    group_rows: int,
    shard_rows: int,
    batch_rows: int,
) -> None:
    root = tmp_path_factory.mktemp("rows")
    expected = []
    for k, rows in enumerate(files):
        images = [{"bytes": b"%d" % i, "path": None} for i in range(rows)]
        table = pa.table(
            {"image": pa.array(images, IMAGE_TYPE), "n": pa.array(range(rows), pa.int64())}
        )
        pq.write_table(table, root / f"{k}.parquet", row_group_size=group_rows)
        expected += [(f"{k}.parquet#{i}", i, b"%d" % i) for i in range(rows)]
    source = open_source(str(root), shard_rows=shard_rows)
    rows = rows_of(source, batch_rows, root.parent / "listing.arrow")
    assert [(r["sample_id"], r["n"], r["image"]["bytes"]) for r in rows] == expected
    assert files_of(source) == [sample_id.partition("#")[0] for sample_id, _, _ in expected]
    assert source.rows == len(expected)
    assert all(shard.rows for shard in source.shards)


def test_huge_row_group_is_cut_into_few_shards(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "one.parquet")
    assert len(open_source(str(tmp_path), shard_rows=1).shards) == parquet.MAX_CUTS
    assert len(open_source(str(tmp_path), shard_rows=25).shards) == 3


def test_columns_of_all_types_are_kept_in_order(real_images: list[bytes], tmp_path: Path) -> None:
    columns = {
        "when": pa.array([0, 1], pa.timestamp("us", "UTC")),
        "boxes": pa.array([[[1.0, 2.0]], []], pa.list_(pa.list_(pa.float32()))),
        "photo": pa.array([{"bytes": b, "path": "p"} for b in real_images[:2]], IMAGE_TYPE),
        "kind": pa.array(["a", "b"]).dictionary_encode(),
        "long": pa.array(["x", None], pa.large_string()),
        "price": pa.array([None, 1], pa.decimal128(9, 2)),
        "meta": pa.array([{"k": 1}, None], pa.struct([("k", pa.int8())])),
        "pairs": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int32())),
        "class": pa.array([3, 4], pa.int16()),
    }
    pq.write_table(pa.table(columns), tmp_path / "set.parquet")
    source = open_source(str(tmp_path / "set.parquet"))
    assert source.schema.names == [*columns, "sample_id"]
    assert (source.image_column, source.label_column) == ("photo", "class")
    batch = next(iter(source.reader.read(source.shards[0]))).batch
    for name, column in columns.items():
        assert batch.schema.field(name).type == column.type
        assert batch.column(name).to_pylist() == column.to_pylist()
    features = Features.from_arrow_schema(source.schema.remove(source.schema.names.index("pairs")))
    assert repr(features["photo"]).startswith("Image(")
    assert features["sample_id"].dtype == "string"


def test_output_is_read_back_by_datasets(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table.replace_schema_metadata(), tmp_path / "in.parquet")
    source = open_source(str(tmp_path / "in.parquet"))
    (samples,) = source.reader.read(source.shards[0])
    batch = samples.batch
    out = tmp_path / "out" / "in.parquet"
    out.parent.mkdir()
    pq.write_table(pa.Table.from_batches([batch]), out)
    loaded = load_dataset(str(out.parent), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded[7]["image"].size == (32, 32)
    assert loaded[7]["sample_id"] == "in.parquet#7"


def test_sample_ids_of_an_earlier_run_are_kept(table: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "clean.parquet"
    ids = [f"id {i}" for i in range(60)]
    pq.write_table(table.add_column(0, "sample_id", pa.array(ids)), path)
    source = open_source(str(path), shard_rows=7)
    assert source.schema.names == ["sample_id", "image", "label"]
    assert [r["sample_id"] for r in rows_of(source)] == ids
    pq.write_table(table.append_column("sample_id", pa.array([None, *ids[1:]])), path)
    with pytest.raises(InputError, match=r"^clean\.parquet: the column sample_id holds nulls"):
        open_source(str(path))
    pq.write_table(table.append_column("sample_id", pa.array(["", *ids[1:]])), path)
    with pytest.raises(InputError, match="sample_id holds empty text, expected an id in each row"):
        open_source(str(path))
    pq.write_table(table.append_column("sample_id", pa.array(range(60))), path)
    with pytest.raises(InputError, match="sample_id is int64, expected string"):
        open_source(str(path))


def test_image_column_is_found_by_its_first_bytes(real_images: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    plain = {"blob": [b"x", b"y"], "picture": [None, real_images[0]], "name": ["a", "b"]}
    pq.write_table(pa.table(plain), path)
    assert open_source(str(path)).image_column == "picture"
    assert open_source(str(path), image_column="blob").image_column == "blob"
    with pytest.raises(InputError, match="no column 'img'; the columns are blob, picture, name"):
        open_source(str(path), image_column="img")
    with pytest.raises(InputError, match="the column name is string, expected encoded images"):
        open_source(str(path), image_column="name")
    pq.write_table(pa.table(plain).drop_columns("picture"), path)
    with pytest.raises(InputError, match="found no image column; choose --image-column among"):
        open_source(str(path))
    pq.write_table(pa.table(plain | {"mask": plain["picture"]}), path)
    with pytest.raises(InputError, match=r"several image columns \(picture, mask\)"):
        open_source(str(path))


def test_several_splits_must_be_chosen(table: pa.Table, tmp_path: Path) -> None:
    for name in ("train-00000-of-00002", "train-00001-of-00002", "my_test-00000-of-00001"):
        pq.write_table(table.slice(0, 5), tmp_path / f"{name}.parquet")
    with pytest.raises(InputError, match="found the splits my_test, train; choose one"):
        open_source(str(tmp_path))
    with pytest.raises(InputError, match="no split 'val'"):
        open_source(str(tmp_path), split="val")
    assert open_source(str(tmp_path), split="train").rows == 10
    assert open_source(str(tmp_path / "train-*.parquet")).rows == 10
    pq.write_table(table.slice(0, 5), tmp_path / "more.parquet")
    with pytest.raises(InputError, match="train, and files outside any split"):
        open_source(str(tmp_path))


@pytest.mark.parametrize(
    "names", [("train.parquet", "test.parquet"), ("train/0.parquet", "dev/0.parquet")]
)
def test_splits_by_plain_names_are_not_mixed(
    table: pa.Table, tmp_path: Path, names: tuple[str, str]
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / name)
    with pytest.raises(InputError, match=r"choose one, as in .*:train$"):
        open_source(str(tmp_path))
    assert open_source(str(tmp_path), split="train").rows == 60


def test_folders_globs_and_files_name_rows_alike(table: pa.Table, tmp_path: Path) -> None:
    (tmp_path / "deep" / ".cache").mkdir(parents=True)
    for name in ("a", "deep/b", "deep/.cache/c"):
        pq.write_table(table.slice(0, 2), tmp_path / f"{name}.parquet")
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / "linked.parquet").symlink_to(tmp_path / "a.parquet")

    def ids(location: Path) -> list[str]:
        return [r["sample_id"] for r in rows_of(open_source(str(location)))][::2]

    assert ids(tmp_path) == ["a.parquet#0", "deep/b.parquet#0", "linked.parquet#0"]
    assert ids(tmp_path / "**" / "b.parquet") == ["deep/b.parquet#0"]
    assert ids(tmp_path / "l*.parquet") == ["linked.parquet#0"]
    assert ids(tmp_path / "deep" / "b.parquet") == ["b.parquet#0"]
    ignored = "ignored 1 file other than Parquet: .md 1"
    assert open_source(tmp_path).notes == ("left out 1 hidden folder: deep/.cache", ignored)


def test_files_that_differ_are_named(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "a.parquet")
    other = tmp_path / "b.parquet"
    pq.write_table(table.drop_columns("label"), other)
    with pytest.raises(InputError, match=r"b\.parquet: columns image where the first has image, l"):
        open_source(str(tmp_path))
    pq.write_table(table.set_column(1, "label", table["label"].cast(pa.int8())), other)
    with pytest.raises(InputError, match=r"b\.parquet: .*label: int8.*label: int64"):
        open_source(str(tmp_path))
    metadata = {b"huggingface": table.schema.metadata[b"huggingface"].replace(b"accordion", b"x")}
    pq.write_table(table.replace_schema_metadata(metadata), other)
    with pytest.raises(InputError, match=r"b\.parquet: the features of label are not the same"):
        open_source(str(tmp_path))


def test_damaged_and_empty_files_give_one_line(table: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    pq.write_table(table.slice(0, 0), path)
    with pytest.raises(InputError, match="holds no rows"):
        open_source(str(path))
    pq.write_table(table, path, compression="none")
    whole = path.read_bytes()
    for damaged in (b"", whole[:-100], whole[: len(whole) // 2], b"PAR1 nonsense PAR1"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"set\.parquet: cannot be read as Parquet") as caught:
            open_source(str(path))
        assert "\n" not in str(caught.value)


def test_file_that_changes_after_it_was_listed_is_an_error(
    table: pa.Table, tmp_path: Path, touch: Callable[[Path], None]
) -> None:
    path = tmp_path / "set.parquet"
    pq.write_table(table, path)
    source = open_source(str(path))
    damaged = bytearray(path.read_bytes())
    damaged[10:5000] = bytes(4990)
    status = path.stat()
    path.write_bytes(damaged)
    touch(path)
    with pytest.raises(InputError, match=r"set\.parquet: has changed since .* with --overwrite"):
        rows_of(source)
    assert open_source(str(path)).digest() != source.digest()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InputError, match=r"set\.parquet: cannot be read"):
        rows_of(source)
    pq.write_table(table.slice(0, 9), path)
    with pytest.raises(InputError, match=r"set\.parquet: has changed"):
        rows_of(source)
    path.unlink()
    with pytest.raises(InputError, match=r"set\.parquet: cannot be read"):
        rows_of(source)


@pytest.mark.parametrize("column", ["sample_id", "label"])
@pytest.mark.parametrize("as_dictionary", [False, True])
def test_text_that_is_not_utf8_is_named(
    table: pa.Table, tmp_path: Path, column: str, as_dictionary: bool
) -> None:
    words = pa.array([b"word %d" % i for i in range(59)] + [b"\xff"], pa.binary()).view(pa.string())
    words = words.dictionary_encode() if as_dictionary else words
    kept = table.select([name for name in table.column_names if name != column])
    pq.write_table(kept.append_column(column, words), tmp_path / "set.parquet")
    message = rf"set\.parquet: the column {column} is damaged or not UTF-8 \(.*\)$"
    with pytest.raises(InputError, match=message) as caught:
        open_source(str(tmp_path / "set.parquet"))
    assert "\n" not in str(caught.value)


def test_ids_that_occur_twice_are_found_while_the_input_is_listed(
    table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(name: str, ids: list[str]) -> None:
        rows = table.slice(0, len(ids)).append_column("sample_id", pa.array(ids))
        pq.write_table(rows, tmp_path / name, row_group_size=7)

    write("a.parquet", [f"id {i}" for i in range(60)])
    write("b.parquet", [f"other {i}" for i in range(50)])
    assert open_source(str(tmp_path)).rows == 110
    # Whatever the hashes of different ids may be: they are only a sieve.
    monkeypatch.setattr(texts, "COMPARED", 3)
    monkeypatch.setattr(texts, "hash", lambda text: len(text), raising=False)
    assert open_source(str(tmp_path)).rows == 110
    write("b.parquet", [*(f"other {i}" for i in range(49)), "id 59"])
    message = r"^a\.parquet and b\.parquet: the sample_id 'id 59' occurs twice; ids must be unique"
    with pytest.raises(InputError, match=message):
        open_source(str(tmp_path))
    write("b.parquet", ["x", "y", "x"])
    with pytest.raises(InputError, match=r"^b\.parquet: the sample_id 'x' occurs twice"):
        open_source(str(tmp_path / "b.parquet"))


def test_text_in_other_columns_need_not_be_utf8(table: pa.Table, tmp_path: Path) -> None:
    words = pa.array([b"\xff %d" % i for i in range(60)], pa.binary()).view(pa.string())
    words = pa.concat_arrays([pa.array([f"{i}" for i in range(20)]), words[20:]])
    nested = pa.StructArray.from_arrays([words], ["word"])
    path = tmp_path / "in" / "set.parquet"
    path.parent.mkdir()
    pq.write_table(table.append_column("words", words).append_column("nested", nested), path)
    (note,) = ingest(path.parent, tmp_path / "out", quiet=True).input.notes
    assert note.startswith(
        "not all text is UTF-8 in words (first in set.parquet#20), nested (first in set.parquet): "
    )
    written = pq.read_table(tmp_path / "out" / "data")
    assert written["words"].combine_chunks().view(pa.binary()).to_pylist()[33] == b"\xff 33"
    loaded = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.data.column("words").combine_chunks().view(pa.binary())[33].as_py() == b"\xff 33"
    assert loaded.remove_columns(["words", "nested"])[3]["image"].size == (32, 32)
    # What Parquet cannot read again is said before the start.
    inner = pa.StructArray.from_arrays([words.dictionary_encode()], ["word"])
    pq.write_table(table.append_column("nested", inner), path)
    with pytest.raises(InputError, match="the column nested is damaged or not UTF-8"):
        open_source(str(path))


def test_columns_of_one_name_are_refused(table: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    pq.write_table(table.append_column("label", table["label"]), path)
    with pytest.raises(InputError, match=r"set\.parquet: several columns are called 'label'"):
        open_source(str(path))


def test_any_fsspec_file_system_will_do(table: pa.Table) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    for name in ("a", "sub/b"):
        memory.pipe(f"/bucket/{name}.parquet", buffer.getvalue())
    for location in ("memory://bucket", "memory://bucket/**/*.parquet"):
        rows = rows_of(open_source(location))
        assert [r["sample_id"] for r in rows][::60] == ["a.parquet#0", "sub/b.parquet#0"]
    assert list_files("memory://nothing") is None


_MEASURE = """
import re, sys
from pathlib import Path
from pipelines.sources import open_source
# Not getrusage: there a child starts from its parent's peak.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
source = open_source(sys.argv[1], shard_rows=2500)
before, rows = peak(), 0
for shard in source.shards:
    for samples in source.reader.read(shard):
        rows += len(samples)
print(rows, (peak() - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_one_huge_row_group_is_read_in_little_memory(tmp_path: Path) -> None:
    """500 MB in a single row group, in pages of 6 MB: a column chunk of it is never held."""
    import numpy as np

    data = np.random.default_rng(0).bytes(100_000)
    images = [{"bytes": data[i:] + data[:i], "path": None} for i in range(5000)]
    table = pa.table({"image": pa.array(images, IMAGE_TYPE)})
    path = tmp_path / "huge.parquet"
    pq.write_table(table, path, compression="none", use_dictionary=False, write_batch_size=64)
    del images, table
    command = [sys.executable, "-c", _MEASURE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, grown = map(int, done.stdout.split())
    assert rows == 5000
    assert grown < 250  # in MiB
