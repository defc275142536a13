"""``freqsan export``: what was cleaned comes back as it came, and real readers read it."""

import csv
import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqsan import InputError, RunError, apply, clean, export, scan, score
from pipelines.exporting.destination import FILES, MARK
from pipelines.exporting.folder import class_folders
from pipelines.exporting.names import Names, NameSet, is_plain, made_of, with_extension
from pipelines.exporting.origin import Origin
from pipelines.exporting.sides import Sides
from pipelines.jobs.demo import SAMPLE
from pipelines.runs.store import Store
from pipelines.sources.files import list_files
from tests.commands import run as command
from tests.outputs import table_of
from tests.readers import classes_seen, loaded

CLASSES = ("ant, red", "bee", "cat")

#: Some are removed for their scores, whichever these are.
BUDGET: dict[str, Any] = {"policy": "budget", "max_clean_loss": 0.09, "scan": False, "quiet": True}


@dataclass(frozen=True)
class Cleaned:
    """A set and the finished run on it."""

    input: Path
    output: Path

    def ids(self, split: str) -> list[str]:
        rows = table_of(self.output / "scores", "part").to_pylist()
        return [row["sample_id"] for row in rows if row["verdict"] == split]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``datasets`` keeps what it reads here, and asks nobody."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Sixty of the bundled images, a third of them poisoned, with labels 0 to 2."""
    table = pq.read_table(str(SAMPLE)).to_pylist()
    poisoned = [row for row in table if row["is_poisoned"]][:20]
    others = [row for row in table if not row["is_poisoned"]][:40]
    return [
        {"image": {"bytes": row["image"]["bytes"], "path": f"im{i}.png"}, "label": i % 3}
        for i, row in enumerate(others + poisoned)
    ]


def _as_jpeg(data: bytes) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(out, "JPEG")
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Cleaned:
    """A folder of classes with all that may lie beside images."""
    at = tmp_path_factory.mktemp("folder")
    photos = at / "photos"
    table = io.StringIO(newline="")
    writer = csv.writer(table)  # ends its lines with \r\n
    writer.writerow(["file_name", "caption"])
    for i, row in enumerate(rows):
        name = f"{CLASSES[row['label']]}/im{i}.png"
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(row["image"]["bytes"])
        (photos / name).with_suffix(".txt").write_text(f"caption {i}")
        writer.writerow([name, f'a "quoted",\nbroken line {i}'])
    writer.writerow(["bee/never-there.png", "of nothing"])
    (photos / "metadata.csv").write_bytes(table.getvalue().encode())
    (photos / "LICENSE").write_bytes(b"CC0\r\n\xff")
    (photos / "cat" / "notes.json").write_text("{}")
    (photos / "bee" / "broken.png").write_bytes(b"nothing")
    (photos / "bee" / "link.png").symlink_to("nowhere.png")
    clean(photos, at / "out", shard_rows=20, **BUDGET)
    return Cleaned(photos, at / "out")


@pytest.fixture(scope="module")
def parquet(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Cleaned:
    """Parquet with names for classes, one of which no folder can have."""
    from datasets import ClassLabel, Dataset, Features, Image, Value

    at = tmp_path_factory.mktemp("parquet")
    features = Features(
        image=Image(),
        label=ClassLabel(names=["a/b", "bee", "Bee"]),
        caption=Value("string"),
        weight=Value("float64"),
        raw=Value("binary"),
    )
    own = [
        row | {"caption": f"caption {i}", "weight": i / 7, "raw": b"\0"}
        for i, row in enumerate(rows)
    ]
    (at / "set").mkdir()
    Dataset.from_list(own, features=features).to_parquet(str(at / "set" / "rows.parquet"))
    clean(at / "set" / "rows.parquet", at / "out", shard_rows=20, **BUDGET)
    return Cleaned(at / "set" / "rows.parquet", at / "out")


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), 1_700_000_000, 0o640
    tar.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="module")
def tars(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Cleaned:
    """Two tars, one of them compressed, with members in an odd order."""
    at = tmp_path_factory.mktemp("tars")
    (at / "shards" / "deep").mkdir(parents=True)
    for tar_name, own in (("a.tar", rows[::2]), ("deep/b.tar.gz", rows[1::2])):
        with tarfile.open(at / "shards" / tar_name, "w:gz" if "gz" in tar_name else "w") as tar:
            for i, row in enumerate(own):
                _add(tar, f"x/{i:03d}.JSON", json.dumps({"i": i}).encode())
                _add(tar, f"x/{i:03d}.png", row["image"]["bytes"])
                _add(tar, f"x/{i:03d}.cls", f"{row['label']}\n".encode())
    clean(at / "shards", at / "out", **BUDGET)
    return Cleaned(at / "shards", at / "out")


def _tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder but the two that say what was exported."""
    files = (path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    assert {MARK, FILES} <= named.keys()
    return {name: data for name, data in named.items() if name not in (MARK, FILES)}


# --- A folder -------------------------------------------------------------------------------


def test_a_folder_comes_back_byte_for_byte(folder: Cleaned, tmp_path: Path) -> None:
    original = {
        path.relative_to(folder.input).as_posix(): path.read_bytes()
        for path in folder.input.rglob("*")
        if path.is_file()
    }
    for split in ("clean", "poisoned"):
        done = export(folder.output, tmp_path / split, split=split, quiet=True)
        ids = folder.ids(split)
        assert done.samples == len(ids) > 2
        tree = _tree(tmp_path / split)
        assert done.files == len(tree)
        assert done.bytes == sum(map(len, tree.values()))
        captions = [name.replace(".png", ".txt") for name in ids]
        beside = ["LICENSE", "cat/notes.json"]
        assert sorted(tree) == sorted([*ids, *captions, *beside, "metadata.csv"])
        assert all(tree[name] == original[name] for name in [*ids, *captions, *beside])
        lines = original["metadata.csv"].decode().split("\r\n")
        kept = [line for line in lines if line.partition(",")[0].strip('"') in {*ids}]
        told = csv.reader(io.StringIO(tree["metadata.csv"].decode(), newline=""))
        assert {row[0] for row in told} == {"file_name", *ids}
        # Line for line what stood there; a quoted comma hides names of one class from `kept`.
        assert tree["metadata.csv"].startswith(b"file_name,caption\r\n")
        assert all(line.encode() + b"\r\n" in tree["metadata.csv"] for line in kept)
        assert all(record in original["metadata.csv"] for record in _records(tree["metadata.csv"]))


def _records(table: bytes) -> list[bytes]:
    return [record + b"\r\n" for record in table.split(b"\r\n")[:-1]]


def test_rejected_files_come_back_too_but_for_those_without_bytes(
    folder: Cleaned, tmp_path: Path
) -> None:
    done = export(folder.output, tmp_path / "out", split="rejected", quiet=True)
    assert (done.samples, sum(done.left_out.values())) == (1, 1)
    assert _tree(tmp_path / "out")["bee/broken.png"] == b"nothing"


def test_readers_see_the_classes_and_captions_of_a_folder(folder: Cleaned, tmp_path: Path) -> None:
    export(folder.output, tmp_path / "out", quiet=True)
    ids = folder.ids("clean")
    assert classes_seen(tmp_path / "out") == {name: name.partition("/")[0] for name in ids}
    seen = loaded("imagefolder", data_dir=str(tmp_path / "out"))
    numbers = sorted(int(name.partition("/im")[2].removesuffix(".png")) for name in ids)
    assert sorted(int(row["caption"].rpartition(" ")[2]) for row in seen) == numbers
    # Beside a table it gives no labels, in INPUT as here; from the images alone it does.
    seen = loaded("imagefolder", data_files=str(tmp_path / "out" / "**" / "*.png"))
    places = [sorted(CLASSES).index(name.partition("/")[0]) for name in ids]
    assert sorted(row["label"] for row in seen) == sorted(places)


def test_a_folder_without_its_input_has_the_images_and_says_so(
    folder: Cleaned, tmp_path: Path
) -> None:
    moved = folder.input.rename(tmp_path / "elsewhere")
    try:
        done = export(folder.output, tmp_path / "a", quiet=True)
        assert sorted(_tree(tmp_path / "a")) == sorted(folder.ids("clean"))
        assert "no README or metadata.csv" in done.notes[0]
        export(folder.output, tmp_path / "b", input=moved, quiet=True)
        assert "metadata.csv" in _tree(tmp_path / "b")
        with pytest.raises(InputError, match="holds none of the images"):
            export(folder.output, tmp_path / "c", input=SAMPLE.parent, quiet=True)
    finally:
        moved.rename(folder.input)


def test_json_lines_lose_the_rows_of_images_that_are_not_there(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    told = [{"file_name": f"{i}.png", "bbox": [i]} for i in range(12)]
    split = tmp_path / "photos" / "train"
    split.mkdir(parents=True)
    for i in range(12):
        (split / f"{i}.png").write_bytes(rows[-i]["image"]["bytes"])
    (tmp_path / "photos" / "test").mkdir()
    (tmp_path / "photos" / "test" / "1.png").write_bytes(rows[0]["image"]["bytes"])
    (tmp_path / "photos" / "test" / "about.txt").touch()
    lines = {f"train/{row['file_name']}": json.dumps(row).encode() + b"\r\n" for row in told}
    (split / "metadata.jsonl").write_bytes(b"\n".join(lines.values()))
    clean(f"{tmp_path}/photos:train", tmp_path / "out", **BUDGET)
    export(tmp_path / "out", tmp_path / "back", quiet=True)
    kept = Cleaned(split, tmp_path / "out").ids("clean")
    assert 0 < len(kept) < 12
    tree = _tree(tmp_path / "back")
    assert sorted(tree) == sorted([*kept, "train/metadata.jsonl"])
    assert tree["train/metadata.jsonl"] == b"".join(lines[name] for name in lines if name in kept)
    seen = loaded("imagefolder", data_dir=str(tmp_path / "back"))
    assert sorted(f"train/{row['bbox'][0]}.png" for row in seen) == sorted(kept)


@pytest.mark.parametrize("columns", [("file_name",), ("file_name", "mask_file_name")])
def test_a_table_of_parquet_loses_them_too(tmp_path: Path, columns: tuple[str, ...]) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "in" / name).touch()
    told = pa.table(
        {one: ["a.png", "b.png"] for one in columns} | {"n": pa.array([1, 2], pa.int8())}
    )
    pq.write_table(told, tmp_path / "in" / "metadata.parquet")
    listing = list_files(str(tmp_path / "in"))
    assert listing is not None
    sides = Sides(Origin(listing), NameSet(["b.png"]), None)
    assert sides.names() == ["metadata.parquet"]
    sides.write(Store(str(tmp_path / "out")), ["metadata.parquet"])
    assert pq.read_table(tmp_path / "out" / "metadata.parquet").equals(told.slice(1))


@pytest.mark.parametrize("data", [b"name,x\na.png,1\n", b'file_name\n"a.png', b""])
def test_a_table_that_is_none_is_left_out_and_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "metadata.csv").write_bytes(data)
    (tmp_path / "in" / "b.png").touch()
    listing = list_files(str(tmp_path / "in"))
    assert listing is not None
    sides = Sides(Origin(listing), NameSet(["b.png"]), None)
    written = sides.write(Store(str(tmp_path / "out")), sides.names())
    assert written.sizes == {}
    assert not any((tmp_path / "out").iterdir())
    assert len(sides.notes()) == data.startswith(b"name")


@pytest.mark.parametrize("kind", ["zip", "paths"])
def test_a_zip_and_a_table_of_paths_give_every_image_its_path_again(
    folder: Cleaned, tmp_path: Path, kind: str
) -> None:
    if kind == "zip":
        packed = tmp_path / "photos.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            for path in sorted(folder.input.rglob("im*.png")):
                archive.write(path, path.relative_to(folder.input).as_posix())
    else:
        packed = Path(shutil.copytree(folder.input, tmp_path / "photos", symlinks=True)) / "all.csv"
        names = (path.relative_to(folder.input) for path in sorted(folder.input.rglob("im*.png")))
        packed.write_text("\n".join(["path", *(f'"{name.as_posix()}"' for name in names)]))
    cleaned = Cleaned(packed, tmp_path / "out")
    clean(packed, cleaned.output, **BUDGET)
    done = export(cleaned.output, tmp_path / "back", split="poisoned", quiet=True)
    ids = cleaned.ids("poisoned")
    assert len(ids) > 2
    assert _tree(tmp_path / "back") == {name: (folder.input / name).read_bytes() for name in ids}
    (note,) = done.notes
    assert "is not exported" in note


def test_rows_of_parquet_go_to_the_folders_of_their_classes(
    parquet: Cleaned, tmp_path: Path
) -> None:
    folders = ("a-b", "bee", "Bee-2")
    for split in ("clean", "poisoned"):
        done = export(parquet.output, tmp_path / split, split=split, quiet=True)
        stored = table_of(parquet.output / "data", split).to_pylist()
        tree = _tree(tmp_path / split)
        assert tree == {
            f"{folders[row['label']]}/{row['image']['path']}": row["image"]["bytes"]
            for row in stored
        }
        assert done.samples == len(stored) > 2
        assert any("'a/b', whose folder is 'a-b'" in note for note in done.notes)
        seen = classes_seen(tmp_path / split)
        assert seen == {name: name.partition("/")[0] for name in tree}
        names = sorted(folders)
        labels = [names.index(folders[row["label"]]) for row in stored]
        told = loaded("imagefolder", data_dir=str(tmp_path / split))
        assert sorted(row["label"] for row in told) == sorted(labels)


def test_hostile_names_stay_inside_and_apart(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    hostile = [
        *(
            "../../../up.png",
            "/abs.png",
            "a\0b.png",
            "CON.png",
            "A.png",
            "a.PNG",
            "",
            ".hidden.png",
        ),
        *(
            "a.png",
            "b\nc.png",
            "..",
            "a/../x.png",
            "\u202egnp.exe",
            "x" * 300 + ".png",
            MARK,
            "é.png",
        ),
        *("e\u0301.png", "test_1.png", ".freqsan/lock", "C:\\x.png", "same.png", "same.png"),
    ]
    own = [
        {"image": {"bytes": rows[i]["image"]["bytes"], "path": path}, "label": 7 if i % 2 else -1}
        for i, path in enumerate(hostile)
    ]
    own[3]["image"]["bytes"] = _as_jpeg(own[3]["image"]["bytes"])
    at = tmp_path / "one" / "two"
    at.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(own), at / "set.parquet")
    clean(at / "set.parquet", at / "out", **BUDGET)
    files: list[str] = []
    notes: list[str] = []
    for split in ("clean", "poisoned"):
        done = export(at / "out", at / "back" / split, split=split, quiet=True)
        notes += done.notes
        tree = _tree(at / "back" / split)
        assert done.samples == len(tree)
        assert sorted(tree.values()) == sorted(
            row["image"]["bytes"] for row in table_of(at / "out" / "data", split).to_pylist()
        )
        assert len({name.casefold() for name in tree}) == len(tree)
        for name in tree:
            assert name.startswith(("07/", "-1/", "_1/"))
            assert name.endswith((".png", ".PNG", ".jpg"))
        files += [f"{split}/{name}" for name in tree]
    assert any(name.endswith("/set.parquet-3.jpg") for name in files)
    assert any("test_1.png' for a split" in note for note in notes)
    images = [path for path in tmp_path.rglob("*") if path.suffix.lower() in (".png", ".jpg")]
    assert sorted(path.relative_to(at / "back").as_posix() for path in images) == sorted(files)
    assert sorted(path.name for path in at.iterdir()) == ["back", "out", "set.parquet"]


_texts = st.text(st.sampled_from("aA.é\u0301/\\\0 -\n:#1\u202e") | st.characters(), max_size=8)


@given(st.lists(_texts | st.sampled_from(["con", "NUL.png", "..", "a" * 400]), max_size=30))
def test_made_names_are_plain_and_no_two_are_the_same(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    taken = Names(folded=True)
    names = [taken.take(f"{made_of(t)}/{made_of(with_extension(t, 'PNG'))}") for t in texts]
    assert all(map(is_plain, names))
    assert len({name.casefold() for name in names}) == len(names)
    assert all(made_of(made_of(text)) == made_of(text) for text in texts)
    assert all(c.isprintable() for name in names for c in name)


@given(st.lists(st.text("abB/", min_size=1, max_size=6), max_size=30), st.booleans())
def test_no_file_is_in_the_place_of_a_folder(texts: list[str], folded: bool) -> None:
    taken = Names(folded=folded)
    names = [taken.take(text, "other") for text in texts if is_plain(text)]
    files = {name.casefold() if folded else name for name in names}
    assert len(files) == len(names)
    outer = {"/".join(name.split("/")[:n]) for name in files for n in range(1, name.count("/") + 1)}
    assert not files & outer


def test_numbers_sort_as_numbers() -> None:
    folders = class_folders({str(i): str(i) for i in range(12)} | {"null": "(no label)"})
    assert [*folders.values()] == sorted(folders.values())
    assert folders["null"] == "unlabelled"
    assert class_folders({"null": "(no label)"}) == {}


# --- Tars -----------------------------------------------------------------------------------


def _members(path: Path) -> list[tuple[str, int, int, bytes]]:
    with tarfile.open(path) as tar:
        return [(m.name, m.mtime, m.mode, _read(tar, m)) for m in tar]


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def test_tars_come_back_with_their_own_members(tars: Cleaned, tmp_path: Path) -> None:
    together: dict[str, list[Any]] = {"a.tar": [], "deep/b.tar.gz": []}
    for split in ("clean", "poisoned"):
        done = export(tars.output, tmp_path / split, as_="webdataset", split=split, quiet=True)
        assert done.samples == len(tars.ids(split)) > 2
        assert _tree(tmp_path / split).keys() == together.keys()
        for name, before in together.items():
            original, members = _members(tars.input / name), _members(tmp_path / split / name)
            assert members == [one for one in original if one in members]  # in their order
            keys = {f"{name}#{member[0].partition('.')[0]}" for member in members}
            assert keys == {one for one in tars.ids(split) if one.startswith(f"{name}#")}
            before += members
    for name, members in together.items():
        assert sorted(members) == sorted(_members(tars.input / name))
    assert gzip.decompress((tmp_path / "clean" / "deep" / "b.tar.gz").read_bytes())
    seen = loaded("webdataset", data_files=str(tmp_path / "clean" / "**" / "*.tar*"))
    assert len(seen) == len(tars.ids("clean"))


def test_tars_also_come_back_as_a_folder(tars: Cleaned, tmp_path: Path) -> None:
    done = export(tars.output, tmp_path / "out", quiet=True)
    assert len(classes_seen(tmp_path / "out")) == done.samples == len(tars.ids("clean"))


def test_an_input_of_tars_that_is_gone_or_another_is_one_line(
    tars: Cleaned, tmp_path: Path
) -> None:
    file = tars.input / "a.tar"
    data = file.read_bytes()
    first = next(i for i in tars.ids("clean") if i.startswith("a.tar#"))
    members = _members(file)
    try:
        with tarfile.open(file, "w") as tar:
            for name, _, _, content in members:
                own = f"a.tar#{name}" == f"{first}.png"
                _add(tar, name, content[:-1] + b"\0" if own else content)
        with pytest.raises(InputError, match=r"was cleaned: the image of .* is another"):
            export(tars.output, tmp_path / "out", as_="webdataset", quiet=True)
        assert not (tmp_path / "out" / MARK).exists()
        with tarfile.open(file, "w") as tar:
            for name, _, _, content in members[-3:]:
                _add(tar, name, content)
        with pytest.raises(InputError, match="is not in it"):
            export(tars.output, tmp_path / "out", as_="webdataset", quiet=True)
    finally:
        file.write_bytes(data)
    # Put back, the same command goes on.
    assert export(tars.output, tmp_path / "out", as_="webdataset", quiet=True).files == 2
    moved = tars.input.rename(tmp_path / "moved")
    try:
        with pytest.raises(InputError, match="is not there; put it back"):
            export(tars.output, tmp_path / "new", as_="webdataset", quiet=True)
        done = export(tars.output, tmp_path / "new", as_="webdataset", input=moved, quiet=True)
        assert done.samples == len(tars.ids("clean"))
    finally:
        moved.rename(tars.input)


def test_readers_of_webdataset_read_new_tars(parquet: Cleaned, tmp_path: Path) -> None:
    import webdataset

    done = export(parquet.output, tmp_path / "out", as_="webdataset", quiet=True)
    stored = {
        row["sample_id"]: row for row in table_of(parquet.output / "data", "clean").to_pylist()
    }
    assert done.samples == len(stored)
    assert any("'raw'" in note for note in done.notes)
    shards = sorted(map(str, (tmp_path / "out").glob("*.tar")))
    assert len(shards) == 3
    read = webdataset.WebDataset(shards, shardshuffle=False).decode("pil")
    seen = list(read.to_tuple("png", "cls", "json"))
    assert len(seen) == len(stored)
    for image, label, told in seen:
        row = stored[told["sample_id"]]
        assert image.size == (32, 32)
        assert label == told["label"] == row["label"]
        assert told["class_name"] == ("a/b", "bee", "Bee")[label]
        assert (told["caption"], told["weight"]) == (row["caption"], row["weight"])
        assert "raw" not in told
    told = loaded("webdataset", data_files=str(tmp_path / "out" / "*.tar"))
    assert {row["json"]["sample_id"]: row["cls"] for row in told} == {
        i: row["label"] for i, row in stored.items()
    }
    again = export(parquet.output, tmp_path / "again", as_="webdataset", quiet=True)
    assert again.bytes == done.bytes
    assert _tree(tmp_path / "again") == _tree(tmp_path / "out")


def test_images_of_several_formats_share_one_extension(
    image_folder: Path,
    tmp_path: Path,  # thirteen images in as many encodings
) -> None:
    import webdataset

    clean(image_folder, tmp_path / "cleaned", scan=False, quiet=True)
    done = export(tmp_path / "cleaned", tmp_path / "out", as_="webdataset", quiet=True)
    assert "several formats" in done.notes[0]
    shards = sorted(map(str, (tmp_path / "out").glob("*.tar")))
    read = webdataset.WebDataset(shards, shardshuffle=False).decode("pil").to_tuple("jpg", "json")
    told = {row["sample_id"]: image.size for image, row in read}
    assert told.keys() == {*Cleaned(image_folder, tmp_path / "cleaned").ids("clean")}
    assert len(loaded("webdataset", data_files=str(tmp_path / "out" / "*.tar"))) == len(told)


# --- One file -------------------------------------------------------------------------------


def test_verdicts_read_as_they_are_in_scores(folder: Cleaned, tmp_path: Path) -> None:
    import duckdb
    import pandas as pd

    done = export(folder.output, tmp_path / "v.csv", as_="csv", quiet=True)
    rows = table_of(folder.output / "scores", "part").to_pylist()
    assert done.samples == len(rows)
    with (tmp_path / "v.csv").open(newline="") as file:
        told = list(csv.DictReader(file))
    assert [row["sample_id"] for row in told] == [row["sample_id"] for row in rows]
    for one, row in zip(told, rows, strict=True):
        assert (one["verdict"], one["reason"]) == (row["verdict"], row["reason"])
        assert one["label"] == str(row["label"])
        assert one["class_name"] == CLASSES[row["label"]]
        assert (float(one["p_value"]) if one["p_value"] else None) == row["p_value"]
    assert [*told[0]][:8] == [
        *("sample_id", "label", "class_name", "score", "p_value", "finding", "verdict", "reason")
    ]
    frame = pd.read_csv(tmp_path / "v.csv")
    counts = duckdb.sql(f"SELECT verdict, count(*) FROM '{tmp_path}/v.csv' GROUP BY ALL").fetchall()
    assert dict(counts) == frame["verdict"].value_counts().to_dict()
    export(folder.output, tmp_path / "p.csv", as_="csv", split="poisoned", quiet=True)
    assert list(pd.read_csv(tmp_path / "p.csv")["sample_id"]) == folder.ids("poisoned")


def test_what_a_review_has_decided_is_exported(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set.parquet")
    clean(tmp_path / "set.parquet", tmp_path / "out", **BUDGET)
    export(tmp_path / "out", tmp_path / "back", quiet=True)
    cleaned = Cleaned(tmp_path / "set.parquet", tmp_path / "out")
    kept, removed = cleaned.ids("poisoned")[0], cleaned.ids("clean")[0]
    apply(tmp_path / "out", {kept: "keep", removed: "remove"}, quiet=True)
    with pytest.raises(InputError, match="differs in what OUTPUT holds"):
        export(tmp_path / "out", tmp_path / "back", quiet=True)
    before = {*_tree(tmp_path / "back").values()}
    export(tmp_path / "out", tmp_path / "back", overwrite=True, quiet=True)
    after = {*_tree(tmp_path / "back").values()}
    images = {f"set.parquet#{i}": row["image"]["bytes"] for i, row in enumerate(rows)}
    assert (after - before, before - after) == ({images[kept]}, {images[removed]})
    export(tmp_path / "out", tmp_path / "v.csv", as_="csv", quiet=True)
    with (tmp_path / "v.csv").open(newline="") as file:
        told = {row["sample_id"]: row for row in csv.DictReader(file)}
    assert told[kept]["verdict"] == told[removed]["verdict_before"] == "clean"
    assert {i for i, row in told.items() if row["decided_by"] == "review"} == {kept, removed}


@pytest.fixture
def odd_folder(rows: list[dict[str, Any]], tmp_path: Path) -> Cleaned:
    """Files that a list must not tear apart."""
    photos = tmp_path / "odd"
    photos.mkdir()
    for i, name in enumerate(("a b.png", "it's.png", "two\nlines.png", 'q"q.png', "-f.png")):
        for more in range(4):
            path = photos / f"{more}" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(rows[-1 - i - 5 * more]["image"]["bytes"])
    path = photos / "0" / os.fsdecode(b"\xff.png")
    path.write_bytes(rows[0]["image"]["bytes"])
    clean(photos, tmp_path / "cleaned", **BUDGET)
    return Cleaned(photos, tmp_path / "cleaned")


def test_a_list_deletes_just_what_was_removed(odd_folder: Cleaned, tmp_path: Path) -> None:
    poisoned, kept = odd_folder.ids("poisoned"), odd_folder.ids("clean")
    assert poisoned
    for split, ids in (("poisoned", poisoned), ("clean", kept)):
        broken = any("\n" in one for one in ids)
        said = command(
            "export", odd_folder.output, tmp_path / split, "--as", "list", "--split", split
        )
        assert said.exit_code == (2 if broken else 0)
        assert ("give --null" in said.stderr) == broken
        assert (tmp_path / split).exists() != broken
    export(odd_folder.output, tmp_path / "list", as_="list", null=True, quiet=True)
    with (tmp_path / "list").open("rb") as file:
        subprocess.run(["xargs", "-0", "rm"], stdin=file, check=True)
    left = {os.fsencode(p.relative_to(odd_folder.input)) for p in odd_folder.input.rglob("*.png")}
    back = export(odd_folder.output, tmp_path / "back", quiet=True)
    assert back.samples == len(kept) == len(left)
    tree = {
        os.fsencode(p.relative_to(tmp_path / "back")) for p in (tmp_path / "back").rglob("*.png")
    }
    assert tree == left
    gone = export(odd_folder.output, tmp_path / "again", as_="list", quiet=True)
    assert (gone.samples, sum(gone.left_out.values())) == (0, len(poisoned))


def test_a_file_that_is_another_by_now_is_not_in_the_list(
    rows: list[dict[str, Any]], odd_folder: Cleaned, tmp_path: Path
) -> None:
    first = odd_folder.ids("poisoned")[0]
    (odd_folder.input / first).write_bytes(b"a new one")
    done = export(odd_folder.output, tmp_path / "list", as_="list", null=True, quiet=True)
    assert done.left_out == {"is not what was judged any more": 1}
    assert first.encode() not in (tmp_path / "list").read_bytes()


@pytest.mark.parametrize("kind", ["parquet", "tars"])
def test_a_list_of_what_is_no_file_is_one_line(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    of = request.getfixturevalue(kind)
    said = command("export", of.output, tmp_path / "list", "--as", "list")
    assert said.exit_code == 2
    assert said.stderr.count("\n") == 1
    assert "--as folder or --as webdataset" in said.stderr


# --- DEST -----------------------------------------------------------------------------------


def _stop_after(writes: int, error: BaseException, patch: pytest.MonkeyPatch) -> list[str]:
    """Let the next writes of images succeed, then fail; returns what was written."""
    written: list[str] = []
    write = Store.write

    def fail(store: Store, name: str, data: bytes, *, synced: bool = True) -> None:
        if not synced and len(written) >= writes:
            raise error
        write(store, name, data, synced=synced)
        if not synced:
            written.append(name)

    patch.setattr(Store, "write", fail)
    return written


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_stopped_export_goes_on(
    parquet: Cleaned, tmp_path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(parquet.output, tmp_path / "straight", quiet=True)
    monkeypatch.setattr("pipelines.exporting.destination.available_cores", lambda: 1)
    with monkeypatch.context() as patch:
        before = _stop_after(25, error, patch)
        with pytest.raises((RunError, KeyboardInterrupt)):
            export(parquet.output, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out" / MARK).exists()
    with monkeypatch.context() as patch:
        after = _stop_after(1000, error, patch)
        done = export(parquet.output, tmp_path / "out", quiet=True)
    assert done.samples == len(_tree(tmp_path / "straight"))
    assert _tree(tmp_path / "out") == _tree(tmp_path / "straight")
    assert len(after) < done.samples  # the shards that were finished are not written again
    assert {*before} | {*after} == _tree(tmp_path / "out").keys()
    assert not list(tmp_path.rglob(".part-*"))
    assert not (tmp_path / "out" / ".freqsan").exists()


def test_a_finished_export_is_left_as_it_is(parquet: Cleaned, tmp_path: Path) -> None:
    first = export(parquet.output, tmp_path / "out", quiet=True)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    said = command("export", parquet.output, tmp_path / "out")
    assert "already holds this very export" in said.stderr
    assert export(parquet.output, tmp_path / "out", quiet=True) == first
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == times
    next((tmp_path / "out").rglob("*.png")).unlink()
    with pytest.raises(RunError, match="is missing or altered"):
        export(parquet.output, tmp_path / "out", quiet=True)
    export(parquet.output, tmp_path / "out", overwrite=True, quiet=True)
    assert len(_tree(tmp_path / "out")) == first.samples


def test_only_an_export_is_replaced_and_nothing_else(parquet: Cleaned, tmp_path: Path) -> None:
    dest = tmp_path / "out"
    dest.mkdir()
    (dest / "mine.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="no export of freqsan has written"):
            export(parquet.output, dest, overwrite=overwrite, quiet=True)
    (dest / "mine.txt").unlink()
    export(parquet.output, dest, quiet=True)
    with pytest.raises(InputError, match="differs in --split"):
        export(parquet.output, dest, split="poisoned", quiet=True)
    (dest / "bee" / "mine.png").write_text("mine")
    with pytest.raises(InputError, match=r"also holds 'bee/mine\.png'"):
        export(parquet.output, dest, split="poisoned", overwrite=True, quiet=True)
    (dest / "bee" / "mine.png").unlink()
    done = export(parquet.output, dest, split="poisoned", overwrite=True, quiet=True)
    assert len(_tree(dest)) == done.samples == len(parquet.ids("poisoned"))


def test_nothing_outside_dest_is_written_or_removed(parquet: Cleaned, tmp_path: Path) -> None:
    dest, mine = tmp_path / "out", tmp_path / "mine"
    export(parquet.output, dest, quiet=True)
    mine.mkdir()
    (mine / "keep.png").write_text("mine")
    # A stranger's record names a file outside.
    names = {"name": [b"../mine/keep.png"], "bytes": [4]}
    pq.write_table(
        pa.table(names, pa.schema([("name", pa.binary()), ("bytes", pa.int64())])), dest / FILES
    )
    with pytest.raises(InputError, match="also holds"):
        export(parquet.output, dest, overwrite=True, quiet=True)
    (dest / "linked").symlink_to(mine)
    with pytest.raises(InputError, match="'linked' is a link"):
        export(parquet.output, dest, overwrite=True, quiet=True)
    assert (mine / "keep.png").read_text() == "mine"


@pytest.mark.parametrize("form", ["folder", "csv"])
def test_an_output_that_was_changed_is_not_exported(
    parquet: Cleaned, tmp_path: Path, form: str
) -> None:
    file = next((parquet.output / "data").glob("clean-*"))
    data = file.read_bytes()
    try:
        file.write_bytes(data[:99] + bytes([data[99] ^ 1]) + data[100:])
        said = command("export", parquet.output, tmp_path / "out", "--as", form)
    finally:
        file.write_bytes(data)
    assert said.exit_code == 1
    assert said.stderr.count("\n") == 1
    assert "is not what freqsan wrote" in said.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--as", "zip"), "--as: expected folder, webdataset, csv or list, got 'zip'"),
        (("--split", "all"), "--split: expected clean, poisoned or rejected, got 'all'"),
        (("--null",), "--null is about --as list"),
        (("--input", "x"), "--input has no effect"),
    ],
)
def test_wrong_usage_is_one_line(
    parquet: Cleaned, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = command("export", parquet.output, tmp_path / "out", *arguments)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_dest_is_apart_from_input_and_output(folder: Cleaned, tmp_path: Path) -> None:
    for dest in (folder.output / "x", folder.input / "x", folder.output.parent):
        with pytest.raises(InputError, match=r"lie within each other|no export of freqsan"):
            export(folder.output, dest, quiet=True)
    for dest in (folder.output / "scores" / "x.csv", tmp_path):
        with pytest.raises(InputError, match=r"lie within each other|is a folder"):
            export(folder.output, dest, as_="csv", quiet=True)
    (tmp_path / "v.csv").write_text("mine")
    with pytest.raises(InputError, match="holds something else; give --overwrite"):
        export(folder.output, tmp_path / "v.csv", as_="csv", quiet=True)
    export(folder.output, tmp_path / "v.csv", as_="csv", overwrite=True, quiet=True)
    said = command("export", folder.output, tmp_path / "v.csv", "--as", "csv", "--json")
    assert "already holds just that" in said.stderr
    assert (
        json.loads(said.stdout)["samples"] == len((tmp_path / "v.csv").read_text().splitlines()) - 1
    )


def test_dest_may_be_in_an_object_store(
    s3_bucket: str, folder: Cleaned, tars: Cleaned, tmp_path: Path
) -> None:
    import s3fs

    files = s3fs.S3FileSystem(use_listings_cache=False)
    done = export(folder.output, f"{s3_bucket}/back", quiet=True)
    export(folder.output, tmp_path / "back", quiet=True)
    found = files.find(f"{s3_bucket}/back")
    named = {name.partition("/back/")[2]: files.cat_file(name) for name in found}
    assert {n: d for n, d in named.items() if n not in (MARK, FILES)} == _tree(tmp_path / "back")
    assert export(folder.output, f"{s3_bucket}/back", quiet=True) == done
    export(tars.output, f"{s3_bucket}/tars", as_="webdataset", quiet=True)
    assert files.exists(f"{s3_bucket}/tars/deep/b.tar.gz")
    export(folder.output, f"{s3_bucket}/v.csv", as_="csv", quiet=True)
    export(folder.output, tmp_path / "v.csv", as_="csv", quiet=True)
    assert files.cat_file(f"{s3_bucket}/v.csv") == (tmp_path / "v.csv").read_bytes()


# --- What clean, score and scan leave -------------------------------------------------------


def test_load_dataset_reads_the_splits_of_an_output(folder: Cleaned) -> None:
    from datasets import load_dataset

    for split in ("clean", "poisoned"):
        whole = load_dataset(str(folder.output), split=split)
        streamed = load_dataset(str(folder.output), split=split, streaming=True)
        ids = [row["sample_id"] for row in streamed if row["image"].size == (32, 32)]
        assert ids == whole["sample_id"][:] == folder.ids(split)


@pytest.mark.parametrize("job", [clean, score, scan])
def test_any_reader_opens_the_folder_of_score_rows(
    rows: list[dict[str, Any]], tmp_path: Path, job: Callable[..., Any]
) -> None:
    import duckdb
    import pandas as pd
    import pyarrow.dataset

    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set.parquet")
    how: dict[str, Any] = {"shard_rows": 20, "allow_unjudged": True, "quiet": True}
    job(tmp_path / "set.parquet", tmp_path / "out", **how)
    scores = tmp_path / "out" / "scores"
    files = [path for path in scores.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert all(path.suffix == ".parquet" for path in files)
    ids = list(pd.read_parquet(scores)["sample_id"])
    assert sorted(ids) == sorted(f"set.parquet#{i}" for i in range(len(rows)))
    assert pyarrow.dataset.dataset(scores).to_table()["sample_id"].to_pylist() == ids
    count = duckdb.sql(f"SELECT count(DISTINCT sample_id) FROM '{scores}/*.parquet'").fetchone()
    assert count == (len(rows),)
