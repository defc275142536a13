"""Image folders: which files are samples, their labels and their ids."""

import os
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from datasets import Features
from reading import rows_of

from pipelines.sources import files, open_source
from sanitizer.errors import InputError
from sanitizer.images import decode


def test_class_folders_are_labels_and_bytes_are_kept(image_folder: Path) -> None:
    source = open_source(str(image_folder))
    rows = rows_of(source)
    assert source.kind == "image folder"
    assert (source.rows, len(rows)) == (13, 13)
    assert source.class_names == ("cat", "dog")
    assert [r["label"] for r in rows] == [0] * 7 + [1] * 6
    assert [r["sample_id"] for r in rows] == sorted(r["sample_id"] for r in rows)
    for row in rows:
        assert row["image"]["bytes"] == (image_folder / row["sample_id"]).read_bytes()
        assert row["image"]["path"] == row["sample_id"]
        assert decode(row["image"]["bytes"]).shape[1] == 32
    features = Features.from_arrow_schema(source.schema)
    assert features["label"].names == ["cat", "dog"]
    assert repr(features["image"]).startswith("Image(")


@pytest.mark.parametrize("shard_rows", [1, 3, 12, 13, 14])
def test_shards_cover_every_file_once(image_folder: Path, tmp_path: Path, shard_rows: int) -> None:
    whole = rows_of(open_source(str(image_folder)))
    cut = open_source(str(image_folder), shard_rows=shard_rows)
    assert rows_of(cut, batch_rows=2) == whole
    assert rows_of(cut, listing=tmp_path / "listing.arrow") == whole
    assert len(cut.shards) == -(-13 // shard_rows)


def test_flat_folder_has_no_labels(write_folder: Callable[..., Path]) -> None:
    source = open_source(str(write_folder("b.png", "a.png")))
    assert source.label_column is None
    assert source.class_names is None
    assert source.schema.names == ["image", "sample_id"]
    assert [r["sample_id"] for r in rows_of(source)] == ["a.png", "b.png"]


def test_image_beside_class_folders_has_a_null_label(write_folder: Callable[..., Path]) -> None:
    rows = rows_of(open_source(str(write_folder("x/a.png", "stray.png"))))
    assert {r["sample_id"]: r["label"] for r in rows} == {"stray.png": None, "x/a.png": 0}


def test_splits_must_be_chosen_and_share_their_labels(write_folder: Callable[..., Path]) -> None:
    root = str(write_folder("train/a/1.png", "train/b/2.png", "test/b/3.png"))
    with pytest.raises(InputError, match="found the splits test, train; choose one"):
        open_source(root)
    with pytest.raises(InputError, match="no split 'dev'; the splits are: test, train"):
        open_source(root, split="dev")
    source = open_source(root, split="test")
    assert source.class_names == ("a", "b")
    assert [(r["sample_id"], r["label"]) for r in rows_of(source)] == [("test/b/3.png", 1)]


def test_split_of_a_folder_without_splits_is_refused(write_folder: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="no split 'train'; the splits are: none"):
        open_source(str(write_folder("a/1.png")), split="train")


def test_unsupported_images_are_samples_and_others_are_counted(
    write_folder: Callable[..., Path],
) -> None:
    root = write_folder("a/1.tif", "a/2.HEIC", "a/3.png", "a/n.txt", "m.csv", "o.txt", "LICENSE")
    write_folder("a/.hidden.png", ".cache/1.png")
    source = open_source(str(root))
    assert [r["sample_id"] for r in rows_of(source)] == ["a/1.tif", "a/2.HEIC", "a/3.png"]
    (note,) = source.notes
    assert note.startswith("ignored 4 files other than images: .txt 2, ")


def test_links_are_followed_but_not_in_circles(write_folder: Callable[..., Path]) -> None:
    root = write_folder("a/1.png", "b/2.png")
    other = write_folder("3.png", folder="elsewhere")
    (root / "a" / "back").symlink_to(root)
    (root / "c").symlink_to(other)
    (root / "b" / "broken.png").symlink_to(root / "nothing")
    rows = {r["sample_id"]: r["image"]["bytes"] for r in rows_of(open_source(str(root)))}
    assert sorted(rows) == ["a/1.png", "b/2.png", "b/broken.png", "c/3.png"]
    assert rows["b/broken.png"] is None


def test_names_that_are_not_utf8_get_distinct_ids(write_folder: Callable[..., Path]) -> None:
    root = write_folder("a/1.png")
    for name in (b"a/\xff.png", b"a/\xfe.png", rb"a/\udcff.png", "a/ü\n.png".encode()):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(b"x")
    rows = rows_of(open_source(str(root)))
    assert len({r["sample_id"] for r in rows}) == 5
    assert all(r["image"]["bytes"] for r in rows)


def test_what_changed_or_vanished_since_it_was_listed_is_an_error(
    write_folder: Callable[..., Path], touch: Callable[[Path], None]
) -> None:
    root = write_folder("a/1.png", "a/2.png")
    source = open_source(str(root))
    image = root / "a" / "2.png"
    whole, status = image.read_bytes(), image.stat()
    touch(image)
    with pytest.raises(InputError, match=r"^a/2\.png: has changed since .* with --overwrite$"):
        rows_of(source)
    image.write_bytes(whole[:100])
    with pytest.raises(InputError, match=r"a/2\.png: has changed from [\d,]+ to 100 bytes"):
        rows_of(source)
    image.write_bytes(whole)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [r["image"]["bytes"] is None for r in rows_of(source)] == [False, False]
    image.unlink()
    with pytest.raises(InputError, match=r"a/2\.png: was there when .* any more \(No such file"):
        rows_of(source)
    root.rename(root.with_name("moved"))
    with pytest.raises(InputError, match="the folder is gone"):
        rows_of(source)


def test_shards_tell_a_changed_folder_from_an_unchanged_one(
    write_folder: Callable[..., Path], touch: Callable[[Path], None]
) -> None:
    root = write_folder("a/1.png", "a/2.png")
    (root / "a" / "broken.png").symlink_to(root / "nothing")
    locations = (str(root), f"file://{root}", str(root / "*" / "*.png"))
    before = [open_source(location).digest() for location in locations]
    assert [open_source(location).digest() for location in locations] == before
    touch(root / "a" / "2.png")
    after = [open_source(location).digest() for location in locations]
    assert all(a != b for a, b in zip(before, after, strict=True))


def test_remote_files_are_told_apart_by_what_their_file_system_says() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/changing/1.png", b"one")
    source = open_source("memory://changing")
    assert source.nbytes == 3
    assert rows_of(source)[0]["image"]["bytes"] == b"one"
    memory.pipe("/changing/1.png", b"other")
    with pytest.raises(InputError, match=r"1\.png: has changed from 3 to 5 bytes"):
        rows_of(source)
    assert open_source("memory://changing").digest() != source.digest()
    memory.rm("/changing/1.png")
    memory.pipe("/changing/2.png", b"")
    with pytest.raises(InputError, match=r"1\.png: was there when the run began"):
        rows_of(source)
    assert files._remote_stamp({"size": 1, "ETag": '"ab"', "mtime": 3}) == (1, "ab")


def test_batches_and_files_are_bounded_by_bytes(
    write_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder(*(f"{i}.png" for i in range(8)))
    (root / "huge.png").write_bytes(bytes(200_000))
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 100_000)
    monkeypatch.setattr("pipelines.sources.columns.BATCH_BYTES", 5_000)
    source = open_source(str(root))
    batches = [samples.batch for samples in source.reader.read(source.shards[0])]
    assert sum(b.num_rows for b in batches) == 9
    assert max(b.nbytes for b in batches) < 15_000
    assert batches[-1].to_pylist()[-1]["image"]["bytes"] is None


def test_what_is_no_input_is_refused_in_one_line(write_folder: Callable[..., Path]) -> None:
    root = write_folder("a/1.png", "b/set.parquet", "c/set.tar")
    write_folder("notes.txt", folder="text")
    (root / "empty").mkdir()
    cases = {
        str(root): "found both Parquet files and tars and images; name those to read with a glob",
        str(root / "empty"): "found no images, Parquet files or tars$",
        str(root.parent / "text"): "found no images, Parquet files or tars, only notes.txt",
        str(root / "missing"): "no such file or folder",
        str(root / "*.webp"): "no file matches",
        "unknown://bucket/set": "cannot be listed",
    }
    for location, message in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            open_source(location)
        assert "\n" not in str(caught.value)
        assert location in str(caught.value)


def test_columns_of_a_folder_are_fixed(write_folder: Callable[..., Path]) -> None:
    root = str(write_folder("a/1.png"))
    assert open_source(root, image_column="image", label_column="label").label_column == "label"
    with pytest.raises(InputError, match="no column 'kind'; the columns are image, label"):
        open_source(root, label_column="kind")


def test_empty_input_is_not_the_current_folder(
    write_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder("a/1.png")
    monkeypatch.chdir(root)
    for location in ("", "file://"):
        with pytest.raises(InputError, match="INPUT is empty"):
            open_source(location)
    assert (
        rows_of(open_source(root)) == rows_of(open_source(str(root))) == rows_of(open_source("."))
    )
    assert open_source(root).location == str(root)


@pytest.mark.parametrize(
    ("name", "reason"), [("x" * 5000, "File name too long"), ("a\0b", "embedded null byte")]
)
def test_location_that_cannot_be_looked_at_is_told_why(
    tmp_path: Path, name: str, reason: str
) -> None:
    with pytest.raises(InputError, match=rf": cannot be read \({reason}\)$") as caught:
        open_source(f"{tmp_path}/{name}")
    assert len(str(caught.value)) < 300
