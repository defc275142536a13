"""The files of an output: whole or not there, on this machine and on an object store."""

import errno
import os
import pickle
from contextlib import nullcontext
from pathlib import Path

import pytest

from pipelines.runs.layout import CLEAN
from pipelines.runs.store import Store
from sanitizer.files import TEMPORARY_PREFIX, is_temporary


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    if request.param == "local":
        return Store.at(tmp_path / "out")
    if request.param == "memory":
        return Store.at(f"memory://{tmp_path.name}/out")
    return Store.at(f"{request.getfixturevalue('s3_bucket')}/{tmp_path.name}")


def test_what_is_written_can_be_read_and_listed(store: Store) -> None:
    assert not store.exists()
    assert store.names() == []
    store.write("data/a.txt", b"one")
    store.write("data/a.txt", b"four")
    store.write_json(".freqsan/plan.json", {"name": "ü"})
    assert store.exists()
    assert store.read("data/a.txt") == b"four"
    assert store.size("data/a.txt") == 4
    assert store.read_json(".freqsan/plan.json") == {"name": "ü"}
    assert store.names() == ["data"]
    assert store.names("", ".*") == [".freqsan"]
    assert store.names("data", "*.txt") == ["data/a.txt"]
    assert store.names("data", "*.json") == []
    with store.open("data/a.txt") as file:
        file.seek(1)
        assert file.read() == b"our"


def test_what_is_missing_is_said_so(store: Store) -> None:
    assert store.size("nothing") is None
    assert not store.exists("nothing")
    assert store.names("nothing") == []
    with pytest.raises(FileNotFoundError):
        store.read("nothing")


def test_a_staged_file_is_not_there_until_it_is_published(store: Store) -> None:
    staged = store.stage("data/part-0.parquet")
    staged.write_bytes(b"whole")
    assert store.size("data/part-0.parquet") is None
    store.publish(staged, "data/part-0.parquet")
    assert store.read("data/part-0.parquet") == b"whole"
    assert not staged.exists()


def test_files_and_folders_are_removed(store: Store) -> None:
    store.write("data/a.txt", b"a")
    store.write("data/deep/b.txt", b"b")
    store.write("c.txt", b"c")
    store.remove("data/a.txt")
    assert store.names("data") == ["data/deep"]
    store.remove("data")
    store.remove("data")
    assert store.names() == ["c.txt"]


def test_a_store_travels_as_its_address_and_sees_what_others_write(store: Store) -> None:
    other = pickle.loads(pickle.dumps(store))
    assert other == store
    assert other.names("data") == []
    store.write("data/a.txt", b"a")
    assert other.names("data") == ["data/a.txt"]


def test_a_relative_path_means_the_same_place_in_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store.at("out")
    monkeypatch.chdir("/")
    store.write("a.txt", b"a")
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"a"


def test_half_written_files_of_killed_workers_are_removed(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    staged = store.stage("data/part-0.parquet")
    staged.write_bytes(b"half")
    assert staged.name.startswith(TEMPORARY_PREFIX)
    store.write("data/whole.txt", b"whole")
    store.remove_leftovers()
    assert os.listdir(tmp_path / "data") == ["whole.txt"]  # noqa: PTH208


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    store.write("a.txt", b"old")
    with pytest.raises(ValueError, match="Out of range"):
        store.write_json("a.txt", float("nan"))
    assert store.read("a.txt") == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]  # noqa: PTH208


def test_a_pattern_in_a_name_removes_nothing_else(store: Store) -> None:
    store.write("aXb/kept.txt", b"kept")
    for name in ("a*b/gone.txt", "[x]/gone.txt"):
        store.write(name, b"gone")
        store.remove(name.partition("/")[0])
        assert store.size(name) is None
    assert store.read("aXb/kept.txt") == b"kept"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is asked of the system, in order, each with the name of its file."""
    made: list[tuple[str, str]] = []
    sync, replace = os.fsync, Path.replace

    def recorded_sync(handle: int) -> None:
        made.append(("sync", Path(f"/proc/self/fd/{handle}").resolve().name))
        sync(handle)

    def recorded_replace(self: Path, target: Path) -> Path:
        made.append(("rename", self.name))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recorded_sync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    return made


def test_a_file_is_on_the_disk_before_its_name_and_its_name_before_what_follows(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    store = Store.at(tmp_path / "out")
    store.write("data/a.txt", b"a")
    staged = store.stage("b.txt")
    staged.write_bytes(b"b")
    store.publish(staged, "b.txt")
    temporary = calls[0][1]
    assert is_temporary(temporary)
    assert calls == [
        *(("sync", temporary), ("rename", temporary), ("sync", "data")),
        *(("sync", staged.name), ("rename", staged.name), ("sync", "out")),
    ]


@pytest.mark.parametrize(
    ("code", "is_fine"),
    [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False), (errno.ENOSPC, False)],
)
def test_only_a_file_system_that_knows_no_sync_may_refuse_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, is_fine: bool
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    store = Store.at(tmp_path)
    with nullcontext() if is_fine else pytest.raises(OSError, match=os.strerror(code)):
        store.write("a.txt", b"a")
    assert os.listdir(tmp_path) == ["a.txt"] * is_fine  # noqa: PTH208


def test_only_shards_of_the_number_asked_for_are_listed(store: Store) -> None:
    names = ["00000-of-00002", "00001-of-00002", "00000-of-00009", "mine", "1-of-2"]
    for name in names:
        store.write(f"data/clean-{name}.parquet", b"")
    two = ["data/clean-00000-of-00002.parquet", "data/clean-00001-of-00002.parquet"]
    assert store.shards(CLEAN, 2) == two
    assert sorted(store.shards(CLEAN)) == sorted([*two, "data/clean-00000-of-00009.parquet"])


def test_a_file_may_have_as_long_a_name_as_the_disk_takes(tmp_path: Path) -> None:
    name = "\N{SNOWMAN}" * 83 + ".jpg"  # 253 bytes
    Store.at(tmp_path).write(name, b"an image")
    assert [file.name for file in tmp_path.iterdir()] == [name]
