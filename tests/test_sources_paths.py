"""Tables of paths: what they lead to is read, none of it from elsewhere."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, Image, Value
from reading import files_of, reasons_of, rows_of

from pipelines.sources import open_source
from sanitizer.errors import InputError

Write = Callable[..., Path]


@pytest.mark.parametrize("column", ["file_name", "path", "filename", "file", "image"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_each_row_is_its_image_with_the_other_columns(
    write_folder: Write, column: str, suffix: str
) -> None:
    root = write_folder("in/a.png", "in/b.png", "not-named.png")
    rows = [
        {column: "in/b.png", "label": "dog", "size": 2},
        {column: "./in//a.png", "label": "cat", "size": 1},
    ]
    file = root / f"set.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif suffix == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        separator = {"csv": ",", "tsv": "\t"}[suffix]
        lines = [list(rows[0]), *(list(row.values()) for row in rows)]
        file.write_text("".join(separator.join(map(str, line)) + "\n" for line in lines))
    source = open_source(file)
    assert source.kind == "paths"
    assert (source.image_column, source.label_column) == ("image", "label")
    assert source.schema.names == ["image", "label", "size", "sample_id"]
    assert source.notes == ()
    found = rows_of(source)
    assert [(r["sample_id"], r["label"], r["size"]) for r in found] == [
        ("in/b.png", "dog", 2),
        ("in/a.png", "cat", 1),
    ]
    for row in found:
        assert row["image"]["bytes"] == (root / row["sample_id"]).read_bytes()
        assert row["image"]["path"] == row["sample_id"]
    assert files_of(source) == [file.name] * 2
    assert [p.to_pylist() for p in source.labels()] == [["dog", "cat"]]


def test_the_column_can_be_named(write_folder: Write) -> None:
    root = write_folder("a.png", "b.png")
    (root / "set.csv").write_text("path,image,class\na.png,b.png,x\n")
    assert rows_of(open_source(root / "set.csv"))[0]["sample_id"] == "a.png"
    source = open_source(root / "set.csv", image_column="image", label_column="path")
    assert source.schema.names == ["image", "path", "class", "sample_id"]
    assert rows_of(source)[0]["sample_id"] == "b.png"
    other = open_source(root / "set.csv", image_column="path")
    assert other.image_column == "path"
    assert other.schema.names == ["path", "image", "class", "sample_id"]
    for column, words in {
        "nope": "no column 'nope'",
        "class": "none of its 1 paths in class",
    }.items():
        with pytest.raises(InputError, match=words):
            open_source(root / "set.csv", image_column=column)


def test_no_path_leads_out_of_the_folder(write_folder: Write, tmp_path: Path) -> None:
    secret = write_folder("secret.png", folder="elsewhere") / "secret.png"
    root = write_folder("a.png", "sub/b.png")
    (root / "link.png").symlink_to(secret)
    (root / "inner.png").symlink_to("sub/b.png")
    (root / "folder").symlink_to(secret.parent)
    (root / "broken.png").symlink_to("nothing")
    paths = [
        *("a.png", "../elsewhere/secret.png", "sub/../../elsewhere/secret.png", str(secret)),
        *(f"file://{secret}", "C:\\secret.png", "sub\\b.png", "link.png", "folder/secret.png"),
        *("gone.png", "sub", "broken.png", "", "inner.png", "a.png/x", "sub/../a.png"),
    ]
    rows = [{"path": path, "number": i} for i, path in enumerate(paths)]
    (root / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = open_source(root / "set.jsonl")
    reasons = reasons_of(source)
    ids = {row["number"]: row["sample_id"] for row in rows_of(source)}
    out = "path out of the folder: "
    starts = {
        1: out, 2: out, 3: out, 4: out, 5: out, 7: "link out of INPUT: leads to ",
        8: "link out of INPUT: ", 9: "missing file: 'gone.png' is not in the folder",
        10: "no file: 'sub' is a folder", 11: "broken link: leads to ", 12: "no image: the row has",
        14: "missing file: ", 15: out,
    }  # fmt: skip
    assert {number for number, id in ids.items() if id in reasons} == set(starts)
    for number, start in starts.items():
        assert reasons[ids[number]].startswith(start), paths[number]
    assert ids[6] == "sub/b.png"
    assert {ids[n] for n in (1, 2, 3, 4, 5, 12, 15)} == {
        f"set.jsonl#{n}" for n in (1, 2, 3, 4, 5, 12, 15)
    }
    read = {r["number"] for r in rows_of(source) if r["image"]["bytes"] is not None}
    assert read == {0, 6, 13}
    assert source.notes[0] == "10 paths that lead to no file in the folder: rejected"
    followed = open_source(root / "set.jsonl", follow_links=True)
    assert {"link.png", "folder/secret.png"}.isdisjoint(reasons_of(followed))


def test_a_path_that_comes_again_is_a_row_with_its_own_id(write_folder: Write) -> None:
    root = write_folder("a.png", "set.csv#1")
    (root / "set.csv").write_text("path,label\nset.csv#1,0\na.png,1\na.png,2\n./a.png,3\n")
    rows = rows_of(open_source(root / "set.csv"))
    assert [(r["sample_id"], r["label"]) for r in rows] == [
        ("set.csv#1", 0), ("a.png", 1), ("set.csv#2", 2), ("set.csv#3", 3)
    ]  # fmt: skip


def test_ids_of_rows_never_meet_those_of_files(write_folder: Write) -> None:
    root = write_folder("a.png", "set.csv#2")
    (root / "set.csv").write_text("path\nset.csv#2\na.png\na.png\n")
    ids = [row["sample_id"] for row in rows_of(open_source(root / "set.csv"))]
    assert len(set(ids)) == 3


def test_ids_of_the_table_are_kept(write_folder: Write) -> None:
    root = write_folder("a.png", "b.png")
    (root / "set.csv").write_text("path,sample_id\na.png,x\nb.png,y\n")
    assert [row["sample_id"] for row in rows_of(open_source(root / "set.csv"))] == ["x", "y"]
    (root / "set.csv").write_text("path,sample_id\na.png,x\nb.png,x\n")
    with pytest.raises(InputError, match="the sample_id 'x' occurs twice"):
        open_source(root / "set.csv")


def test_parquet_of_paths_in_the_place_of_bytes(write_folder: Write) -> None:
    root = write_folder("a.png", "b.png")
    features = Features(
        {"photo": Image(), "label": ClassLabel(names=["x", "y"]), "n": Value("int8")}
    )
    images = [{"bytes": None, "path": f"{name}.png"} for name in "ab"]
    columns = {"photo": images, "label": [1, 0], "n": [7, None]}
    table = pa.table(columns, features.arrow_schema)
    pq.write_table(table, root / "train.parquet", row_group_size=1)
    for column in (None, "photo"):
        source = open_source(root / "train.parquet", image_column=column)
        assert source.kind == "paths"
        assert source.class_names == ("x", "y")
        assert [(r["sample_id"], r["label"], r["n"]) for r in rows_of(source)] == [
            ("a.png", 1, 7), ("b.png", 0, None)
        ]  # fmt: skip
    # Where any row has bytes, the paths are names and nothing else.
    columns["photo"] = [images[0], {"bytes": (root / "b.png").read_bytes(), "path": "/etc/passwd"}]
    pq.write_table(pa.table(columns, features.arrow_schema), root / "train.parquet")
    assert open_source(root / "train.parquet").kind == "parquet"


def test_several_parquet_files_have_splits_and_folders(write_folder: Write) -> None:
    root = write_folder("x/a.png", "x/b.png", "y/a.png")
    for split, folder, names in (("train", "x", "ab"), ("test", "y", "a")):
        table = pa.table({"path": [f"{name}.png" for name in names], "label": [0] * len(names)})
        pq.write_table(table, root / folder / f"{split}-00000-of-00001.parquet")
    pattern = root / "*" / "*.parquet"
    source = open_source(pattern, split="train")
    assert [row["sample_id"] for row in rows_of(source)] == ["x/a.png", "x/b.png"]
    assert [row["sample_id"] for row in rows_of(open_source(f"{pattern}:test"))] == ["y/a.png"]


def test_types_of_parquet_survive(write_folder: Write, tmp_path: Path) -> None:
    root = write_folder("a.png", "b.png", "c.png")
    kinds: dict[str, Any] = {
        "when": pa.array([1, None, 3], pa.timestamp("ns", "UTC")),
        "what": pa.array(["x", "y", "x"]).dictionary_encode(),
        "deep": pa.array([{"a": [{"b": 1.5}]}, None, {"a": None}]),
        "price": pa.array([Decimal("1.50"), None, Decimal(3)], pa.decimal128(9, 2)),
    }
    table = pa.table({"path": ["a.png", "b.png", "c.png"], **kinds})
    pq.write_table(table, root / "set.parquet")
    source = open_source(root / "set.parquet", shard_rows=2)
    stored = pq.read_table(root / "set.parquet")
    read = pa.Table.from_batches([s.batch for s in source.samples()])
    assert read.select(list(kinds)).equals(stored.select(list(kinds)))
    assert len(rows_of(source, listing=tmp_path / "units")) == 3


def test_what_changed_since_is_noticed(write_folder: Write, touch: Callable[[Path], None]) -> None:
    root = write_folder("a.png", "b.png")
    (root / "set.csv").write_text("path,label\na.png,1\nb.png,2\n")
    source = open_source(root / "set.csv")
    touch(root / "a.png")
    with pytest.raises(InputError, match=r"^a\.png: has changed since the run began; start again"):
        rows_of(source)
    assert open_source(root / "set.csv").digest() != source.digest()
    source = open_source(root / "set.csv")
    (root / "b.png").unlink()
    with pytest.raises(InputError, match=r"^b\.png: was there when the run began"):
        rows_of(source)


def test_a_table_in_a_store(write_folder: Write) -> None:
    root = write_folder("in/a.png", "b.png")
    (root / "set.csv").write_text("path,label\nin/a.png,1\ngone.png,2\n../x.png,3\n")
    fsspec.filesystem("memory").put(str(root), "memory://paths", recursive=True)
    source = open_source("memory://paths/set.csv")
    assert list(reasons_of(source)) == ["gone.png", "set.csv#2"]
    assert rows_of(source)[0]["image"]["bytes"] == (root / "in" / "a.png").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "found no column of paths among a, b; expected one of file_name, "),
        ("path\n", "holds no rows"),
        ("path\ngone.png\n", "none of its 1 paths in path leads to a file, the first as missing"),
        ("path,\n", "holds no rows"),
    ],
)
def test_what_is_no_table_of_paths_says_so(write_folder: Write, content: str, message: str) -> None:
    root = write_folder("a.png")
    (root / "set.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        open_source(root / "set.csv")
    with pytest.raises(InputError, match="no split 'train'"):
        open_source(root / "set.csv", split="train")
