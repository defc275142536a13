"""Worker processes: they do the same as threads, and losing one loses nothing."""

import os
import re
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from outputs import digests
from test_passes import (
    NUMBERS,
    AddPass,
    AddStep,
    Options,
    ShareManifest,
    SharePass,
    Total,
    numbers,
)

from pipelines.runs import pool
from pipelines.runs.job import Job, Settings
from pipelines.runs.passes import Step
from pipelines.runs.pool import Pool, Worker
from pipelines.runs.shards import ShardTask
from pipelines.runs.store import Store
from sanitizer.errors import RunError

__all__ = ["numbers"]  # a fixture

SHARDS = 6


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def leave() -> None:
    os._exit(7)


def fill_the_disk() -> None:
    raise OSError(28, "No space left on device")


def be_wrong() -> None:
    raise ZeroDivisionError("as a mistake of ours would")


def wait_for_ever() -> None:
    time.sleep(1000)


@dataclass
class OddStep(AddStep):
    """Something happens in the middle of a shard."""

    what: Callable[[], None]
    times: int  #: that it happens
    shard: int

    def run(self, task: ShardTask) -> tuple[int, Total]:
        marks = [Path(f"{self.log}.{n}") for n in range(self.times)]
        left = next((mark for mark in marks if not mark.exists()), None)
        if task.index == self.shard and left is not None:
            task.open_artefact(NUMBERS)
            left.write_text(str(os.getpid()))
            self.what()
        return super().run(task)


@dataclass
class OddPass(AddPass):
    what: Callable[[], None] = kill
    times: int = 1
    shard: int = 2

    def step(self, given: None) -> Step[Total]:
        return OddStep(self.scale, self.log, self.fail_at, self.what, self.times, self.shard)


def run(
    numbers: Path, folder: Path, odd: AddPass | None = None, workers: int = 2, *, quiet: bool = True
) -> ShareManifest:
    chosen = Settings(image_column="image", shard_rows=10, workers=workers, quiet=quiet)
    log = folder / "log"
    job = Job(
        name="share",
        source=chosen.open(numbers),
        store=Store.at(folder / "out"),
        passes=[odd or AddPass(2, str(log)), SharePass(str(log))],
        options=Options(2),
        finish=lambda output, common, made: ShareManifest.of(common, total=made),
        manifest=ShareManifest,
    )
    folder.mkdir(exist_ok=True)
    return job.run(chosen)


def files(folder: Path) -> dict[str, str]:
    return digests(folder / "out" / "data", "*.parquet")


def test_processes_write_what_threads_write(numbers: Path, tmp_path: Path) -> None:
    run(numbers, tmp_path / "one", workers=1)
    run(numbers, tmp_path / "three", workers=3)
    assert len(files(tmp_path / "one")) == SHARDS
    assert files(tmp_path / "one") == files(tmp_path / "three")


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (kill, "was ended by signal 9 (Killed)"),
        (leave, "was ended with code 7"),
        (hang, "was silent for 4 s"),
    ],
)
def test_the_shard_of_a_lost_process_is_done_by_another(
    what: Callable[[], None],
    told: str,
    numbers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pool, "SILENT_SECONDS", 4.0 if what is hang else 60.0)
    run(numbers, tmp_path / "whole")
    odd = OddPass(2, str(tmp_path / "odd" / "log"), what=what)
    run(numbers, tmp_path / "odd", odd, quiet=False)
    assert f"a worker process {told} (add, shard 2 of 6); another does its shard again" in (
        capsys.readouterr().err
    )
    assert files(tmp_path / "odd") == files(tmp_path / "whole")
    assert not list((tmp_path / "odd" / "out").rglob(".*"))  # half written by the lost one


@dataclass
class HeavyStep(AddStep):
    """More than a pipe holds."""

    weight: bytes


class HeavyPass(AddPass):
    def step(self, given: None) -> Step[Total]:
        return HeavyStep(self.scale, self.log, self.fail_at, bytes(4 << 20))


def test_a_process_that_takes_no_order_is_replaced(
    numbers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begin = Worker.__init__
    stopped: list[Worker] = []

    def begin_stopped(worker: Worker) -> None:
        begin(worker)
        if not stopped:
            stopped.append(worker)
            os.kill(worker._process.pid, signal.SIGSTOP)

    run(numbers, tmp_path / "whole")
    monkeypatch.setattr(Worker, "__init__", begin_stopped)
    monkeypatch.setattr(pool, "SILENT_SECONDS", 4.0)
    heavy = HeavyPass(2, str(tmp_path / "heavy" / "log"))
    run(numbers, tmp_path / "heavy", heavy, quiet=False)
    assert "a worker process was silent for 4 s (add, shard" in capsys.readouterr().err
    assert files(tmp_path / "heavy") == files(tmp_path / "whole")


def test_a_shard_that_ends_all_who_try_is_one_line_and_the_rest_is_kept(
    numbers: Path, tmp_path: Path
) -> None:
    odd = OddPass(2, str(tmp_path / "odd" / "log"), times=pool.MOST_LOST)
    with pytest.raises(
        RunError,
        match=r"^3 worker processes were lost over one shard \(add, shard 2 of 6\), .*again",
    ):
        run(numbers, tmp_path / "odd", odd)
    assert not list((tmp_path / "odd" / "out").rglob("manifest.json"))
    run(numbers, tmp_path / "odd", odd)  # by now it has happened as often as it does
    done = (tmp_path / "odd" / "log").read_text().split("\n")
    assert sorted(done[:-1]) == sorted(f"{p} {i}" for p in ("add", "share") for i in range(SHARDS))
    run(numbers, tmp_path / "whole")
    assert files(tmp_path / "odd") == files(tmp_path / "whole")


def test_a_full_disk_seen_by_a_process_is_one_line(numbers: Path, tmp_path: Path) -> None:
    odd = OddPass(2, str(tmp_path / "odd" / "log"), what=fill_the_disk)
    with pytest.raises(RunError, match=r"no space left on the disk of .* the same command again"):
        run(numbers, tmp_path / "odd", odd)
    assert not list((tmp_path / "odd").rglob(".*.parquet*"))


def test_a_mistake_of_ours_says_where_it_is(numbers: Path, tmp_path: Path) -> None:
    odd = OddPass(2, str(tmp_path / "odd" / "log"), what=be_wrong)
    with pytest.raises(Exception, match="as a mistake of ours would") as raised:
        run(numbers, tmp_path / "odd", odd)
    words = "".join(traceback.format_exception(raised.value))
    assert re.search(r"(?s)In a worker process.*in be_wrong", words)


def test_to_stop_ends_what_is_under_way(numbers: Path, tmp_path: Path) -> None:
    odd = OddPass(2, str(tmp_path / "odd" / "log"), what=wait_for_ever)
    mark = tmp_path / "odd" / "log.0"

    def stop() -> None:
        while not mark.exists() or not mark.read_text():
            time.sleep(0.01)
        for one in list(pool._pools.values()):
            one.stop()

    stopping = threading.Thread(target=stop)
    stopping.start()
    with pytest.raises(RunError, match="stopped; finished shards are kept"):
        run(numbers, tmp_path / "odd", odd)
    stopping.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)
    assert not list((tmp_path / "odd").rglob(".*.parquet*"))


def test_the_processes_end_with_their_pool() -> None:
    with Pool(2) as two:
        of_both = [worker._process.pid for worker in two._all]
        for pid in of_both:
            os.kill(pid, 0)
    for pid in of_both:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
