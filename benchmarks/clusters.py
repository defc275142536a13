"""A Dask cluster of processes of their own, in directories of their own, on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Seconds for a process to start; much longer than it takes.
PATIENCE = 60


@dataclass(frozen=True)
class Cluster:
    """A scheduler, and workers with one thread each."""

    address: str
    scheduler: subprocess.Popen[bytes]
    nannies: list[subprocess.Popen[bytes]]  #: each starts a worker, and another when that ends

    @property
    def settings(self) -> dict[str, Any]:
        """Of a job that runs here."""
        return {"runner": "dask", "dask_scheduler": self.address}

    @property
    def options(self) -> list[str]:
        """The same, of a command."""
        return ["--runner", "dask", "--dask-scheduler", self.address]

    def workers(self) -> list[int]:
        """The processes of the workers, in the order of their nannies."""
        return [child for nanny in self.nannies for child in _workers_of(nanny.pid)]

    def all_workers(self, number: signal.Signals) -> None:
        """Send a signal to all workers and nannies."""
        for process in [nanny.pid for nanny in self.nannies] + self.workers():
            os.kill(process, number)

    def tasks(self) -> int:
        """Tasks that the scheduler knows of."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            # A lambda, which travels whole: the scheduler does not have this module.
            told = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
            return int(told)


def _workers_of(process: int) -> Iterator[int]:
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, file.read_text().split()):
            with suppress(OSError):  # it may just have ended
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    yield child
            yield from _workers_of(child)


@contextmanager
def dask_cluster(folder: Path, workers: int = 2, **environment: str) -> Iterator[Cluster]:
    """A scheduler and its workers, which have nothing but what is installed.

    Args:
        folder: each gets a directory of its own in it.
        workers: how many.
        environment: of the scheduler, such as Dask's own settings.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    started: list[subprocess.Popen[bytes]] = []
    try:
        started.append(_start(folder / "scheduler", "scheduler", environment, f"--port={port}"))
        _wait(lambda: _accepts(port), started[0])
        for number in range(workers):
            place = folder / f"worker-{number}"
            started.append(_start(place, "worker", {}, address, "--nthreads=1"))
        yield Cluster(address, started[0], started[1:])
    finally:
        for process in started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _start(
    folder: Path, what: str, environment: dict[str, str], *arguments: str
) -> subprocess.Popen[bytes]:
    folder.mkdir()
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-P", "-m", f"distributed.cli.dask_{what}"]
    return subprocess.Popen(
        [*command, *arguments, "--host=127.0.0.1", "--no-dashboard"],
        cwd=folder,
        env=plain | environment,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("wb"),
        start_new_session=True,
    )


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert process.poll() is None, "the scheduler did not start"
        assert time.monotonic() < deadline, "the scheduler did not start in time"
        time.sleep(0.05)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
