"""``s3://`` everywhere, on a stand-in for S3 on this machine, and all that can go wrong there."""

import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from commands import run, signal_when, start
from failing_store import Failure, Proxy, failing, proxy
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from outputs import table_of
from samples import with_one_trigger

from detector.bundled import BUNDLED, DEFAULT_DETECTOR
from freqsan import clean, ingest
from pipelines.jobs.demo import SAMPLE
from pipelines.runs import layout, lock
from pipelines.runs.store import Store
from pipelines.sources import open_source, remote
from sanitizer.errors import InputError
from sanitizer.scan.scan import LEAST_PICTURES

#: Images of the folder that is read under failures.
IMAGES = 12


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return [row["bytes"] for row in pq.read_table(str(SAMPLE))["image"].to_pylist()[:IMAGES]]


@pytest.fixture(scope="module")
def before_store(s3_bucket: str) -> Iterator[Proxy]:
    """A proxy before the stand-in, by which all requests go."""
    with proxy(os.environ["AWS_ENDPOINT_URL"]) as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", made.address)
        _forget()
        yield made
    _forget()


@pytest.fixture
def store(before_store: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The same, with nothing wrong yet, and short pauses."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    _forget()
    before_store.requests.clear()
    yield before_store
    before_store.fails, before_store.page = (lambda method, path: None), None
    _forget()


def _forget() -> None:
    """Let no file system live on that knows of other settings."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def photos(store: Proxy, s3_bucket: str, images: list[bytes], tmp_path: Path) -> Store:
    """A folder of images in the store, of a name of its own."""
    folder = Store.at(f"{s3_bucket}/photos-{tmp_path.name}")
    for i, image in enumerate(images):
        folder.write(f"{'cat' if i % 2 else 'dog'}/{i:02d}.png", image)
    store.requests.clear()
    return folder


def read_into(output: Path, images: list[bytes]) -> None:
    """See that all images are in an output of ``ingest``, byte for byte."""
    rows = pq.read_table(output / "data").to_pylist()
    assert sorted(row["image"]["bytes"] for row in rows) == sorted(images)


# --- What passes by itself ------------------------------------------------------------------


@pytest.mark.parametrize(
    "fails",
    [
        failing(Failure(503, "SlowDown", "Reduce your request rate."), "GET", "cat/01", times=3),
        failing(Failure(500, "InternalError"), "HEAD", "cat/01", times=1),
        failing(Failure(bytes=100), "GET", "cat/01", times=2),
        failing(Failure(bytes=0), "GET", "cat/01", times=1),
        failing(Failure(silent=True), "GET", "cat/01", times=1),
        failing(Failure(bytes=300), "GET", "list-type", after=2, times=2),
        failing(Failure(503, "SlowDown"), "GET", "list-type", after=1, times=3),
        failing(Failure(silent=True), "GET", "list-type", after=1, times=1),
    ],
    ids=["503", "500", "cut", "empty", "slow", "page cut", "page 503", "page slow"],
)
def test_what_fails_for_a_moment_is_asked_for_again(
    store: Proxy,
    photos: Store,
    images: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: object,
) -> None:
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 2}})
    store.fails, store.page = fails, 5
    done = run("ingest", photos.address, tmp_path / "out", "--quiet")
    assert (done.exit_code, done.stderr) == (0, "")
    read_into(tmp_path / "out", images)


def test_an_image_costs_two_requests_and_a_thousand_of_a_listing_one(
    store: Proxy, photos: Store
) -> None:
    source = open_source(photos.address)
    assert (store.asked("HEAD"), store.asked("GET", "list-type")) == (1, 2)
    store.requests.clear()
    assert sum(map(len, source.samples())) == IMAGES
    assert (store.asked("HEAD"), store.asked("GET")) == (IMAGES, IMAGES)


# --- What does not --------------------------------------------------------------------------

_DENIED = Failure(403, "AccessDenied", "Access Denied")
_EXPIRED = Failure(400, "ExpiredToken", "The provided token has expired.")


@pytest.mark.parametrize(
    ("fails", "code", "told", "cure"),
    [
        (failing(Failure(bytes=100), "GET", "cat/01"), 1, "cat/01.png: cannot be read", "reached"),
        (failing(Failure(503, "ServiceUnavailable"), "GET", "cat/01"), 1, "be read", "reached"),
        (failing(Failure(silent=True), "GET", "cat/01"), 1, "cannot be read", "reached"),
        (failing(_DENIED, "GET", "cat/01"), 2, "cannot be read (Access Denied)", "permit it"),
        (failing(_DENIED, "HEAD", "cat/01"), 2, "cannot be read (Forbidden)", "permit it"),
        (failing(_EXPIRED, "GET", "cat/01"), 2, "has expired.)", "renew them"),
        (failing(_EXPIRED, "GET", "list-type"), 2, "cannot be listed (The prov", "renew them"),
        (failing(_DENIED, "GET", "list-type", after=3), 2, "cannot be listed", "permit it"),
        (failing(Failure(bytes=200), "GET", "list-type", after=3), 1, "be listed", "reached"),
    ],
)
def test_what_a_store_does_not_give_ends_the_run_and_rejects_no_image(
    store: Proxy,
    photos: Store,
    images: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: object,
    code: int,
    told: str,
    cure: str,
) -> None:
    """One line; and the same command goes on when the store is well again."""
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 0.3}})
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store.fails, store.page = fails, 5
    command = ["ingest", photos.address, tmp_path / "out", "--quiet", "--shard-rows", 4]
    failed = run(*command)
    assert failed.exit_code == code
    assert failed.stderr.startswith(f"freqsan: {photos.address}"), failed.stderr
    assert failed.stderr.count("\n") == 1
    assert told in failed.stderr
    assert cure in failed.stderr
    assert "run the same command again" in failed.stderr
    assert not (tmp_path / "out" / layout.MANIFEST).exists()
    monkeypatch.delitem(fsspec.config.conf, "s3")
    _forget()
    store.fails = lambda method, path: None
    assert run(*command).exit_code == 0
    read_into(tmp_path / "out", images)


@pytest.mark.parametrize(
    ("kind", "fails", "code"),
    [
        ("parquet", failing(Failure(bytes=500), "GET", "set.parquet", after=1), 1),
        ("parquet", failing(_DENIED, "GET", "set.parquet", after=3), 2),
        ("tar", failing(Failure(bytes=2000), "GET", "set.tar"), 1),
        ("tar", failing(_EXPIRED, "GET", "set.tar", after=1), 2),
    ],
)
def test_a_cut_connection_makes_no_damaged_container(
    store: Proxy,
    s3_bucket: str,
    images: list[bytes],
    tmp_path: Path,
    kind: str,
    fails: object,
    code: int,
) -> None:
    there = Store.at(f"{s3_bucket}/containers-{tmp_path.name}")
    if kind == "tar":
        there.write("set.tar", _tar(images))
    else:
        pq.write_table(pa.table({"image": images}), tmp_path / "set.parquet", row_group_size=3)
        there.write("set.parquet", (tmp_path / "set.parquet").read_bytes())
    store.fails = fails
    failed = run("ingest", there.locate(f"set.{kind}"), tmp_path / "out", "--quiet")
    assert failed.exit_code == code
    assert failed.stderr.startswith(f"freqsan: {there.address}/set.{kind}: cannot be read (")
    assert "is the file whole" not in failed.stderr
    assert failed.stderr.count("\n") == 1


def _tar(images: list[bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for i, image in enumerate(images):
            member = tarfile.TarInfo(f"{i}.png")
            member.size = len(image)
            tar.addfile(member, io.BytesIO(image))
    return packed.getvalue()


def test_an_answer_that_ends_early_is_no_truncated_image(
    monkeypatch: pytest.MonkeyPatch, images: list[bytes]
) -> None:
    """Also where the library below does not notice."""
    opened = MemoryFileSystem._open

    def open_short(
        self: MemoryFileSystem, path: str, mode: str = "rb", **options: object
    ) -> object:
        file = opened(self, path, mode, **options)
        file.readinto = lambda view: io.BytesIO(images[0]).readinto(view[:100])
        return file

    MemoryFileSystem().pipe("/short/1.png", images[0])
    monkeypatch.setattr(MemoryFileSystem, "_open", open_short)
    with pytest.raises(remote.Unanswered, match=r"short/1\.png: .*the answer ended at byte 100 of"):
        list(open_source("memory://short").samples())


def test_a_folder_that_cannot_be_listed_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, images: list[bytes]
) -> None:
    """fsspec's own walk takes it for empty."""
    memory = MemoryFileSystem()
    memory.pipe({f"/walked/{c}/1.png": images[0] for c in ("cat", "dog")})
    listed = MemoryFileSystem.ls

    def ls(self: MemoryFileSystem, path: str, **options: object) -> list[object]:
        if path.endswith("/dog"):
            raise PermissionError("not for you")
        return listed(self, path, **options)

    monkeypatch.setattr(MemoryFileSystem, "ls", ls)
    for location in ("memory://walked", "memory://walked/*/*.png"):
        with pytest.raises(InputError, match=r"cannot be listed \(not for you\)"):
            open_source(location)


def test_an_endpoint_where_nobody_is_and_missing_credentials_are_told(
    store: Proxy, photos: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _forget()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    failed = run("ingest", photos.address, tmp_path / "out")
    assert failed.exit_code == 1
    assert f"{photos.address}: cannot be read (Could not connect" in failed.stderr
    _forget()
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.address)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    failed = run("ingest", photos.address, tmp_path / "out")
    assert failed.exit_code == 2
    assert "(Unable to locate credentials); give credentials, such as" in failed.stderr
    # Where they are given then, the same process goes on with them.
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    assert run("ingest", photos.address, tmp_path / "out", "--quiet").exit_code == 0


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(_registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    failed = run("ingest", "s3://bucket/set", "out")
    assert failed.exit_code == 2
    assert failed.stderr.endswith("not installed: pip install 'freqsan[s3]'\n")


# --- Files that change ----------------------------------------------------------------------


def test_an_image_that_is_replaced_after_the_listing_is_noticed(
    store: Proxy, photos: Store, images: list[bytes]
) -> None:
    source = open_source(photos.address)
    changed = images[1][:-1] + b"?"  # of the same size
    photos.write("cat/01.png", changed)
    with pytest.raises(InputError, match=r"cat/01\.png: has changed since the run began"):
        list(source.samples())
    photos.remove("cat/01.png")
    with pytest.raises(InputError, match=r"cat/01\.png: was there when the run began"):
        list(source.samples())


def test_an_image_that_is_replaced_while_it_is_read_is_noticed(photos: Store) -> None:
    with photos.open("cat/01.png") as file:
        photos.write("cat/01.png", b"another")
        with pytest.raises(InputError, match="leave the files alone while they are read"):
            file.read()


# --- OUTPUT ---------------------------------------------------------------------------------

#: Of the set that is cleaned.
SHARD_ROWS = 100


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set, clean images, and what ``clean`` makes of the set."""
    folder = tmp_path_factory.mktemp("local")
    table = with_one_trigger()
    counts = pc.value_counts(table["label"]).to_pylist()
    large = [one["values"] for one in counts if one["counts"] >= LEAST_PICTURES]
    chosen = table.filter(pc.is_in(table["label"], pa.array(large)))
    pq.write_table(chosen, folder / "set.parquet", row_group_size=50)
    pq.write_table(chosen.slice(0, 40), folder / "few.parquet")
    innocent = table.filter(pc.invert(table["is_poisoned"])).slice(0, 200)
    pq.write_table(innocent, folder / "trusted.parquet")
    clean(folder / "set.parquet", folder / "cleaned", shard_rows=SHARD_ROWS, quiet=True)
    return folder


#: A trigger that the run in the fixture finds.
SIGNATURE = layout.signature("finding-1")


@pytest.fixture(scope="module")
def uploaded(local: Path, before_store: Proxy, s3_bucket: str) -> Store:
    """The same files and the bundled detector in the store."""
    there = Store.at(f"{s3_bucket}/everything")
    for name in ("set.parquet", "few.parquet", "trusted.parquet"):
        there.write(name, (local / name).read_bytes())
    there.write("known.safetensors", (local / "cleaned" / SIGNATURE).read_bytes())
    for file in (BUNDLED / DEFAULT_DETECTOR).iterdir():
        there.write(f"detector/{file.name}", file.read_bytes())
    return there


def _parquet(store: Store) -> dict[str, bytes]:
    kinds = (layout.CLEAN, layout.POISONED, layout.REJECTED, layout.SCORES)
    return {name: store.read(name) for kind in kinds for name in store.shards(kind)}


def test_a_run_that_is_killed_in_a_store_goes_on_and_leaves_what_a_local_one_does(
    store: Proxy, uploaded: Store, local: Path, tmp_path: Path
) -> None:
    """With INPUT, OUTPUT and the detector in the store; then a report, and ``datasets``."""
    from datasets import load_dataset

    there = uploaded.within("cleaned")
    command = ["clean", uploaded.locate("set.parquet"), there.address, "--shard-rows", SHARD_ROWS]
    command += ["--detector", uploaded.locate("detector")]
    process = start(*command, "--workers", 1, stderr=subprocess.PIPE)
    code, _ = signal_when(
        process, signal.SIGKILL, lambda: store.asked("PUT", "score/00001.json") > 0
    )
    assert code == -signal.SIGKILL
    assert there.exists(layout.LOCK)
    assert not there.exists(layout.MANIFEST)
    done = run(*command)
    assert done.exit_code == 0, done.stderr
    assert "were done by an earlier run, going on" in done.stderr
    assert _parquet(there) == _parquet(Store.at(local / "cleaned"))
    assert there.names("", ".*") == []

    checked = run("report", there.address)
    assert checked.exit_code == 0, checked.stderr
    assert f"report    {there.address}/{layout.PAGE}" in checked.stdout
    files = {name: f"{there.address}/data/{name}-*.parquet" for name in ("clean", "poisoned")}
    loaded = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    counts = {name: len(rows) for name, rows in loaded.items()}
    assert f"clean     {counts['clean']:>9,}" in done.stdout
    assert f"poisoned  {counts['poisoned']:>9,}" in done.stdout


@pytest.mark.parametrize(
    ("fails", "code", "told"),
    [
        (failing(Failure(bytes=100), "GET", "cat/01"), 1, "cat/01.png: cannot be read"),
        (failing(_DENIED, "PUT", "", after=4), 2, "cannot be written (Access Denied)"),
    ],
)
def test_what_worker_processes_are_not_given_is_told_in_one_line(
    store: Proxy,
    photos: Store,
    images: list[bytes],
    s3_bucket: str,
    tmp_path: Path,
    fails: object,
    code: int,
    told: str,
) -> None:
    there = Store.at(f"{s3_bucket}/processes-{tmp_path.name}")
    command = ["ingest", photos.address, there.address, "--shard-rows", 2, "--workers", 2]
    store.fails = fails
    failed = run(*command, "--quiet")
    assert failed.exit_code == code, failed.stderr
    assert told in failed.stderr
    assert failed.stderr.count("\n") == 1
    store.fails = lambda method, path: None
    assert run(*command, "--quiet").exit_code == 0
    rows = [row for name in there.shards(layout.TRAIN) for row in _rows(there, name)]
    assert sorted(row["image"]["bytes"] for row in rows) == sorted(images)


def test_a_finished_output_in_a_store_is_known_again(
    store: Proxy, photos: Store, images: list[bytes], s3_bucket: str, tmp_path: Path
) -> None:
    there = Store.at(f"{s3_bucket}/again-{tmp_path.name}")
    command = ["ingest", photos.address, there.address]
    assert run(*command, "--shard-rows", 4).exit_code == 0
    again = run(*command, "--shard-rows", 4)
    assert (again.exit_code, "already holds this very run" in again.stderr) == (0, True)
    refused = run(*command)
    assert (refused.exit_code, "differs in" in refused.stderr) == (2, True)
    assert run(*command, "--overwrite", "--quiet").exit_code == 0
    (name,) = there.names("data")
    assert sorted(row["image"]["bytes"] for row in _rows(there, name)) == sorted(images)
    there.write("data/mine.txt", b"mine")
    there.remove(name)
    damaged = run(*command)
    assert (damaged.exit_code, "is not what freqsan wrote" in damaged.stderr) == (1, True)
    assert there.names("data") == ["data/mine.txt"]


def test_trusted_images_and_signatures_in_a_store_do_what_local_ones_do(
    store: Proxy, uploaded: Store, local: Path, tmp_path: Path
) -> None:
    rows = []
    for i, (root, known) in enumerate(
        [(uploaded.address, "known.safetensors"), (str(local), f"cleaned/{SIGNATURE}")]
    ):
        given = ["--trusted", f"{root}/trusted.parquet", "--signature", f"{root}/{known}"]
        output = tmp_path / str(i)
        done = run("score", f"{root}/few.parquet", output, *given, "--policy", "budget")
        assert done.exit_code == 0, done.stderr
        assert f"{root}/{known} was found on" in done.stdout
        rows.append(table_of(output, "scores/part").drop(["finding", "reason"]))
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("fails", "code", "told"),
    [
        (failing(_DENIED, "PUT", "lock"), 2, ".freqsan/lock: cannot be written (Access Denied)"),
        (failing(_DENIED, "PUT", "data/train"), 2, "parquet: cannot be written (Access Denied)"),
        (failing(Failure(500, "InternalError"), "PUT", layout.MANIFEST), 1, "cannot be written"),
        (failing(_DENIED, "PUT", "", after=1), 2, "cannot be written (Access Denied)"),
        (failing(Failure(503, "ServiceUnavailable"), "PUT", "", after=3), 1, "cannot be written"),
        (failing(Failure(bytes=1), "PUT", "data/train", times=1), 0, ""),
        (failing(Failure(500, "InternalError"), "PUT", "data/train", times=1), 0, ""),
        (failing(Failure(503, "SlowDown"), "PUT", layout.MANIFEST, times=3), 0, ""),
    ],
)
def test_an_output_that_is_not_taken_is_told_and_goes_on(
    store: Proxy,
    photos: Store,
    images: list[bytes],
    s3_bucket: str,
    tmp_path: Path,
    fails: object,
    code: int,
    told: str,
) -> None:
    there = Store.at(f"{s3_bucket}/out-{tmp_path.name}")
    store.fails = fails
    done = run("ingest", photos.address, there.address, "--quiet", "--shard-rows", 4)
    assert done.exit_code == code, done.stderr
    assert told in done.stderr
    assert done.stderr.count("\n") == (code > 0)
    store.fails = lambda method, path: None
    assert there.exists(layout.MANIFEST) == (code == 0)
    assert run("ingest", photos.address, there.address, "--shard-rows", 4).exit_code == 0
    rows = [row for name in there.shards(layout.TRAIN) for row in _rows(there, name)]
    assert sorted(row["image"]["bytes"] for row in rows) == sorted(images)
    assert there.names("", ".*") == []


def _rows(store: Store, name: str) -> list[dict[str, object]]:
    with store.open(name) as file:
        return list(pq.read_table(file).to_pylist())


def test_an_output_in_a_bucket_that_does_not_exist_is_refused_at_once(store: Proxy) -> None:
    refused = run("clean", "s3://freqsan-tests/everything/set.parquet", "s3://nobucket/out")
    assert refused.exit_code == 2
    assert refused.stderr == (
        "freqsan: s3://nobucket/out: cannot be listed (The specified bucket does not exist); make "
        "the bucket, or correct the address\n"
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--detector", "s3://freqsan-tests/none"), "is no detector: detector.json is missing"),
        (("--signature", "s3://freqsan-tests/none.safetensors"), "no such file; expected a file"),
        (("--signature", "s3://freqsan-tests/everything/set.parquet"), "is no signature"),
        (("--trusted", "s3://freqsan-tests/none"), "--trusted s3://freqsan-tests/none: no such"),
        (("--detector", "s3://freqsan-tests/odd"), "s3://freqsan-tests/odd/detector.json is no"),
    ],
)
def test_what_is_not_in_the_store_is_told(
    store: Proxy, uploaded: Store, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    for name in ("detector.json", "weights.safetensors"):
        Store.at("s3://freqsan-tests/odd").write(name, b"{}")
    refused = run("score", uploaded.locate("set.parquet"), tmp_path / "out", *options)
    assert refused.exit_code == 2
    assert told in refused.stderr
    assert refused.stderr.count("\n") == 1


# --- Two runs at once -----------------------------------------------------------------------


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(lock, "DEAD_SECONDS", 2.0)


def test_a_second_run_in_an_output_in_a_store_is_refused(
    store: Proxy, beats: None, photos: Store, s3_bucket: str, tmp_path: Path
) -> None:
    there = Store.at(f"{s3_bucket}/locked-{tmp_path.name}")
    with lock.locked(there):
        refused = run("ingest", photos.address, there.address)
        assert refused.exit_code == 2
        assert f"another freqsan run is writing to {there.address} right now" in refused.stderr
        assert there.exists(layout.LOCK)
    assert not there.exists(layout.LOCK)
    ingest(photos.address, there.address, quiet=True)


def test_the_lock_of_a_run_that_died_elsewhere_is_taken_over(
    store: Proxy,
    beats: None,
    photos: Store,
    s3_bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lock, "DEAD_SECONDS", 0.3)
    there = Store.at(f"{s3_bucket}/dead-{tmp_path.name}")
    holder = replace(lock._Holder.this(), host="another-machine")
    there.write(layout.LOCK, lock._bytes(holder))
    taken = run("ingest", photos.address, there.address)
    assert taken.exit_code == 0
    assert "to see whether the run on another-machine" in taken.stderr
    assert there.names("", ".*") == []


def test_a_lock_that_has_become_anothers_is_left_alone(
    store: Proxy, beats: None, s3_bucket: str, tmp_path: Path
) -> None:
    there = Store.at(f"{s3_bucket}/lost-{tmp_path.name}")
    with lock.locked(there):
        there.write(layout.LOCK, lock._bytes(lock._Holder.this()))
    assert there.exists(layout.LOCK)
