"""Every job on a Dask cluster of processes, and what becomes of a run whose machines fail."""

import _thread
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from threading import Thread
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from commands import PATIENCE, start, wait_until
from outputs import digests
from samples import with_one_trigger

from benchmarks.clusters import Cluster, dask_cluster
from freqsan import InputError, RunError, clean, features, ingest, poison, scan, score
from pipelines.runs import chain, layout
from pipelines.runs import cluster as clusters
from pipelines.runs.store import Store
from pipelines.runs.work import Order

#: Of the small set, and of its shards.
ROWS, SHARD_ROWS = 160, 10

JOBS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "clean": (clean, {"max_clean_loss": 0.02}),
    "scan": (scan, {}),
    "score": (score, {}),
    "ingest": (ingest, {}),
    "features": (features, {}),
    "poison": (poison, {"attack": "blend", "rate": 0.5}),
}


@pytest.fixture(scope="module")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, large enough to be searched, of which one carries a trigger."""
    table = with_one_trigger()
    counts = pc.value_counts(table["label"]).to_pylist()
    large = sorted(counts, key=lambda one: one["counts"])[-2:]
    chosen = table.filter(pc.is_in(table["label"], pa.array([one["values"] for one in large])))
    path = tmp_path_factory.mktemp("set") / "set.parquet"
    pq.write_table(
        chosen.slice(0, ROWS).select(["image", "label"]), path, row_group_size=SHARD_ROWS
    )
    return path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with dask_cluster(
        tmp_path_factory.mktemp("cluster"),
        DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="3s",
        DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1",
    ) as started:
        yield started


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, with one worker."""
    with dask_cluster(tmp_path, workers=1) as started:
        yield started


def run_job(job: str, source: Path, output: Path, **settings: Any) -> dict[str, str]:
    """The digests of what a job leaves, but of the report, which holds times and addresses."""
    function, arguments = JOBS[job]
    function(source, output, shard_rows=SHARD_ROWS, quiet=True, **arguments, **settings)
    return {name: one for name, one in digests(output).items() if not name.startswith("report/")}


@pytest.fixture(scope="module")
def scored(image_set: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a local run leaves."""
    return run_job("score", image_set, tmp_path_factory.mktemp("local") / "out")


def receipts(output: Path, pass_name: str = "score") -> int:
    return len(list(output.glob(f"{layout.WORK}/{pass_name}/[0-9]*.json")))


@pytest.mark.parametrize("job", JOBS)
def test_every_job_leaves_the_files_of_a_local_run(
    job: str, image_set: Path, cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    there = run_job(job, image_set, tmp_path / "there", **cluster.settings)
    assert there == run_job(job, image_set, tmp_path / "here")
    assert layout.MANIFEST in there
    assert not any(name.startswith(layout.WORK) for name in there)
    assert capfd.readouterr() == ("", "")


def test_workers_write_nothing_where_they_run(cluster: Cluster, tmp_path: Path) -> None:
    for nanny in cluster.nannies:
        assert [file.name for file in Path(f"/proc/{nanny.pid}/cwd").iterdir()] == ["log"]


def test_a_file_that_cannot_be_read_is_named(
    image_set: Path, cluster: Cluster, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name in "ab":
        shutil.copy(image_set, folder / f"{name}.parquet")
    whole = bytearray((folder / "b.parquet").read_bytes())
    whole[4 : len(whole) // 2] = bytes(len(whole) // 2 - 4)  # its listing at the end is whole
    (folder / "b.parquet").write_bytes(whole)
    with pytest.raises(InputError, match=r"^b\.parquet") as caught:
        run_job("ingest", folder, tmp_path / "out", **cluster.settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"runner": "dask"}, "--runner dask needs --dask-scheduler tcp://HOST:8786"),
        ({"dask_scheduler": "tcp://localhost:1"}, "--dask-scheduler has no effect with --runner"),
        (
            {"runner": "apache_beam.runners.dask.dask_runner.DaskRunner"},
            r"--runner \S+: give --runner dask --dask-scheduler",
        ),
        (
            {"runner": "dask", "dask_scheduler": "localhost"},
            "--dask-scheduler: expected an address such as tcp://host:8786, got 'localhost'",
        ),
        ({"dask_patience": 0}, "dask patience: expected seconds above 0, got 0"),
    ],
)
def test_what_leads_to_no_cluster_is_told_before_anything_is_read(
    settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"^{words}") as caught:
        ingest(tmp_path / "missing", tmp_path / "out", **settings)
    assert "\n" not in str(caught.value)


def test_without_dask_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    settings = {"runner": "dask", "dask_scheduler": "tcp://localhost:1"}
    with pytest.raises(InputError, match=r"^--runner dask needs Dask.*pip install 'freqsan\[dask"):
        ingest(tmp_path / "missing", tmp_path / "out", **settings)


def test_a_scheduler_that_does_not_answer_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clusters, "ANSWER_SECONDS", 0.3)
    settings = {"runner": "dask", "dask_scheduler": "tcp://127.0.0.1:1"}
    with pytest.raises(RunError, match=r"^no Dask scheduler answers at tcp://127\.0\.0\.1:1 with"):
        ingest(tmp_path / "missing", tmp_path / "out", **settings)
    assert capfd.readouterr() == ("", "")


def test_a_scheduler_without_workers_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "ANSWER_SECONDS", 1.0)
    with (
        dask_cluster(tmp_path, workers=0) as empty,
        pytest.raises(RunError, match=f"^the Dask scheduler at {empty.address} has no workers; st"),
    ):
        ingest(tmp_path / "missing", tmp_path / "out", **empty.settings)


@pytest.mark.parametrize("package", ["freqsan", "apache-beam"])
def test_workers_of_another_version_are_an_error(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    known = metadata.version
    monkeypatch.setattr(clusters, "version", lambda name: "9.9" if name == package else known(name))
    words = f"^the Dask scheduler of {cluster.address} has {package} {known(package)}, and here it"
    with pytest.raises(RunError, match=words):
        ingest(tmp_path / "missing", tmp_path / "out", **cluster.settings)


def test_workers_of_another_python_are_an_error(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "HERE", ("3", "10"))
    with pytest.raises(RunError, match=r"^the Dask scheduler of \S+ has Python 3\.\d+\.\d+, and"):
        ingest(tmp_path / "missing", tmp_path / "out", **cluster.settings)


def test_an_output_that_a_worker_does_not_see_is_told(
    image_set: Path, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where OUTPUT is on a disk of this machine alone."""

    def elsewhere(order: Order, sha256: str) -> beam.DoFn:
        return CarryOut(Order(Store(str(tmp_path / "elsewhere")), order.name), sha256)

    CarryOut = chain.CarryOut
    monkeypatch.setattr(chain, "CarryOut", elsewhere)
    with pytest.raises(RunError, match="put it on a shared file system or an object store"):
        run_job("ingest", image_set, tmp_path / "out", **cluster.settings)
    assert not (tmp_path / "elsewhere").exists()


# --- Machines that fail -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "number"),
    [("score", signal.SIGKILL), ("split", signal.SIGKILL), ("score", signal.SIGSTOP)],
)
def test_a_worker_that_is_lost_changes_nothing(
    at: str,
    number: signal.Signals,
    image_set: Path,
    scored: dict[str, str],
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    output = tmp_path / "out"

    def lose() -> None:
        wait_until(lambda: receipts(output, at) > 0)
        os.kill(cluster.workers()[0], number)

    thread = Thread(target=lose)
    thread.start()
    assert run_job("score", image_set, output, **cluster.settings) == scored
    thread.join()


def test_a_shard_that_ends_every_worker_is_told(cluster: Cluster) -> None:
    def build(pipeline: beam.Pipeline) -> object:
        return pipeline | beam.Create([1], reshuffle=False) | beam.Map(lambda _: os._exit(9))

    with pytest.raises(RunError, match=r"^a shard has ended 2 Dask workers one after another, the"):
        clusters.Cluster(cluster.address).run(build, 1, ())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("who", ["scheduler", "workers"])
def test_a_cluster_that_is_lost_ends_the_run_which_goes_on_elsewhere(
    who: str,
    number: signal.Signals,
    image_set: Path,
    scored: dict[str, str],
    mortal: Cluster,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"

    def lose() -> None:
        wait_until(lambda: receipts(output) > 0)
        mortal.all_workers(number) if who == "workers" else mortal.scheduler.send_signal(number)

    thread = Thread(target=lose)
    thread.start()
    words = f"^(the|no worker of the) Dask scheduler at {mortal.address} has .* to go on$"
    with pytest.raises(RunError, match=words) as caught:
        run_job("score", image_set, output, dask_patience=1.5, **mortal.settings)
    thread.join()
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    done = receipts(output)
    assert 0 < done < ROWS // SHARD_ROWS
    assert run_job("score", image_set, output) == scored


def test_an_interrupt_takes_the_work_off_the_cluster(
    image_set: Path, scored: dict[str, str], cluster: Cluster, tmp_path: Path
) -> None:
    def interrupt() -> None:
        wait_until(lambda: receipts(tmp_path / "python") > 0)
        _thread.interrupt_main()

    Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run_job("score", image_set, tmp_path / "python", **cluster.settings)
    wait_until(lambda: cluster.tasks() == 0)

    size = ["--shard-rows", str(SHARD_ROWS)]
    out = tmp_path / "command"
    process = start("score", image_set, out, *size, *cluster.options, stderr=subprocess.PIPE)
    wait_until(lambda: receipts(out) > 0)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert said.endswith(b"freqsan: interrupted; run the same command again to go on\n")
    wait_until(lambda: cluster.tasks() == 0)
    assert run_job("score", image_set, tmp_path / "python", **cluster.settings) == scored


def test_ten_thousand_images_with_a_worker_killed(
    data_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = pq.read_table(data_dir / "cifar10_train.parquet").slice(0, 10_000)
    pq.write_table(table, tmp_path / "set.parquet", row_group_size=500)
    # The scan, half of the time, is in the tests of a small set.
    settings: dict[str, Any] = {"shard_rows": 500, "scan": False}
    output = tmp_path / "there"

    def kill() -> None:
        wait_until(lambda: receipts(output) > 1)
        os.kill(there.workers()[0], signal.SIGKILL)

    with dask_cluster(tmp_path) as there:
        thread = Thread(target=kill)
        thread.start()
        clean(tmp_path / "set.parquet", output, **settings, **there.settings)
        thread.join()
    assert re.search(r"the Dask worker tcp://\S+ has gone; others do", capfd.readouterr().err)
    clean(tmp_path / "set.parquet", tmp_path / "here", **settings)
    one, other = (
        {name: digest for name, digest in digests(at).items() if not name.startswith("report/")}
        for at in (output, tmp_path / "here")
    )
    assert one == other
