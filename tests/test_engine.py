"""Beam's engines: what cannot run is told in one line and soon, and what runs is quiet."""

import _thread
import errno
import shlex
import sys
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import run, wait_until
from workers import job_service

from freqsan import InputError, RunError, clean, ingest
from pipelines.jobs.demo import SAMPLE
from pipelines.runs import engine
from pipelines.runs.engine import last_words
from pipelines.runs.shards import RowWriter

PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


@pytest.fixture
def image_set(tmp_path: Path) -> Path:
    path = tmp_path / "set.parquet"
    pq.write_table(pq.read_table(str(SAMPLE)).slice(0, 40), path, row_group_size=10)
    return path


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"runner": "Nope"}, "Beam refuses these options: Unexpected pipeline runner: Nope"),
        ({"runner": "no.such.Runner"}, "Beam refuses these options: No module named 'no'"),
        ({"runner": "json.Runner"}, "Beam refuses these options: module 'json' has no attribute"),
        ({"runner": "PortableRunner"}, "PortableRunner needs --job_endpoint=HOST:PORT"),
        ({"beam_options": "--nonsense"}, "Beam knows no option --nonsense"),
        ({"beam_options": ["--streaming", "surplus"]}, "Beam knows no option surplus"),
        (
            {"beam_options": "--direct_num_workers=two"},
            "Beam refuses these options: argument --direct_num_workers: invalid",
        ),
        ({"beam_options": "--environment_type=EXTERNAL"}, "--environment_type has no effect with"),
        ({"beam_options": "--job_endpoint=localhost:1"}, "--job_endpoint has no effect with"),
    ],
)
def test_what_beam_cannot_do_is_told_before_anything_is_read(
    settings: dict[str, Any], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=f"^{words}") as error:
        clean(tmp_path / "missing", tmp_path / "out", **settings)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_a_job_service_that_does_not_answer_is_an_error(
    image_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SERVICE_SECONDS", 0.2)
    options = {"runner": "PortableRunner", "beam_options": "--job_endpoint=localhost:1"}
    with pytest.raises(RunError, match="no Beam job service answers at localhost:1"):
        ingest(image_set, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_worker_pool_that_cannot_be_reached_is_one_line(image_set: Path, tmp_path: Path) -> None:
    with job_service(tmp_path) as endpoint:
        result = run(
            *("ingest", image_set, tmp_path / "out", "--quiet", "--runner", "PortableRunner"),
            *("--", endpoint, "--environment_type=EXTERNAL", "--environment_config=localhost:1"),
        )
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("freqsan: the workers of PortableRunner failed: ")
    assert "Connection refused" in result.stderr


def test_workers_in_processes_are_quiet(
    image_set: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest = ingest(
        image_set, tmp_path / "out", shard_rows=10, quiet=True, beam_options=PROCESSES
    )
    assert (manifest.counts.read, len(manifest.shards)) == (40, 4)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("runner", ["FnApiRunner", "DirectRunner"])
def test_a_worker_that_cannot_start_is_an_error_and_not_silence(
    runner: str,
    image_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    broken = tmp_path / "my python"
    broken.write_text("#!/bin/sh\necho no Python here >&2\nexit 3\n")
    broken.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(broken))
        with pytest.raises(RunError, match=r"ended with code 3 \(no Python here\)"):
            ingest(image_set, tmp_path / "out", quiet=True, runner=runner, beam_options=PROCESSES)
    assert capfd.readouterr() == ("", "")
    assert ingest(image_set, tmp_path / "out", quiet=True).counts.read == 40


def test_a_worker_that_is_killed_is_an_error_and_not_silence(
    image_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel does where memory is short: the worker ends by a signal once it runs."""
    dying = tmp_path / "python"
    site = "import os, signal, threading; threading.Timer({}, os.kill, (os.getpid(), 9)).start()"
    (tmp_path / "sitecustomize.py").write_text(site.format(0.2))
    dying.write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(tmp_path))} exec {sys.executable} "$@"\n'
    )
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    with pytest.raises(RunError, match="a worker process ended with code 137"):
        ingest(image_set, tmp_path / "out", quiet=True, beam_options=PROCESSES)


def test_an_interrupt_in_python_ends_the_workers(
    image_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    busy = tmp_path / "python"
    busy.write_text(f"#!/bin/sh\necho $$ >>{shlex.quote(str(tmp_path))}/ids\nexec sleep 600\n")
    busy.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(busy))
    ids = tmp_path / "ids"

    def interrupt() -> None:
        wait_until(lambda: ids.exists() and ids.read_text().count("\n") == 2)
        _thread.interrupt_main()

    Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        ingest(image_set, tmp_path / "out", quiet=True, beam_options=PROCESSES)
    numbers = ids.read_text().split()
    wait_until(lambda: not any(Path(f"/proc/{number}").exists() for number in numbers))
    assert capfd.readouterr() == ("", "")


def test_of_a_runners_error_the_last_words_are_told() -> None:
    trace = "failed: Traceback:\n  File x\nbeam.Error: it broke\n  more"
    assert last_words(RuntimeError(trace)) == "beam.Error: it broke"
    assert last_words(RuntimeError('a\n details = "no way"\n>')) == "no way"
    assert last_words(RuntimeError("just this")) == "just this"


def test_when_a_run_has_failed_no_shard_is_under_way(
    image_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A late one would write to OUTPUT when another run may, and print a traceback."""
    both, ended = Barrier(2), []

    def publish(self: RowWriter) -> dict[str, Any]:
        late = both.wait() > 0
        if late:
            Event().wait(0.5)  # at work, when the other has long failed
            ended.append(self)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RowWriter, "publish", publish)
    with pytest.raises(RunError, match="no space left"):
        ingest(image_set, tmp_path / "out", shard_rows=20, workers=2, quiet=True)
    assert len(ended) == 1
    assert capfd.readouterr() == ("", "")


def test_an_interrupted_run_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C while a worker is being connected leaves its thread without anybody to answer."""
    monkeypatch.setattr(engine, "CLOSING_SECONDS", 0.05)
    end = Event()
    handler = object.__new__(engine.EmbeddedGrpcWorkerHandler)
    handler.worker_thread = Thread(target=end.wait, daemon=True)
    handler.worker_thread.start()
    with engine.closing_in_time:
        handler.stop_worker()
    assert handler.worker_thread.is_alive()
    end.set()
    handler.stop_worker()  # as Beam has it: waits for the thread to end
    assert not handler.worker_thread.is_alive()
