"""What tables beside images say, as ``load_dataset('imagefolder')`` reads them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, Image, Value, load_dataset
from reading import reasons_of, rows_of

from pipelines.sources import annotations, open_source
from pipelines.sources.base import Source
from sanitizer.errors import InputError

Write = Callable[..., Path]

CSV = "file_name,label,caption,size,score,wanted\n"
ROWS = "a.png,cat,one,1,0.5,True\nb.png,dog,two,,2,False\n"


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Any]:
    """What ``datasets`` makes of a folder, without a decoded image."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def load(folder: Path, split: str = "train") -> Any:
        return load_dataset(
            "imagefolder", data_dir=str(folder), split=split, cache_dir=str(tmp_path / "cache")
        ).cast_column("image", Image(decode=False))

    return load


def plain(features: Features) -> dict[str, str]:
    """Features by column, in words; a text is a text, however long it may be."""
    words = {name: repr(f) for name, f in features.items() if name not in ("sample_id", "image")}
    return {name: text.replace("large_string", "string") for name, text in words.items()}


def alike(source: Source, dataset: Any, folder: Path) -> None:
    """The rows and types of a source are those of ``datasets``, whatever their order."""
    assert plain(Features.from_arrow_schema(source.schema)) == plain(dataset.features)

    def key(row: dict[str, Any]) -> str:
        return json.dumps({k: v for k, v in row.items() if k != "sample_id"}, sort_keys=True)

    ours = [row | {"image": row["image"]["path"]} for row in rows_of(source)]
    theirs = [
        row | {"image": os.path.relpath(row["image"]["path"], folder)} for row in dataset.to_list()
    ]
    assert sorted(map(key, ours)) == sorted(map(key, theirs))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_rows_and_types_are_those_of_datasets(
    write_folder: Write, loaded: Callable[[Path], Any], kind: str
) -> None:
    root = write_folder("a.png", "b.png", "deep/c.png")
    rows = [
        {"file_name": "a.png", "label": 3, "caption": "one", "boxes": [[1, 2], [3]]},
        {"file_name": "b.png", "label": 4, "caption": None, "boxes": []},
        {"file_name": "./deep/c.png", "label": 3, "caption": 'ä\n,"', "boxes": [[5]]},
    ]
    if kind == "csv":
        (root / "metadata.csv").write_text(CSV + ROWS + "deep/c.png,cat,ä,3,1e3,True\n")
    elif kind == "jsonl":
        (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), root / "metadata.parquet")
    source = open_source(root)
    alike(source, loaded(root), root)
    assert source.kind == "image folder"
    assert source.label_column == "label"
    assert source.notes == ()
    assert [row["sample_id"] for row in rows_of(source)] == ["a.png", "b.png", "deep/c.png"]
    labels = [label for piece in source.labels() for label in piece.to_pylist()]
    assert labels == [row["label"] for row in rows_of(source)]


def test_class_names_of_a_parquet_table_stay(write_folder: Write) -> None:
    root = write_folder("a.png", "b.png")
    features = Features({"file_name": Value("string"), "label": ClassLabel(names=["x", "y"])})
    table = pa.table({"file_name": ["b.png", "a.png"], "label": [0, 1]}, features.arrow_schema)
    pq.write_table(table, root / "metadata.parquet")
    source = open_source(root)
    assert source.class_names == ("x", "y")
    assert [row["label"] for row in rows_of(source)] == [1, 0]


def test_labels_of_a_table_go_before_those_of_folders(
    write_folder: Write, loaded: Callable[[Path], Any]
) -> None:
    root = write_folder("cat/a.png", "dog/b.png")
    (root / "metadata.csv").write_text("file_name,label\ncat/a.png,7\ndog/b.png,8\n")
    source = open_source(root)
    alike(source, loaded(root), root)
    assert source.class_names is None
    assert [row["label"] for row in rows_of(source)] == [7, 8]
    (root / "metadata.csv").write_text("file_name,caption\ncat/a.png,x\ndog/b.png,y\n")
    named = open_source(root)
    assert named.class_names == ("cat", "dog")
    assert [(row["label"], row["caption"]) for row in rows_of(named)] == [(0, "x"), (1, "y")]
    chosen = open_source(root, label_column="caption")
    assert chosen.label_column == "caption"
    assert "label" not in chosen.schema.names


def test_one_folder_beside_a_table_is_no_class(write_folder: Write) -> None:
    root = write_folder("images/a.png", "images/b.png")
    (root / "metadata.csv").write_text("file_name,caption\nimages/a.png,x\nimages/b.png,y\n")
    assert open_source(root).label_column is None


@pytest.mark.parametrize("outer", ["", "data/"])
def test_splits_are_those_of_datasets(
    write_folder: Write, loaded: Callable[..., Any], outer: str
) -> None:
    names = [f"{outer}{split}/{c}/{c}.png" for split in ("train", "test") for c in ("x", "y")]
    root = write_folder(*names)
    for split in ("train", "test"):
        source = open_source(root, split=split)
        alike(source, loaded(root, split), root)
        assert source.class_names == ("x", "y")
    with pytest.raises(InputError, match="found the splits test, train; choose one"):
        open_source(root)


def test_a_table_of_a_split_is_that_of_its_folder(
    write_folder: Write, loaded: Callable[..., Any]
) -> None:
    root = write_folder("train/a.png", "train/b.png", "test/a.png")
    (root / "train" / "metadata.csv").write_text("file_name,label\na.png,1\nb.png,2\n")
    (root / "test" / "metadata.csv").write_text("file_name,label\na.png,3\n")
    for split in ("train", "test"):
        alike(open_source(root, split=split), loaded(root, split), root)
    assert not open_source(root, split="train").notes


def test_a_table_above_the_splits_is_read_too(write_folder: Write) -> None:
    root = write_folder("train/a.png", "test/a.png")
    (root / "metadata.csv").write_text("file_name,label\ntrain/a.png,1\ntest/a.png,2\n")
    for split, label in (("train", 1), ("test", 2)):
        source = open_source(root, split=split)
        assert [row["label"] for row in rows_of(source)] == [label]
        assert source.notes == ()


def test_of_two_tables_the_inner_one_is_right(write_folder: Write) -> None:
    root = write_folder("train/a.png", "train/b.png")
    (root / "metadata.csv").write_text("file_name,label\ntrain/a.png,1\ntrain/b.png,2\n")
    (root / "train" / "metadata.csv").write_text("file_name,label,more\na.png,3,x\n")
    source = open_source(root)
    assert [(row["label"], row["more"]) for row in rows_of(source)] == [(3, "x"), (2, None)]
    assert source.notes == (
        "left out 1 row of metadata.csv on images that a table in an inner folder has rows for",
    )


def test_nothing_is_lost_without_a_word(write_folder: Write) -> None:
    root = write_folder("a.png", "b.png", "c.png")
    (root / "metadata.csv").write_text(
        "file_name,label\na.png,1\na.png,2\ngone.png,3\n../a.png,4\n/etc/passwd,5\n,6\n"
    )
    source = open_source(root)
    rows = {row["sample_id"]: row["label"] for row in rows_of(source)}
    assert rows == {"a.png": 1, "metadata.csv#1": 2, "b.png": None, "c.png": None}
    assert source.rows == 4
    assert not reasons_of(source)
    assert source.notes == (
        "2 images without a row in metadata.csv: b.png, c.png; read with nulls in its columns",
        "left out 4 rows of metadata.csv without an image: gone.png, ../a.png, /etc/passwd, …",
        "1 row of metadata.csv on an image that has one already",
    )


def test_whole_labels_stay_whole_where_some_are_missing(write_folder: Write) -> None:
    root = write_folder("a.png", "b.png")
    (root / "metadata.csv").write_text("file_name,label,size\na.png,7,7\nb.png,,\n")
    source = open_source(root)
    assert source.label_column == "label"
    assert [(r["label"], r["size"]) for r in rows_of(source)] == [(7, 7.0), (None, None)]
    assert source.notes == (
        "1 row without a label; in text, NA, None, null and the like count as missing, as for "
        "load_dataset",
    )


@pytest.mark.parametrize("shard_rows", [1, 2, 3])
def test_shards_have_their_own_values(write_folder: Write, tmp_path: Path, shard_rows: int) -> None:
    names = [f"{i}.png" for i in range(5)]
    root = write_folder(*names)
    lines = "".join(f"{name},{i},{'x' * i}\n" for i, name in enumerate(names))
    (root / "metadata.csv").write_text("file_name,label,text\n" + lines)
    whole = rows_of(open_source(root))
    source = open_source(root, shard_rows=shard_rows)
    assert rows_of(source, batch_rows=2, listing=tmp_path / "units") == whole
    assert [row["label"] for row in whole] == list(range(5))
    before = source.digest()
    (root / "metadata.csv").write_text("file_name,label,text\n" + lines.replace("4,xxxx", "5,xxxx"))
    assert open_source(root, shard_rows=shard_rows).digest() != before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata.csv", b"", "cannot be read as a table"),
        ("metadata.csv", b"file_name,a\n1,2,3,4\n", "cannot be read as a table"),
        ("metadata.csv", b'file_name,a\n"a.png,2\n', "cannot be read as a table"),
        ("metadata.csv", b"file_name,a\na.png,\xff\xfe\n", "cannot be read as a table"),
        ("metadata.csv", b"file_name;label\na.png;1\n", "separated by ';', expected ','"),
        ("metadata.csv", b"a," * 1000 + b"file_name\n", "has more than 1,000 columns"),
        (
            "metadata.csv",
            b"file_name,image\na.png,1\n",
            "has a column image, which each image gets",
        ),
        ("metadata.csv", b"file_name,sample_id\na.png,1\n", "has a column sample_id, which each"),
        ("metadata.jsonl", b'{"file_name": "a.png"', "cannot be read as a table"),
        ("metadata.jsonl", b'{"file_name": "\xff"}\n', "cannot be read as a table"),
        ("metadata.jsonl", b'{"a":' + b"[" * 10**6, "is nested more than 64 deep"),
        ("metadata.parquet", b"PAR1", "cannot be read as Parquet"),
    ],
)
def test_a_damaged_table_is_one_line(
    write_folder: Write, name: str, content: bytes, message: str
) -> None:
    root = write_folder("a.png")
    (root / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"^{name}: .*{message}") as caught:
        open_source(root)
    assert "\n" not in str(caught.value)


def test_names_that_are_not_utf8_are_one_line(write_folder: Write) -> None:
    root = write_folder("a.png")
    odd = pa.array([b"\xff.png"]).view(pa.string())
    pq.write_table(pa.table({"file_name": odd}), root / "metadata.parquet")
    with pytest.raises(InputError, match="the column file_name is damaged or not UTF-8"):
        open_source(root)
    (root / "metadata.parquet").rename(root / "list.parquet")
    with pytest.raises(InputError, match="the column file_name is damaged or not UTF-8"):
        open_source(root / "list.parquet")


def test_a_table_that_is_too_large_is_not_read(
    write_folder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder("a.png")
    monkeypatch.setattr(annotations, "MAX_BYTES", 1 << 20)
    pq.write_table(pa.table({"file_name": ["x" * 1000] * 10_000}), root / "metadata.parquet")
    assert (root / "metadata.parquet").stat().st_size < 1 << 20
    with pytest.raises(InputError, match=r"metadata\.parquet: holds more than 1 MiB"):
        open_source(root)
    (root / "metadata.parquet").rename(root / "metadata.csv")
    with (root / "metadata.csv").open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(InputError, match=r"metadata\.csv: holds more than 1 MiB"):
        open_source(root)


def test_two_tables_in_one_folder_are_refused(write_folder: Write) -> None:
    root = write_folder("a.png")
    for name in ("metadata.csv", "metadata.jsonl"):
        (root / name).write_text("file_name\na.png\n")
    message = r"found metadata\.csv, metadata\.jsonl; keep one of them"
    with pytest.raises(InputError, match=message):
        open_source(root)


def test_tables_that_do_not_go_together_are_refused(write_folder: Write) -> None:
    root = write_folder("x/a.png", "y/b.png")
    (root / "x" / "metadata.jsonl").write_text('{"file_name": "a.png", "more": 1}\n')
    (root / "y" / "metadata.jsonl").write_text('{"file_name": "b.png", "more": [1]}\n')
    with pytest.raises(InputError, match=r"the columns of .* do not go together"):
        open_source(root)


def test_a_table_of_another_kind_is_passed_over_with_a_word(write_folder: Write) -> None:
    root = write_folder("x/a.png", "y/b.png")
    (root / "metadata.csv").write_text("left_file_name,label\nx/a.png,1\n")
    source = open_source(root)
    assert source.class_names == ("x", "y")
    assert source.notes == (
        "metadata.csv is not read: it has no column file_name of text to tell the images by, only "
        "left_file_name, label",
    )


def test_a_link_out_of_the_input_is_no_table(write_folder: Write, tmp_path: Path) -> None:
    root = write_folder("a.png")
    (tmp_path / "secret.csv").write_text("file_name,password\na.png,hidden\n")
    (root / "metadata.csv").symlink_to(tmp_path / "secret.csv")
    source = open_source(root)
    assert "password" not in source.schema.names
    assert source.notes[0].startswith("left out 1 link out of INPUT: metadata.csv; give --follow")
    assert "password" in open_source(root, follow_links=True).schema.names


def test_a_table_in_a_store_is_read(write_folder: Write) -> None:
    import fsspec

    root = write_folder("a.png", "b.png")
    (root / "metadata.csv").write_text("file_name,label\na.png,1\nb.png,2\n")
    fsspec.filesystem("memory").put(str(root), "memory://described", recursive=True)
    source = open_source("memory://described")
    assert [row["label"] for row in rows_of(source)] == [1, 2]
