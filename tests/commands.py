"""The command line, called in this process or started as one of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from click.testing import CliRunner, Result

from pipelines.cli import main


def run(*arguments: object) -> Result:
    """Call ``freqsan`` with arguments in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


#: Seconds that are waited for a process; much longer than it takes.
PATIENCE = 120


def start(
    *arguments: object, python: tuple[str, ...] = (), **options: Any
) -> subprocess.Popen[bytes]:
    """Start ``freqsan`` with arguments, in a process group that can be killed as a whole.

    Args:
        arguments: of the command.
        python: options of Python.
        options: of the process; by default nothing that it says is kept.
    """
    return subprocess.Popen(
        [sys.executable, *python, "-m", "freqsan", *map(str, arguments)],
        start_new_session=True,
        **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options,
    )


def signal_when(
    process: subprocess.Popen[bytes], number: signal.Signals, moment: str | Callable[[], bool]
) -> tuple[int, str]:
    """Send a signal to a process and to all of its group, as a terminal does.

    Args:
        process: with its standard error in a pipe.
        number: of the signal.
        moment: words that it says before, or a condition that is true before.

    Returns:
        Its exit code, and what it said from then on.
    """
    assert process.stderr is not None
    deadline = time.monotonic() + PATIENCE
    if isinstance(moment, str):
        before = []
        for line in process.stderr:
            before.append(line.decode())
            if moment in before[-1]:
                break
        else:
            raise AssertionError(f"not a word of {moment!r} in {''.join(before)!r}")
    else:
        while not moment():
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.001)
    os.killpg(process.pid, number)
    said = process.stderr.read().decode()
    return process.wait(PATIENCE), said


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for what another process or thread does."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
