"""Image folders: which files are samples, their labels and their ids."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest
from datasets import Features
from reading import reasons_of, rows_of

from pipelines.sources import files, open_source, remote
from sanitizer.errors import InputError
from sanitizer.images import ImageError, decode


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
    with pytest.raises(InputError, match="no split 'train'; the set has none, leave it out"):
        open_source(str(write_folder("a/1.png")), split="train")


def test_unsupported_images_are_samples_and_others_are_counted(
    write_folder: Callable[..., Path],
) -> None:
    root = write_folder("a/1.tif", "a/2.HEIC", "a/3.png", "a/n.txt", "m.csv", "o.txt", "LICENSE")
    source = open_source(str(root))
    assert [r["sample_id"] for r in rows_of(source)] == ["a/1.tif", "a/2.HEIC", "a/3.png"]
    (note,) = source.notes
    assert note.startswith("ignored 4 files other than images: .txt 2, ")


def test_links_inside_are_followed_but_not_in_circles(write_folder: Callable[..., Path]) -> None:
    root = write_folder("a/1.png", "b/2.png")
    (root / "a" / "back").symlink_to(root)
    (root / "c").symlink_to("b")
    (root / "b" / "again.png").symlink_to("../a/1.png")
    link = root.with_name("link")
    link.symlink_to(root)
    for location in (root, link, root / "*" / "*.png"):
        source = open_source(str(location))
        noted = "left out 1 circular link: a/back"
        assert source.notes == (() if location.name == "*.png" else (noted,))
        names = ["a/1.png", "b/2.png", "b/again.png", "c/2.png", "c/again.png"]
        assert [row["sample_id"] for row in rows_of(source)] == names
        assert not reasons_of(source)


def test_hidden_files_are_counted_and_hidden_folders_not_entered(
    write_folder: Callable[..., Path],
) -> None:
    root = write_folder("a/1.png", "a/.2.png", "a/._1.png", ".DS_Store", ".c/3.png", ".c/4.png")
    write_folder("a/.ipynb_checkpoints/.5/6.png")
    folders = "left out 2 hidden folders: .c, a/.ipynb_checkpoints"
    both = ("left out 3 hidden files: .DS_Store, a/.2.png, a/._1.png", folders)
    pictures = "left out 2 hidden files: a/.2.png, a/._1.png"
    fsspec.filesystem("memory").put(str(root), "memory://hidden", recursive=True)
    for location in (str(root), "memory://hidden"):
        notes = {p: open_source(location + p).notes for p in ("", "/**/*.png", "/*/*.png")}
        one_down = (pictures, "left out 1 hidden folder: .c")
        assert notes == {"": both, "/**/*.png": (pictures, folders), "/*/*.png": one_down}
        assert len(rows_of(open_source(location))) == 1
    (root / "a" / "1.png").unlink()
    with pytest.raises(InputError, match=r"found no images.*; left out 3 hidden files: \.DS_St"):
        open_source(root)


@pytest.mark.parametrize("pattern", ["", "/**/*.png", "/*/*.png"])
def test_links_out_of_the_input_are_not_followed(
    write_folder: Callable[..., Path], pattern: str
) -> None:
    root = write_folder("a/1.png")
    other = write_folder("secret.png", "more/2.png", folder="elsewhere")
    (root / "a" / "direct.png").symlink_to(other / "secret.png")
    (root / "a" / "chain.png").symlink_to("direct.png")
    (root / "a" / "folder.png").symlink_to(other)
    (root / "a" / "more").symlink_to(other / "more")
    (root / "a" / "null.png").symlink_to("/dev/null")
    source = open_source(f"{root}{pattern}")
    leads = "link out of INPUT: leads to {} and was not followed; give --follow-links to follow"
    reasons = reasons_of(source)
    assert sorted(reasons) == [f"a/{n}.png" for n in ("chain", "direct", "folder", "null")]
    assert reasons["a/chain.png"].startswith(leads.format(other / "secret.png"))
    assert reasons["a/folder.png"].startswith(leads.format(other))
    noted = "left out 1 link out of INPUT: a/more; give --follow-links to follow such links"
    assert source.notes == (() if pattern == "/*/*.png" else (noted,))

    followed = open_source(f"{root}{pattern}", follow_links=True)
    assert not reasons_of(followed)
    assert {"a/chain.png", "a/direct.png"} < {row["sample_id"] for row in rows_of(followed)}
    assert followed.digest() != source.digest()
    if "**" in pattern or not pattern:
        names = {row["sample_id"] for row in rows_of(followed)}
        assert {"a/folder.png/secret.png", "a/more/2.png"} < names


def test_folder_of_links_elsewhere_says_how_to_follow_them(
    write_folder: Callable[..., Path],
) -> None:
    other = write_folder("1.png", "2.png", folder="elsewhere")
    farm = other.with_name("farm")
    farm.mkdir()
    (farm / "1.png").symlink_to(other / "1.png")
    message = rf"all of its images \(1\) are links out of INPUT, such as 1.png to {other}/1.png; "
    with pytest.raises(InputError, match=message):
        open_source(farm)
    assert len(rows_of(open_source(farm, follow_links=True))) == 1
    (farm / "1.png").unlink()
    (farm / "cats").symlink_to(other)
    with pytest.raises(
        InputError, match=r"found no images.*left out 1 link out of INPUT: cats; gi"
    ):
        open_source(farm)
    with pytest.raises(
        InputError, match=r"found no images.*left out 1 link out of INPUT: cats; gi"
    ):
        open_source(farm / "*" / "*.png")
    assert open_source(farm, follow_links=True).class_names == ("cats",)


@pytest.mark.parametrize("name", ["a.parquet", "a.tar"])
def test_a_part_of_a_set_that_links_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    other = tmp_path / "elsewhere" / name
    other.parent.mkdir()
    other.touch()
    root = tmp_path / "set"
    root.mkdir()
    (root / name).symlink_to(other)
    for location in (root, root / f"*{other.suffix}"):
        with pytest.raises(InputError, match=f"{name} is a link to {other}, outside INPUT; give -"):
            open_source(location)
        with pytest.raises(InputError, match="cannot be read as"):  # it was opened
            open_source(location, follow_links=True)
    with pytest.raises(InputError, match="cannot be read as"):  # the user names the link itself
        open_source(root / name)


def test_a_link_put_in_place_of_a_file_is_noticed(write_folder: Callable[..., Path]) -> None:
    root = write_folder("a/1.png", "a/2.png")
    secret = write_folder("1.png", folder="elsewhere") / "1.png"
    status = (root / "a" / "1.png").stat()
    os.utime(secret, ns=(status.st_atime_ns, status.st_mtime_ns))
    for place, target in ((root / "a" / "1.png", secret), (root / "a", secret.parent)):
        source = open_source(root)
        place.rename(place.with_name("kept"))
        place.symlink_to(target)
        with pytest.raises(InputError, match=r"^a/1\.png: leads out of INPUT, as it did not when"):
            rows_of(source)
        place.unlink()
        place.with_name("kept").rename(place)


def test_a_link_put_in_while_a_file_is_opened_is_not_followed(
    write_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder("a/1.png")
    secret = write_folder("1.png", folder="elsewhere") / "1.png"
    status = (root / "a" / "1.png").stat()
    os.utime(secret, ns=(status.st_atime_ns, status.st_mtime_ns))
    source = open_source(root)
    relpath = os.path.relpath

    def swapping(path: str, start: str) -> str:
        """Called after the path was found to lie inside, and before it is opened."""
        (root / "a").rename(root / "kept")
        (root / "a").symlink_to(secret.parent)
        return relpath(path, start)

    monkeypatch.setattr(os.path, "relpath", swapping)
    assert list(reasons_of(source)) == ["a/1.png"]


def test_every_file_that_cannot_be_read_has_its_own_reason(
    write_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder("a/1.png", "a/big.png")
    (root / "a" / "dead.png").symlink_to(root / "nothing")
    (root / "a" / "dead-outside.png").symlink_to("/nothing/here")
    (root / "a" / "circle.png").symlink_to("circle.png")
    (root / "a" / "empty.png").touch()
    monkeypatch.setattr(files, "MAX_FILE_BYTES", (root / "a" / "1.png").stat().st_size)
    (root / "a" / "big.png").write_bytes(bytes(files.MAX_FILE_BYTES + 1))
    source = open_source(root)
    reasons = reasons_of(source)
    limit = files.MAX_FILE_BYTES
    assert reasons == {
        "a/big.png": f"file too large: {limit + 1:,} bytes, the limit is {limit:,}",
        "a/circle.png": "broken link: leads back to itself",
        "a/dead.png": f"broken link: leads to {root}/nothing, which does not exist",
        "a/dead-outside.png": "broken link: leads to /nothing/here, which does not exist",
    }
    rows = {row["sample_id"]: row["image"]["bytes"] for row in rows_of(source)}
    with pytest.raises(ImageError, match="no bytes: expected an encoded image, found zero bytes"):
        decode(rows["a/empty.png"])


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that users without any rights can reach, as those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@contextmanager
def no_privileges() -> Iterator[None]:
    """As a user who may not read everything, also where the tests run as root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_files_and_folders_without_permission_are_named(
    reachable: Path, real_images: list[bytes]
) -> None:
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        (reachable / name).parent.mkdir(exist_ok=True)
        (reachable / name).write_bytes(real_images[0])
    (reachable / "a" / "2.png").chmod(0)
    (reachable / "a" / "link.png").symlink_to(reachable / "b" / "3.png")
    no_permission = "no permission: this user may not read the file"
    with no_privileges():
        source = open_source(reachable)
        assert reasons_of(source) == {"a/2.png": no_permission}
    (reachable / "b").chmod(0)
    with no_privileges():
        for location in (reachable, reachable / "**" / "*.png", reachable / "*" / "*.png"):
            with pytest.raises(
                InputError, match=r"/b/: cannot be listed \(Permission denied\); permit it, or"
            ):
                open_source(location)
        source = open_source(reachable / "a*" / "*.png")
        assert reasons_of(source) == dict.fromkeys(("a/2.png", "a/link.png"), no_permission)


def test_pipes_sockets_and_devices_are_counted_and_never_opened(
    write_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder("a/1.png", "a/2.png")
    os.mkfifo(root / "a" / "pipe.png")
    os.mkfifo(root / "state.json")
    monkeypatch.chdir(root)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("a/socket.png")
        (root / "a" / "zero.png").symlink_to("/dev/zero")
        source = open_source(root, follow_links=True)
        notes = (
            "left out 1 device: a/zero.png",
            "left out 2 named pipes: a/pipe.png, state.json",
            "left out 1 socket: a/socket.png",
        )
        assert source.notes == notes
        matched = open_source(f"{root}/[a]/*.png", follow_links=True)
        assert matched.notes == (notes[0], "left out 1 named pipe: a/pipe.png", notes[2])
    assert len(rows_of(source)) == len(rows_of(matched)) == 2
    for special, kind in ((root / "a" / "pipe.png", "named pipe"), ("/dev/zero", "device")):
        with pytest.raises(InputError, match=f"^{special} is a {kind}; expected a file, a folder"):
            open_source(special)
    with pytest.raises(InputError, match=r"no file matches; left out 1 named pipe: a/pipe\.png$"):
        open_source(root / "*" / "p*")
    (root / "a" / "2.png").unlink()
    os.mkfifo(root / "a" / "2.png")
    with pytest.raises(InputError, match=r"a/2\.png: was there when .*is a named pipe, expected"):
        rows_of(source)


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
    assert remote.entry("x", {"size": 1, "ETag": '"ab"', "mtime": 3})[1:] == (1, "ab")


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
        str(root): "found both Parquet files and tars and images; name those to read with a glob, "
        r"as in '.*/\*\*/\*\.parquet'$",
        str(root / "empty"): "found no images, Parquet files or tars: it is empty$",
        str(root.parent / "text"): "found no images, Parquet files or tars, only notes.txt",
        str(root.parent / "text" / "notes.txt"): "or tars: .txt is none of them$",
        str(root / "missing"): "no such file or folder",
        str(root / "*.webp"): r"no file matches; folders below are taken in by \*\*$",
        str(root / "**/*.webp"): "no file matches$",
        "unknown://bucket/set": "cannot be listed",
        "memory:/bucket/set": "no such file or folder; an address is written memory://bucket/set$",
        "Memory://bucket/set": "no such file or folder; an address is written memory://bucket/set$",
        "memory://": "names nothing; expected memory://… with a folder or file$",
        "memory://none/*.png": "no file matches, as there is no memory://none$",
        f"file:{root}": f"no such file or folder; an address is written file://{root}$",
    }
    for location, message in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            open_source(location)
        assert "\n" not in str(caught.value)
        assert location in str(caught.value)


def test_what_is_there_is_not_called_missing(
    write_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder("Cat.png", "b/1.png")
    monkeypatch.chdir(root)
    (root / "dead").symlink_to("/no/where")
    home = Path("~").expanduser()
    cases = {
        "dead": "dead is a link to /no/where, which does not exist",
        "Cat.png/b": f"Cat.png/b: no such file or folder, as {root}/Cat.png is a file",
        "cat.png": "cat.png: no such file or folder; there is Cat.png",
        "CAT": "CAT: no such file or folder; there is Cat.png",
        "file:Cat.png": "file:Cat.png: no such file or folder, nor a set file with such a split; "
        f"an address is written file://{root}/Cat.png",
        "c:train": "c:train: no such file or folder, nor a set c with such a split",
        "~/none": "~/none: no such file or folder; a ~ in quotes or behind = is no home folder, "
        f"write {home}/…",
        "none": "none: no such file or folder",
    }
    for location, message in cases.items():
        with pytest.raises(InputError) as caught:
            open_source(location)
        assert str(caught.value) == message


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
