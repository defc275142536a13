"""Columns of every type that Arrow knows, and metadata that no sane program writes."""

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Array2D, Features, load_dataset
from datasets.features.features import Array2DExtensionType
from outputs import table_of
from reading import rows_of

from pipelines.jobs.clean import clean
from pipelines.jobs.evaluate import evaluate
from pipelines.jobs.ingest import ingest
from pipelines.jobs.poison import poison
from pipelines.jobs.scan import scan
from pipelines.sources import open_source
from pipelines.sources.columns import IMAGE_TYPE
from sanitizer.errors import InputError

#: Rows of each table.
ROWS = 6

Write = Callable[..., Path]


@pytest.fixture
def write(real_images: list[bytes], tmp_path: Path) -> Write:
    """Writes real images and other columns as ``in/set.parquet``; returns the folder."""

    def write(metadata: bytes | None = None, **columns: pa.Array) -> Path:
        images = pa.array([{"bytes": data} for data in real_images[:ROWS]], IMAGE_TYPE)
        table = pa.table({"image": images} | columns)
        if metadata is not None:
            table = table.replace_schema_metadata({"huggingface": metadata})
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        pq.write_table(table, folder / "set.parquet")
        return folder

    return write


def extension(kind: pa.DataType, values: list[object]) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))


class Celsius(pa.ExtensionType):
    """A type that this process does not register, as a stranger's."""

    def __init__(self) -> None:
        super().__init__(pa.float32(), "tests.celsius")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"degrees"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> "Celsius":
        return cls()


GRID = Array2DExtensionType((2, 2), "int32")  # one that ``datasets`` has registered
UUIDS = extension(pa.uuid(), [uuid.UUID(int=i).bytes for i in range(ROWS)])
OFFSETS = pa.array(range(ROWS + 1), pa.int32())
EXTENSIONS = {
    "uuid": UUIDS,
    "json": extension(pa.json_(), ['{"a": 1}'] * ROWS),
    "bool8": extension(pa.bool8(), [1] * ROWS),
    "tensor": extension(pa.fixed_shape_tensor(pa.float32(), (2, 2)), [[1, 2, 3, 4]] * ROWS),
    "opaque": extension(pa.opaque(pa.binary(), "polygon", "maps"), [b"\x00"] * ROWS),
    "celsius": extension(Celsius(), [36.6] * ROWS),
    "grid": extension(GRID, [[[1, 2], [3, 4]]] * ROWS),
    "uuid in a struct": pa.StructArray.from_arrays([UUIDS], ["id"]),
    "uuid in a list": pa.ListArray.from_arrays(OFFSETS, UUIDS),
    "grid in a struct": pa.StructArray.from_arrays(
        [extension(GRID, [[[1, 2], [3, 4]]] * ROWS)], ["grid"]
    ),
    "grid in a list": pa.ListArray.from_arrays(OFFSETS, extension(GRID, [[[1, 2]] * 2] * ROWS)),
    "grid in a map": pa.MapArray.from_arrays(
        OFFSETS, pa.array(["a"] * ROWS), extension(GRID, [[[1, 2]] * 2] * ROWS)
    ),
}


def test_extension_columns_pass_through_untouched(write: Write, tmp_path: Path) -> None:
    folder = write(**EXTENSIONS)
    clean(folder / "set.parquet", tmp_path / "out", quiet=True)
    before = pq.read_table(folder / "set.parquet")
    files = [tmp_path / "out" / "data" / f"{split}" for split in ("clean", "poisoned")]
    after = pa.concat_tables(
        [table_of(f.parent, f.name) for f in files if list(f.parent.glob(f"{f.name}-*"))]
    ).sort_by("sample_id")
    assert after.num_rows == ROWS
    for name in EXTENSIONS:
        assert after[name].type == before[name].type, name
        assert after[name].to_pylist() == before[name].to_pylist(), name


def test_datasets_reads_the_extension_columns_that_it_knows(write: Write, tmp_path: Path) -> None:
    info = {"info": {"features": {"grid": Features(x=Array2D((2, 2), "int32")).to_dict()["x"]}}}
    known = {name: EXTENSIONS[name] for name in ("json", "celsius", "grid", "grid in a struct")}
    ingest(write(json.dumps(info).encode(), **known), tmp_path / "out", quiet=True)
    loaded = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features["grid"] == Array2D((2, 2), "int32")
    row = loaded[0]
    assert row["image"].size == (32, 32)
    assert (row["json"], row["grid"]) == ({"a": 1}, [[1, 2], [3, 4]])
    assert row["grid in a struct"] == {"grid": [[1, 2], [3, 4]]}


def test_columns_that_datasets_cannot_read_are_noted(write: Write) -> None:
    source = open_source(write(uuid=UUIDS, word=pa.array(["a"] * ROWS)))
    (note,) = source.notes
    assert note.startswith("load_dataset has no type for uuid (extension<arrow.uuid>): it reads")


@pytest.mark.parametrize("wrapped", [lambda kind: pa.struct([("in", kind)]), pa.list_])
def test_columns_nested_deeper_than_datasets_reads_are_noted(
    write: Write, tmp_path: Path, wrapped: Callable[[pa.DataType], pa.DataType]
) -> None:
    for depth in (62, 63):
        kind: pa.DataType = pa.int64()
        for _ in range(depth):
            kind = wrapped(kind)
        out, cache = tmp_path / f"out{depth}", str(tmp_path / f"cache{depth}")
        manifest = ingest(write(deep=pa.nulls(ROWS, kind)), out, quiet=True)
        if depth == 62:
            assert not manifest.input.notes
            load_dataset(str(out), split="train", cache_dir=cache)
            continue
        (note,) = manifest.input.notes
        assert note.startswith(
            "load_dataset cannot read columns nested more than 62 deep, such as d"
        )
        with pytest.raises(pa.ArrowInvalid, match="Recursion level"):
            load_dataset(str(out), split="train", cache_dir=cache)


def test_labels_are_of_a_plain_type(write: Write) -> None:
    classes = {"uuid": {"_type": "ClassLabel", "names": ["a"]}}
    folder = write(json.dumps({"info": {"features": classes}}).encode(), uuid=UUIDS)
    assert open_source(folder).label_column is None
    with pytest.raises(InputError, match=r"the column uuid is extension<arrow.uuid>, expected lab"):
        open_source(folder, label_column="uuid")
    with pytest.raises(InputError, match="the column image holds the images, so it cannot hold"):
        open_source(folder, label_column="image")


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([0.0, 1.0] * (ROWS // 2)),
        pa.array([[0], [1]] * (ROWS // 2)),
        pa.nulls(ROWS),
    ],
)
def test_a_label_column_that_is_passed_over_is_told(write: Write, labels: pa.Array) -> None:
    folder = write(label=labels)
    source = open_source(folder)
    assert source.label_column is None
    (note,) = (note for note in source.notes if "labels are read" in note)
    kind = pq.read_schema(folder / "set.parquet").field("label").type
    assert note.startswith(f"no labels are read from label ({kind}), as ")
    assert note.endswith("give --label-column label")
    assert not any("labels are" in n for n in open_source(folder, label_column="label").notes)


def test_true_and_false_are_labels(write: Write, tmp_path: Path) -> None:
    folder = write(label=pa.array([True, False, None] * (ROWS // 3)))
    manifest = clean(folder, tmp_path / "out", quiet=True)
    assert not manifest.input.notes
    summary = json.loads((tmp_path / "out/report/summary.json").read_text())
    counted = {one["name"]: one["read"] for one in summary["per_class"]}
    assert counted == {"true": ROWS // 3, "false": ROWS // 3, "(no label)": ROWS // 3}


def test_labels_may_be_categories(write: Write, tmp_path: Path) -> None:
    labels = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, None, 1, 1, 0], pa.int8()), pa.array(["cat", "dog"]), ordered=True
    )
    folder = write(label=labels)
    counts = {"cat": 2, "dog": 3, "(no label)": 1}
    cleaned = clean(folder, tmp_path / "cleaned", quiet=True)
    searched = scan(folder, tmp_path / "scanned", quiet=True, allow_unjudged=True)
    assert cleaned.counts.read == searched.counts.read == ROWS
    summary = json.loads((tmp_path / "cleaned/report/summary.json").read_text())
    assert {one["name"]: one["read"] for one in summary["per_class"]} == counts
    splits = [table_of(tmp_path / "cleaned", f"data/{split}") for split in ("clean", "poisoned")]
    for table in (*splits, table_of(tmp_path / "scanned", "scores/part")):
        assert table["label"].type == labels.type
    written = [row for table in splits for row in table.to_pylist()]
    written.sort(key=lambda row: row["sample_id"])
    assert [row["label"] for row in written] == labels.to_pylist()
    poison(folder, tmp_path / "poisoned", attack="badnets", quiet=True)
    poisoned = table_of(tmp_path / "poisoned", "data/train")
    assert poisoned["label"].type == poisoned["original_label"].type == labels.type
    done = evaluate([folder], tmp_path / "evaluated", attacks=["badnets"], rates=[0.5], quiet=True)
    assert done.cells == 1


def test_categories_that_are_numbers_are_labels_too(
    real_images: list[bytes], tmp_path: Path
) -> None:
    labels = pa.array([7, 8]).dictionary_encode()
    folder = save(tmp_path / "saved", pa.table({"image": real_images[:2], "label": labels}))
    assert open_source(folder, image_column="image").label_column == "label"


def test_views_are_read_as_what_parquet_stores(
    write: Write, real_images: list[bytes], tmp_path: Path
) -> None:
    words = pa.array(["a", None] * 3, pa.string_view())
    columns = {
        "label": words,
        "nested": pa.StructArray.from_arrays([words], ["word"]),
        "sample_id": pa.array([f"{i}" for i in range(ROWS)], pa.string_view()),
    }
    folder = write(image=pa.array(real_images[:ROWS], pa.binary_view()), **columns)
    clean(folder, tmp_path / "out", quiet=True)
    rows = table_of(tmp_path / "out" / "data", "clean").to_pylist()
    assert {row["sample_id"]: row["nested"]["word"] for row in rows}["0"] == "a"
    assert open_source(folder).schema.field("label").type == pa.string()


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_binary(),
        pa.struct([("bytes", pa.large_binary()), ("path", pa.string())]),
        pa.struct([("path", pa.string()), ("width", pa.int32()), ("bytes", pa.binary())]),
    ],
    ids=str,
)
def test_datasets_reads_images_of_any_type_as_images(
    write: Write, real_images: list[bytes], tmp_path: Path, kind: pa.DataType
) -> None:
    raw = real_images[:ROWS]
    values = [{"bytes": data} for data in raw] if pa.types.is_struct(kind) else raw
    ingest(write(image=pa.array(values, kind)), tmp_path / "out", quiet=True)
    loaded = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded[0]["image"].size == (32, 32)


def test_raw_images_beside_columns_that_datasets_cannot_read(
    write: Write, real_images: list[bytes], tmp_path: Path
) -> None:
    pairs = pa.array([[("a", 1)]] * ROWS, pa.map_(pa.string(), pa.int32()))
    folder = write(image=pa.array(real_images[:ROWS]), pairs=pairs)
    ingest(folder, tmp_path / "out", quiet=True)
    assert pq.read_table(tmp_path / "out" / "data")["pairs"].to_pylist() == pairs.to_pylist()


BYTES = pa.array([b"\x89PNG"] * ROWS)


@pytest.mark.parametrize(
    "images",
    [
        BYTES.dictionary_encode(),
        BYTES.cast(pa.binary(4)),
        pa.ListArray.from_arrays(OFFSETS, BYTES),
        pa.StructArray.from_arrays([BYTES.dictionary_encode()], ["bytes"]),
        extension(pa.opaque(pa.binary(), "picture", "maps"), [b"\x89PNG"] * ROWS),
    ],
    ids=lambda images: str(images.type),
)
def test_images_in_another_form_are_refused_for_what_they_are(
    write: Write, images: pa.Array
) -> None:
    folder = write(image=images)
    expected = "expected encoded images as binary, or as a struct with a binary field `bytes`"
    for column, found in ((None, "found no image column (image is"), ("image", "column image is")):
        with pytest.raises(InputError) as caught:
            open_source(folder, image_column=column)
        assert found in str(caught.value)
        assert str(caught.value).endswith(expected)


@pytest.mark.parametrize("depth", [200, 900, 100_000])
@pytest.mark.parametrize("brackets", ["[]", '{"a":}'])
def test_deeply_nested_metadata_is_refused(write: Write, depth: int, brackets: str) -> None:
    nested = brackets[:-1] * depth + "1" + brackets[-1] * depth
    folder = write(f'{{"info": {{"features": {{"label": {nested}}}}}}}'.encode())
    with pytest.raises(InputError, match=r"^set\.parquet: its Hugging Face .* more than 100 deep$"):
        open_source(folder)


def test_huge_metadata_is_refused(write: Write) -> None:
    folder = write(b'{"info": "' + b"x" * (16 << 20) + b'"}')
    with pytest.raises(InputError, match=r"bytes of Hugging Face metadata, at most 16,777,216 are"):
        open_source(folder)


@pytest.mark.parametrize(
    "features",
    [
        {"label": 3},
        {"label": {"_type": ["x"]}},
        {"label": {"_type": "Nonsense"}},
        {"label": {"_type": "ClassLabel", "names": 3}},
        {"label": {"_type": "ClassLabel", "names": ["cat", "dog", "cat"]}},
        {"label": {"_type": "ClassLabel", "names": {"cat": 0, "dog": 1}}},
        {"label": {"_type": "ClassLabel", "names_file": "/dev/zero"}},
        {"label": {"feature": {"_type": "ClassLabel", "names": ["a", "a"]}, "_type": "List"}},
        {"other": {"_type": "Nonsense"}},
        {"label": {"_type": "Value", "dtype": "boom"}},
    ],
)
def test_metadata_that_datasets_cannot_read_stops_nobody(
    write: Write, real_images: list[bytes], tmp_path: Path, features: dict[str, object]
) -> None:
    metadata = json.dumps({"info": {"features": features}}).encode()
    images, labels = pa.array(real_images[:ROWS]), pa.array(range(ROWS))
    folder = write(metadata, image=images, label=labels)
    manifest = ingest(folder, tmp_path / "out", quiet=True)
    (note,) = manifest.input.notes
    assert note.startswith(f"datasets refuses INPUT for its features of {next(iter(features))}, ")
    loaded = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["label"][:] == list(range(ROWS))
    assert loaded[0]["image"].size == (32, 32)


@pytest.mark.parametrize(("label", "told"), [(-1, False), (1, False), (2, True), (-2, True)])
def test_a_label_without_a_class_name_is_told(write: Write, label: int, told: bool) -> None:
    classes = {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    metadata = json.dumps({"info": {"features": classes}}).encode()
    source = open_source(write(metadata, label=pa.array([0] * (ROWS - 1) + [label])))
    words = rf"there is no class name for all labels in label \({label} in \S+\): "
    assert [bool(re.match(words, note)) for note in source.notes] == [True] * told


def test_class_names_that_datasets_refuses_are_names_all_the_same(write: Write) -> None:
    classes = {"label": {"_type": "ClassLabel", "names": ["cat", "dog", "cat"]}}
    metadata = json.dumps({"info": {"features": classes}}).encode()
    source = open_source(write(metadata, label=pa.array([0, 1, 2] * 2)))
    assert (source.label_column, source.class_names) == ("label", ("cat", "dog", "cat"))


def test_a_column_whose_name_is_not_utf8_is_refused(write: Write) -> None:
    file = write(QQQQ=pa.array(range(ROWS))) / "set.parquet"
    file.write_bytes(file.read_bytes().replace(b"QQQQ", b"\xff\xfe\xff\xff"))
    with pytest.raises(InputError, match=r"^set\.parquet: the name of a column is not UTF-8"):
        open_source(file)


# --- Saved datasets, which may hold what Parquet cannot ------------------------------------


def save(folder: Path, *tables: pa.Table) -> Path:
    """Tables as the files of a saved dataset; returns the folder."""
    folder.mkdir(exist_ok=True)
    names = [f"{i}.arrow" for i in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        path = str(folder / name)
        with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    listed = [{"filename": name} for name in names]
    (folder / "state.json").write_text(json.dumps({"_data_files": listed}))
    return folder


RUNS = pa.RunEndEncodedArray.from_arrays(pa.array([ROWS], pa.int32()), pa.array(["a"]))


@pytest.mark.parametrize(
    "column",
    [
        RUNS,
        pa.StructArray.from_arrays([RUNS], ["run"]),
        pa.array([pa.MonthDayNano([1, 2, 3])] * ROWS),
        pa.array([{}] * ROWS, pa.struct([])),
        pa.UnionArray.from_sparse(pa.array([0] * ROWS, pa.int8()), [pa.array(range(ROWS))]),
    ],
    ids=lambda column: str(column.type),
)
def test_types_that_parquet_cannot_hold_are_refused(
    real_images: list[bytes], tmp_path: Path, column: pa.Array
) -> None:
    table = pa.table({"image": real_images[:ROWS], "odd": column})
    with pytest.raises(InputError, match=r"the column odd is .*, which Parquet cannot hold; leave"):
        open_source(save(tmp_path / "saved", table), image_column="image")


def test_files_of_a_saved_dataset_fit_together(real_images: list[bytes], tmp_path: Path) -> None:
    table = pa.table({"image": real_images[:2], "sample_id": ["a", "b"]})
    folder = save(tmp_path / "saved", table, table.set_column(1, "sample_id", [["c", "d"]]))
    rows = rows_of(open_source(folder, image_column="image"))
    assert [row["sample_id"] for row in rows] == ["a", "b", "c", "d"]
    cases = (
        ((table, table), r"^0\.arrow and 1\.arrow: the sample_id 'a' occurs twice"),
        ((table, table.drop_columns("sample_id")), r"^1\.arrow: has other columns than 0\.arrow"),
    )
    for tables, message in cases:
        with pytest.raises(InputError, match=message):
            open_source(save(folder, *tables), image_column="image")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "0.arrow"}] * 2}))
    with pytest.raises(InputError, match=r"state\.json lists 0\.arrow more than once"):
        open_source(folder, image_column="image")
