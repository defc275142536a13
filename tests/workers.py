"""Beam's own job service and worker pool, as processes of their own."""

import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

#: Seconds for a service to start; much longer than it takes.
PATIENCE = 60


@contextmanager
def job_service(folder: Path) -> Iterator[str]:
    """A portable job service; yields the Beam option that leads to it."""
    port_file = folder / "job-service-port"
    module = "apache_beam.runners.portability.local_job_service_main"
    with _running([module, "-p", "0", "--port_file", str(port_file)], folder) as process:
        _wait(lambda: port_file.exists() and bool(port_file.read_text().strip()), process)
        yield f"--job_endpoint=localhost:{port_file.read_text().strip()}"


def unpacked_wheel(folder: Path) -> Path:
    """What another machine gets of freqsan: a folder with what the wheel holds, and no more."""
    tree = folder / "tree"
    for name in ("attacks", "detector", "pipelines", "sanitizer"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("freqsan.py", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(tree)], check=True, cwd=folder)
    (wheel,) = folder.glob("freqsan-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(folder / "site")
    return folder / "site"


@contextmanager
def beam_workers(
    folder: Path, directory: Path, site: Path | None = None
) -> Iterator[dict[str, Any]]:
    """A job service whose workers are processes that run in another directory.

    Args:
        folder: for files of the service.
        directory: that the workers run in.
        site: what they have of freqsan, from :func:`unpacked_wheel`; None: this checkout, with its
            tests.

    Yields:
        Settings for a job.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    pool = ["apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    with job_service(folder) as endpoint, _running(pool, directory, site) as process:
        _wait(lambda: _accepts(port), process)
        environment = ("--environment_type=EXTERNAL", f"--environment_config=localhost:{port}")
        yield {"runner": "PortableRunner", "beam_options": (endpoint, *environment)}


@contextmanager
def _running(
    module: list[str], directory: Path, site: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {
        # A worker pool starts the `python` that it finds first.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(map(str, [ROOT, ROOT / "tests"] if site is None else [site])),
        "PYTHONDONTWRITEBYTECODE": "",  # what was imported shows there
    }
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        cwd=directory,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert process.poll() is None, "the service did not start"
        assert time.monotonic() < deadline, "the service did not start in time"
        time.sleep(0.05)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0
