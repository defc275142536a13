"""The jobs where the files or the workers are somewhere else: object stores, other processes."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from outputs import digests
from workers import beam_workers, job_service, unpacked_wheel

from detector.bundled import BUNDLED, DEFAULT_DETECTOR
from freqsan import RunError, clean, features, ingest, poison, report, scan, score
from pipelines.jobs.demo import SAMPLE
from pipelines.runs import layout
from pipelines.runs.store import Store
from pipelines.sources import open_source
from sanitizer.errors import InputError

ROWS = 60


@pytest.fixture(scope="module")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set") / "set.parquet"
    table = pq.read_table(str(SAMPLE), columns=["image", "label"]).slice(0, ROWS)
    pq.write_table(table, path, row_group_size=ROWS // 4)
    return path


@pytest.fixture(scope="module")
def cleaned(image_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.at(tmp_path_factory.mktemp("out") / "cleaned")
    clean(image_set, store.address, shard_rows=ROWS // 4, quiet=True)
    return store


def parquet_files(store: Store) -> dict[str, bytes]:
    folders = {file.folder for file in (layout.CLEAN, layout.REJECTED, layout.SCORES)}
    names = [name for folder in folders for name in store.names(folder, "*.parquet")]
    return {name: store.read(name) for name in names}


def test_input_and_output_may_lie_on_an_object_store(
    image_set: Path, cleaned: Store, s3_bucket: str
) -> None:
    Store.at(s3_bucket).write("given/set.parquet", image_set.read_bytes())
    there = Store.at(f"{s3_bucket}/cleaned")
    settings = {"shard_rows": ROWS // 4, "quiet": True}
    manifest = clean(f"{s3_bucket}/given/set.parquet", there.address, **settings)
    assert manifest.counts.read == ROWS
    assert parquet_files(there) == parquet_files(cleaned)
    assert there.names("", ".*") == []
    page = there.read(layout.PAGE)
    assert b"</html>" in page
    assert clean(f"{s3_bucket}/given/set.parquet", there.address, **settings) == manifest
    there.remove(layout.PAGE)
    with pytest.raises(RunError, match="is missing since it was written, and is made anew now"):
        report(there.address)
    assert report(there.address).page == there.locate(layout.PAGE)
    assert there.read(layout.PAGE) == page


def test_a_folder_on_an_object_store_is_read(
    image_set: Path, s3_bucket: str, tmp_path: Path
) -> None:
    store = Store.at(f"{s3_bucket}/photos")
    images = pq.read_table(image_set)["image"].to_pylist()[:5]
    for i, image in enumerate(images):
        store.write(f"cat/{i}.png", image["bytes"])
    ingest(store.address, tmp_path / "out", quiet=True)
    rows = pq.read_table(tmp_path / "out" / "data").to_pylist()
    assert [row["image"]["bytes"] for row in rows] == [image["bytes"] for image in images]
    assert [row["sample_id"] for row in rows] == [f"cat/{i}.png" for i in range(5)]


def test_a_file_that_is_replaced_on_an_object_store_is_read_anew(
    image_set: Path, s3_bucket: str, tmp_path: Path
) -> None:
    store = Store.at(f"{s3_bucket}/replaced")
    for rows in (20, 30):
        pq.write_table(pq.read_table(image_set).slice(0, rows), tmp_path / "set.parquet")
        store.write("set.parquet", (tmp_path / "set.parquet").read_bytes())
        manifest = ingest(store.locate("set.parquet"), tmp_path / str(rows), quiet=True)
        assert manifest.counts.read == rows


JOBS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "scan": (scan, {"allow_unjudged": True}),
    "score": (score, {}),
    "ingest": (ingest, {}),
    "features": (features, {}),
    "poison": (poison, {"attack": "blend", "rate": 0.5}),
}


@pytest.fixture(scope="module")
def whole(image_set: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What each job but ``clean`` leaves in a local run."""
    folder = tmp_path_factory.mktemp("whole")
    return {job: run_job(job, image_set, folder / job) for job in JOBS}


def run_job(job: str, source: Path, output: Path, **settings: Any) -> dict[str, str]:
    """The digests of what a job leaves."""
    function, arguments = JOBS[job]
    function(source, output, shard_rows=ROWS // 4, quiet=True, **arguments, **settings)
    return digests(output)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked_wheel(tmp_path_factory.mktemp("wheel"))


def test_workers_with_the_wheel_alone_find_everything_by_relative_paths(
    image_set: Path,
    cleaned: Store,
    whole: dict[str, dict[str, str]],
    site: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """INPUT, OUTPUT and --detector are relative; the workers are processes started elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(BUNDLED / DEFAULT_DETECTOR, tmp_path / "mine")
    shutil.copy(image_set, tmp_path / "set.parquet")
    with beam_workers(tmp_path, elsewhere, site) as options:
        monkeypatch.chdir(tmp_path)
        clean(
            "set.parquet",
            "out",
            detector="mine",
            shard_rows=ROWS // 4,
            quiet=True,
            **options,
        )
        # A worker is started for each pass: those of scan and score are among those of clean.
        for job in ("ingest", "features", "poison"):
            assert run_job(job, image_set, Path(job), **options) == whole[job]
    assert list(elsewhere.iterdir()) == []
    assert parquet_files(Store.at(tmp_path / "out")) == parquet_files(cleaned)
    loaded = {file.relative_to(site).parts[0] for file in site.rglob("*.pyc")}
    assert {"detector", "pipelines", "sanitizer"} <= loaded


def test_beams_own_job_service_leaves_the_same_files(
    image_set: Path, cleaned: Store, whole: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """Workers over gRPC: catches what cannot be pickled or imported."""
    with job_service(tmp_path) as endpoint:
        options: dict[str, Any] = {
            "runner": "PortableRunner",
            "beam_options": (endpoint, "--environment_type=LOOPBACK"),
        }
        clean(image_set, tmp_path / "out", shard_rows=ROWS // 4, quiet=True, **options)
        for job in JOBS:
            assert run_job(job, image_set, tmp_path / job, **options) == whole[job]
    assert parquet_files(Store.at(tmp_path / "out")) == parquet_files(cleaned)


def test_many_tiny_files_share_few_shards(image_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    table = pq.read_table(image_set)
    for i in range(ROWS):
        pq.write_table(table.slice(i, 1), folder / f"{i:03d}.parquet")
    manifest = clean(folder, tmp_path / "out", quiet=True)
    assert manifest.counts.read == ROWS
    assert len(manifest.shards) == 1
    (scores,) = (tmp_path / "out" / "scores").glob("*.parquet")
    rows = pq.read_table(scores).to_pylist()
    assert [row["source"] for row in rows] == [f"{i:03d}.parquet" for i in range(ROWS)]
    assert [row["sample_id"] for row in rows] == [f"{i:03d}.parquet#0" for i in range(ROWS)]


def test_an_output_that_is_nearly_an_address_is_no_folder_here(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    for address, told in (
        ("s3:/bucket/out", "looks like an address; an address is written s3://bucket/out"),
        ("S3://bucket/out", "looks like an address; an address is written s3://bucket/out"),
        ("s3://", "names nothing; expected s3://… with a folder or file"),
    ):
        with pytest.raises(InputError, match=f"^{re.escape(address)}:? {told}"):
            ingest(image_folder, address, quiet=True)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("s3:/freqsan-tests", "no such file or folder; an address is written s3://freqsan-tests"),
        ("S3://freqsan-tests", "no such file or folder; an address is written s3://freqsan-tests"),
        ("s3://", "names nothing; expected s3://… with a folder or file"),
        ("s3://nobucket", "cannot be listed .The specified bucket does not exist"),
        ("s3://nobucket/*.png", "no file matches, as there is no s3://nobucket"),
        ("s3://No_bucket!/x", "cannot be listed .Parameter validation failed:"),
        ("s3://freqsan-tests/nothing", "no such file or folder"),
    ],
)
def test_addresses_that_lead_nowhere_are_told_in_one_line(
    s3_bucket: str, address: str, told: str
) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(address)}:? {told}") as caught:
        open_source(address)
    assert "\n" not in str(caught.value)
