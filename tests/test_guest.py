"""freqsan as a guest: the caller's process is as it was, also after an error."""

import io
import json
import logging
import os
import random
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from threadpoolctl import threadpool_info, threadpool_limits

from freqsan import InputError, ingest
from pipelines.jobs.demo import SAMPLE
from pipelines.runs.guest import at_work
from pipelines.runs.threads import return_cores, share_cores
from sanitizer.cores import available_cores
from sanitizer.images import decode
from sanitizer.silence import without_warnings

TESTS = Path(__file__).resolve().parent
TRUTH = ["is_poisoned", "original_label", "attack"]


def test_every_public_function_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    images = tmp_path / "set.parquet"
    pq.write_table(pq.read_table(str(SAMPLE)).drop_columns(TRUTH).slice(0, 600), images)
    done = subprocess.run(
        [sys.executable, str(TESTS / "host_state.py"), str(images)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    calls = [json.loads(line) for line in done.stdout.splitlines()]
    assert {c["call"]: c["changed"] for c in calls if c["changed"]} == {}
    assert len(calls) > 20
    for call in calls:
        expected = "InputError: " if call["call"].endswith("wrong") else "done"
        assert call["outcome"].startswith(expected), call


def test_nothing_in_the_working_directory_is_imported_late(tmp_path: Path) -> None:
    """In a notebook, say, that has changed into the data after it imported freqsan."""
    images, neutral = tmp_path / "images", tmp_path / "neutral"
    (images / "cat").mkdir(parents=True)
    neutral.mkdir()
    for row, image in enumerate(pq.read_table(str(SAMPLE))["image"].slice(0, 40).to_pylist()):
        (images / "cat" / f"{row}.png").write_bytes(image["bytes"])
    for name in ("pandas", "safetensors", "scipy", "torch", "tqdm", "great_expectations"):
        (images / f"{name}.py").write_text("raise SystemExit('executed')")
    code = (
        "import os; from freqsan import clean, reject\n"
        f"os.chdir({str(images)!r})\n"
        f"reject([None]); clean('.', {str(tmp_path / 'out')!r}, quiet=True)\n"
        "import sys; print(repr(sys.path[0]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=neutral,
        env=os.environ | {"PYTHONPATH": str(TESTS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("''\n", "")


def test_the_last_of_several_calls_at_once_puts_everything_back() -> None:
    beam, threads = logging.getLogger("apache_beam"), torch.get_num_threads()
    level, drawn = beam.level, random.getstate()
    inside, leave = threading.Event(), threading.Event()

    def longer() -> None:
        with at_work:
            share_cores(1)
            inside.set()
            leave.wait(30)

    other = threading.Thread(target=longer)
    with at_work:
        other.start()
        assert inside.wait(30)
        random.random()
    assert beam.level > logging.CRITICAL  # the other is still at work
    leave.set()
    other.join()
    assert (beam.level, random.getstate(), torch.get_num_threads()) == (level, drawn, threads)


def test_torch_and_numpy_have_their_threads_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    limits = threadpool_limits(3, "blas")
    try:
        share_cores(1000)
        share_cores(1000)
        assert torch.get_num_threads() == 1
        assert _blas_threads() == {1}
        return_cores()
        assert torch.get_num_threads() == 3
        assert _blas_threads() == {3}
        torch.set_num_threads(2)
        return_cores()  # nothing to return
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
        limits.restore_original_limits()


def test_a_library_that_is_loaded_by_and_by_gets_one_thread_too_and_has_its_own_back() -> None:
    program = (
        "import numpy, threadpoolctl\n"
        "from pipelines.runs.threads import return_cores, share_cores\n"
        "libraries = lambda: [one['num_threads'] for one in threadpoolctl.threadpool_info()\n"
        "                     if one['user_api'] == 'blas']\n"
        "share_cores(1)\n"
        "print(libraries())\n"
        "share_cores(1, of_scipy=True)\n"
        "print(libraries())\n"
        "return_cores()\n"
        "print(libraries())\n"
    )
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    before = min(2, available_cores())
    assert done.stdout.splitlines() == ["[1]", "[1, 1]", f"[{before}, {before}]"]


def _blas_threads() -> set[int]:
    """Of the libraries behind numpy and scipy."""
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_a_callers_own_logging_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with at_work:
        logging.getLogger().warning("ours")
        logging.getLogger("elsewhere").warning("ours too")
        logging.getLogger("apache_beam.runners").error("Beam's")
    assert [record.getMessage() for record in caplog.records] == ["ours", "ours too"]


def test_silence_is_for_the_thread_that_asks_and_ends() -> None:
    """Also where another thread puts other filters in place meanwhile."""
    inside, leave = threading.Event(), threading.Event()

    @without_warnings
    def decode() -> None:
        inside.set()
        leave.wait(30)
        warnings.warn("not heard", UserWarning, stacklevel=1)

    decoding = threading.Thread(target=decode)
    filters = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoding.start()
        assert inside.wait(30)
        with pytest.raises(UserWarning, match="heard"):
            warnings.warn("heard", UserWarning, stacklevel=1)
        with warnings.catch_warnings():
            leave.set()
            decoding.join()
        with pytest.raises(UserWarning, match="again"):
            warnings.warn("again", UserWarning, stacklevel=1)
    assert list(warnings.filters) == filters


def test_what_pillow_warns_of_is_decoded_alike_whatever_the_callers_filters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        Image.open(file)
        assert len(heard) == 1
        pixels = decode(file.getvalue())
        assert len(heard) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (decode(file.getvalue()) == pixels).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_can_work_too(tmp_path: Path) -> None:
    """Such as a worker of a data loader, in a program that has called freqsan before."""
    program = (
        "import os, sys\nfrom freqsan import features\nfrom pipelines.jobs.demo import SAMPLE\n"
        "features(SAMPLE, 'one', workers=2, quiet=True)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    from pipelines.runs.threads import map_in_order\n"
        "    os._exit(len(list(map_in_order(str, range(7), workers=2))))\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(TESTS.parent)},
        timeout=120,
        check=False,
    )
    assert done.returncode == 7


def test_an_error_is_quiet_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="missing: no such file"):
        ingest(tmp_path / "missing", tmp_path / "out")
    assert capfd.readouterr() == ("", "")
