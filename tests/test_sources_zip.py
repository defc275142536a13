"""Zips of image folders: read as the folder would be, and harmless whatever they claim."""

import io
import random
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from reading import files_of, reasons_of, rows_of

from pipelines.sources import archives, files, open_source
from sanitizer.errors import InputError
from sanitizer.images import ImageError, decode

Members = dict[str, bytes]


@pytest.fixture
def images(real_images: list[bytes]) -> list[bytes]:
    return real_images[:4]


def write_zip(path: Path, members: Members, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize("outer", ["", "photos/"])
def test_a_zip_is_read_as_its_folder(
    images: list[bytes], tmp_path: Path, method: int, outer: str
) -> None:
    names = ["cat/a.png", "cat/b.png", "dog/c.PNG"]
    members = {f"{outer}{n}": data for n, data in zip(names, images, strict=False)}
    zip_path = write_zip(tmp_path / "set.zip", members | {f"{outer}cat/": b""}, method)
    folder = tmp_path / "folder"
    for name, data in zip(names, images, strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    source, expected = open_source(zip_path), open_source(folder)
    assert source.kind == "zip"
    assert source.schema.equals(expected.schema, check_metadata=True)
    assert (source.class_names, source.rows, source.notes) == (("cat", "dog"), 3, ())
    rows = rows_of(source)
    assert [r["sample_id"] for r in rows] == [outer + r["sample_id"] for r in rows_of(expected)]
    assert [(r["image"]["bytes"], r["label"]) for r in rows] == [
        (r["image"]["bytes"], r["label"]) for r in rows_of(expected)
    ]
    assert files_of(source) == ["set.zip"] * 3


@pytest.mark.parametrize("shard_rows", [1, 2, 3])
def test_shards_read_their_own_members(
    images: list[bytes], tmp_path: Path, shard_rows: int
) -> None:
    path = write_zip(tmp_path / "set.zip", {f"{i}.png": data for i, data in enumerate(images)})
    source = open_source(path, shard_rows=shard_rows)
    rows = rows_of(source, batch_rows=2, listing=tmp_path / "units")
    assert [row["image"]["bytes"] for row in rows] == images


def test_tables_and_splits_within_are_read(images: list[bytes], tmp_path: Path) -> None:
    members = {"set/train/a.png": images[0], "set/test/b.png": images[1]}
    members |= {
        "set/train/metadata.csv": b"file_name,label,text\na.png,3,x\ngone.png,4,y\n",
        "set/test/metadata.csv": b"file_name,label,text\nb.png,5,z\n",
    }
    path = write_zip(tmp_path / "set.zip", members)
    with pytest.raises(InputError, match="found the splits test, train; choose one"):
        open_source(path)
    source = open_source(path, split="train")
    (row,) = rows_of(source)
    assert (row["sample_id"], row["label"], row["text"]) == ("set/train/a.png", 3, "x")
    assert source.notes == ("left out 1 row of set/train/metadata.csv without an image: gone.png",)
    assert [p.to_pylist() for p in open_source(f"{path}:test").labels()] == [[5]]


def test_several_zips_are_one_set(images: list[bytes], tmp_path: Path) -> None:
    root = tmp_path / "zips"
    root.mkdir()
    write_zip(root / "a.zip", {"cat/1.png": images[0], "dog/1.png": images[1]})
    write_zip(root / "b.zip", {"cat/1.png": images[2]})
    (root / "README.md").write_text("two zips")
    source = open_source(root)
    assert [(r["sample_id"], r["label"]) for r in rows_of(source)] == [
        ("a.zip/cat/1.png", 0),
        ("a.zip/dog/1.png", 1),
        ("b.zip/cat/1.png", 0),
    ]
    assert source.notes == ("ignored 1 file other than zips: .md 1",)
    (root / "a.zip").rename(root / "train.zip")
    (root / "b.zip").rename(root / "test.zip")
    assert [r["sample_id"] for r in rows_of(open_source(f"{root}:test"))] == ["cat/1.png"]
    (root / "x.png").write_bytes(images[0])
    assert open_source(root).kind == "image folder"


def test_hidden_and_other_members_are_told_of(images: list[bytes], tmp_path: Path) -> None:
    members = {"a.png": images[0], "__MACOSX/._a.png": b"x", ".b.png": images[1], "n.txt": b"x"}
    source = open_source(write_zip(tmp_path / "set.zip", members))
    assert [row["sample_id"] for row in rows_of(source)] == ["a.png"]
    assert source.notes == (
        "left out 2 hidden files: .b.png, __MACOSX/._a.png",
        "ignored 1 file other than images: .txt 1",
    )
    with pytest.raises(InputError, match=r"found no images in the zip; ignored 1 file other than"):
        open_source(write_zip(tmp_path / "none.zip", {"n.txt": b"x"}))


def test_what_cannot_be_read_has_its_own_reason(
    images: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.png", images[0])
        for name in ("../up.png", "/root.png", "x/../y.png", "C:/z.png", "x//y.png"):
            opened.writestr(name, images[1])
        opened.writestr("win\\b.png", images[1])
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
        opened.writestr("big.png", bytes(2 << 20))
        opened.writestr("bz2.png", images[1], zipfile.ZIP_BZIP2)
        opened.writestr("secret.png", images[2])
        with pytest.warns(UserWarning, match="Duplicate name"):
            opened.writestr("a.png", images[3])
    data = bytearray(path.read_bytes())
    at = data.rindex(b"secret.png") - 46
    data[at + 8] |= 1
    path.write_bytes(data)
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 1 << 20)
    source = open_source(path)
    reasons = reasons_of(source)
    out = "name out of the zip: "
    starts = {f"set.zip#{n}": out for n in range(1, 6)} | {
        "link.png": "link in a zip: ", "big.png": "file too large: 2,097,152 bytes",
        "bz2.png": "unsupported compression: packed in way 12", "secret.png": "encrypted: ",
    }  # fmt: skip
    assert reasons.keys() == starts.keys()
    for sample_id, start in starts.items():
        assert reasons[sample_id].startswith(start)
    read = {r["sample_id"]: r["image"]["bytes"] for r in rows_of(source)}
    assert read["a.png"] == images[0]
    assert read["a.png##2"] == images[3]
    assert read["win/b.png"] == images[1]


def test_an_encrypted_zip_is_one_line(images: list[bytes], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", {"a.png": images[0]})
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(
        InputError, match="none of its 1 images can be read, the first as encrypted"
    ):
        open_source(path)


def directory_entry(name: bytes, start: int, packed: int, size: int, checksum: int) -> bytes:
    return (
        struct.pack(
            *("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 33, checksum, packed, size),
            *(len(name), 0, 0, 0, 0, 0, start),
        )
        + name
    )


def forged(data: bytes, entries: list[bytes]) -> bytes:
    """An archive with a directory of one's own."""
    directory = b"".join(entries)
    count = len(entries)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), len(data), 0)
    return data + directory + end


def local(name: bytes, packed: bytes) -> bytes:
    return (
        struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 33, 0, 0, 0, len(name), 0) + name + packed
    )


def test_bombs_do_not_go_off(images: list[bytes], tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=-15)
    bomb = packer.compress(bytes(100 << 20)) + packer.flush()
    data = local(b"a.png", bomb)
    path = tmp_path / "set.zip"
    # It claims to be small; is there a thousand times; lies beyond the end; and before the start.
    entries = [directory_entry(b"a.png", 0, len(bomb), 1000, 0)]
    entries += [directory_entry(b"b%d.png" % n, 0, len(bomb), 100 << 20, 0) for n in range(1000)]
    entries += [directory_entry(b"c.png", len(data) + 5, 10, 10, 0)]
    path.write_bytes(forged(data, entries))
    source = open_source(path)
    reasons = reasons_of(source)
    assert len(reasons) == source.rows == 1002
    assert reasons["a.png"].startswith("truncated or corrupt: is not what the zip says of its size")
    assert reasons["b7.png"] == "overlapping files: shares its bytes in the zip with another"
    assert reasons["c.png"].startswith("truncated or corrupt: ")


def test_a_directory_beyond_all_measure_is_refused(
    images: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_DIRECTORY", 1 << 10)
    path = write_zip(tmp_path / "set.zip", {f"{i}.png": images[0] for i in range(100)})
    with pytest.raises(
        InputError, match=r"set\.zip: cannot be read as a zip \(a directory of more"
    ):
        open_source(path)


@pytest.mark.parametrize("data", [b"", b"PK\3\4 and no more", b"PK\5\6" + b"\xff" * 18])
def test_what_is_no_zip_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "set.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"^set\.zip: cannot be read as a zip \("):
        open_source(tmp_path / "set.zip")


def test_changed_bytes_never_do_more_than_refuse(images: list[bytes], tmp_path: Path) -> None:
    members = {f"x/{i}.png": data for i, data in enumerate(images)}
    whole = write_zip(tmp_path / "set.zip", members | {"metadata.csv": b"file_name\nx/1.png\n"})
    original = whole.read_bytes()
    directory = original.index(b"PK\1\2")
    rng = random.Random(5)
    read = 0
    for _ in range(400):
        data = bytearray(original)
        for _ in range(rng.randint(1, 4)):
            at = rng.choice((rng.randrange(len(data)), rng.randrange(directory, len(data))))
            data[at] = rng.choice((0, 0xFF, rng.randrange(256)))
        whole.write_bytes(data)
        try:
            for row in rows_of(open_source(whole)):
                image = row["image"]["bytes"]
                assert image is None or image in images
                read += image is not None
        except InputError:
            continue
    assert read > 200


def test_a_zip_that_changes_is_noticed(
    images: list[bytes], tmp_path: Path, touch: Callable[[Path], None]
) -> None:
    path = write_zip(tmp_path / "set.zip", {"a.png": images[0]})
    source = open_source(path)
    touch(path)
    with pytest.raises(
        InputError, match=r"^set\.zip: has changed since the run began; start again"
    ):
        rows_of(source)
    assert open_source(path).digest() != source.digest()


def test_a_zip_in_a_store_is_read(images: list[bytes], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", {"x/a.png": images[0], "y/b.png": images[1]})
    fsspec.filesystem("memory").put(str(path), "memory://zips/set.zip")
    rows = rows_of(open_source("memory://zips/set.zip"))
    assert [row["image"]["bytes"] for row in rows] == images[:2]
    with pytest.raises(ImageError):
        decode(b"")


def test_a_zip64_with_a_prefix_is_read(images: list[bytes], tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened, opened.open("a.png", "w", force_zip64=True) as f:
        f.write(images[0])
    (tmp_path / "set.zip").write_bytes(b"#!/bin/sh\n" + buffer.getvalue())
    (row,) = rows_of(open_source(tmp_path / "set.zip"))
    assert row["image"]["bytes"] == images[0]
