"""The command as a process: signals, closed streams, and a working directory of a stranger."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import PATIENCE, signal_when, start
from hostile import hostile_folder

from pipelines.jobs.demo import SAMPLE
from pipelines.runs import layout

ROOT = Path(__file__).resolve().parents[1]

INTERRUPTED = "freqsan: interrupted; run the same command again to go on\n"
TERMINATED = "freqsan: terminated; run the same command again to go on\n"


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    path = tmp_path / "set.parquet"
    pq.write_table(pq.read_table(str(SAMPLE)).slice(0, 40), path)
    return path


def finish(*arguments: object, **options: Any) -> tuple[int, str, str]:
    """The exit code of a whole command, and what it said on standard output and error."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start(*arguments, **streams | options)
    said, complained = process.communicate(timeout=PATIENCE)
    return process.returncode, (said or b"").decode(), (complained or b"").decode()


def test_a_signal_at_any_moment_is_one_line_and_the_run_goes_on(
    small_set: Path, tmp_path: Path
) -> None:
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    options: dict[str, Any] = {
        "stderr": subprocess.PIPE,
        "env": os.environ | {"TMPDIR": str(temporary)},
    }
    for number, moment in (
        (signal.SIGTERM, "scoring: 40 images to do"),
        (signal.SIGINT, (out / layout.SUMMARY).exists),  # then it is validated
        (signal.SIGINT, (out / layout.VALIDATION).exists),  # then the page is drawn
    ):
        code, said = signal_when(start("clean", small_set, out, **options), number, moment)
        assert code == 128 + number
        lines = said.splitlines(keepends=True)
        assert lines[-1] == (INTERRUPTED if number == signal.SIGINT else TERMINATED)
        assert not any("Traceback" in line or "Interrupt" in line for line in lines)
        assert not (out / layout.MANIFEST).exists()
        assert list(temporary.iterdir()) == []
    assert finish("clean", small_set, out, "--quiet")[0] == 0
    assert not list(out.rglob(".*"))


def test_on_a_terminal_the_line_stands_below_the_progress_bar(
    small_set: Path, tmp_path: Path
) -> None:
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    process = start("clean", small_set, tmp_path / "out", stderr=terminal)
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # so a terminal ends
        while piece := os.read(ours, 1000):
            shown += piece
            if b"0/40" in shown and process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
    os.close(ours)
    assert process.wait(PATIENCE) == 130
    *_, bar, line, end = shown.decode().split("\r\n")
    assert (line, end) == (INTERRUPTED.rstrip(), "")
    assert "scoring:" in bar


@pytest.mark.parametrize(
    "module", ["pipelines.process", "click", "onnxruntime.capi.onnxruntime_pybind11_state"]
)
def test_a_signal_while_libraries_load_is_one_line(
    small_set: Path, tmp_path: Path, module: str
) -> None:
    # Says each module that is loaded, on standard error.
    process = start(
        *("clean", small_set, tmp_path / "out", "--quiet"),
        python=("-X", "importtime"),
        stderr=subprocess.PIPE,
    )
    code, said = signal_when(process, signal.SIGINT, f"{module}\n")
    assert code == 130
    *loaded, last = said.splitlines(keepends=True)
    assert last == INTERRUPTED
    assert all(line.startswith("import time:") for line in loaded)


def test_a_signal_to_a_training_is_one_line(small_set: Path, tmp_path: Path) -> None:
    trigger = tmp_path / "trigger.safetensors"
    process = start("craft", "smooth", small_set, "--output", trigger, stderr=subprocess.PIPE)
    code, said = signal_when(process, signal.SIGINT, "training the quick victim:")
    assert code == 130
    assert said.endswith(INTERRUPTED)
    assert "Traceback" not in said


def test_worker_processes_run_nothing_of_the_working_directory_and_end_in_silence(
    small_set: Path, tmp_path: Path
) -> None:
    executed = hostile_folder(tmp_path / "hostile")
    out = tmp_path / "out"
    process = start(
        *("ingest", small_set, out, "--shard-rows", "1", "--"),
        *("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
        cwd=tmp_path / "hostile",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    code, said = signal_when(process, signal.SIGINT, lambda: any(out.glob(".freqsan/*/*.json")))
    assert code == 130
    assert said.endswith(INTERRUPTED)
    assert "Traceback" not in said
    assert not executed.exists()


def test_a_command_in_the_background_of_a_shell_ignores_ctrl_c(
    small_set: Path, tmp_path: Path
) -> None:
    process = start(
        *("ingest", small_set, tmp_path / "out"),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        stderr=subprocess.PIPE,
    )
    code, said = signal_when(process, signal.SIGINT, "to do")
    assert code == 0, said


def test_in_python_an_interrupt_stays_one(small_set: Path, tmp_path: Path) -> None:
    code = f"""
from freqsan import clean
try:
    clean({str(small_set)!r}, {str(tmp_path / "out")!r}, shard_rows=4, workers=2)
except KeyboardInterrupt:
    print("as itself")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    done, said = signal_when(process, signal.SIGINT, "scoring: 40 images to do")
    assert process.stdout is not None
    assert process.stdout.read() == b"as itself\n"
    assert done == 0
    assert "Traceback" not in said


def test_code_in_the_data_does_not_run(real_images: list[bytes], tmp_path: Path) -> None:
    folder = tmp_path / "images"
    executed = hostile_folder(folder)
    (folder / "images.py").write_text((folder / "evil.py").read_text())  # as a loading script
    for i, image in enumerate(real_images):
        (folder / f"{i}.png").write_bytes(image)
    code, said, complained = finish(
        *("clean", ".", tmp_path / "out", "--json", "--quiet"),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (code, complained) == (0, "")
    assert json.loads(said)["counts"]["read"] == len(real_images)
    assert not executed.exists(), executed.read_text()


@pytest.mark.parametrize("number", [1, 2])
def test_a_stream_that_is_closed_does_no_harm(small_set: Path, tmp_path: Path, number: int) -> None:
    code, said, complained = finish(
        *("ingest", small_set, tmp_path / "out", "--json"), preexec_fn=lambda: os.close(number)
    )
    assert code == 0, complained
    if number != 1:
        assert json.loads(said)["job"] == "ingest"
    if number != 2:
        assert "40 images done" in complained


@pytest.mark.parametrize("how", ["closed", "full"])
def test_a_result_that_cannot_be_printed_is_one_line(
    small_set: Path, tmp_path: Path, how: str
) -> None:
    with broken_stream(how) as stream:
        code, _, complained = finish(
            *("ingest", small_set, tmp_path / "out", "--json", "--quiet"), stdout=stream
        )
    assert code == 1
    assert complained.startswith("freqsan: the result could not be printed: ")
    assert len(complained.splitlines()) == 1
    assert (tmp_path / "out" / layout.MANIFEST).exists()


@pytest.mark.parametrize("how", ["closed", "full"])
def test_progress_that_nobody_reads_does_not_end_the_run(
    small_set: Path, tmp_path: Path, how: str
) -> None:
    with broken_stream(how) as stream:
        code, said, _ = finish("ingest", small_set, tmp_path / "out", "--json", stderr=stream)
        assert code == 0
        assert json.loads(said)["job"] == "ingest"
        missing = ("ingest", tmp_path / "missing", tmp_path / "other")
        assert finish(*missing, stderr=stream)[0] == 2


def broken_stream(how: str) -> Any:
    """A stream that cannot be written to: a pipe without a reader, or a full device."""
    if how == "full":
        return Path("/dev/full").open("wb")
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "wb", buffering=0)
