"""The memory of a process at its peak."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

MIB = 1 << 20

# A process of its own waits for the command: one that was started from a large process, as
# pytest is, would count that one's memory as its peak.
_WATCH = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=sys.stderr)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(peak * (1 if sys.platform == "darwin" else 1024))
sys.exit(code)
"""


def peak_of(*arguments: object, error: str | None = None) -> float:
    """MiB that Python with these arguments holds at most, the largest of its processes.

    Args:
        error: words that it ends with on standard error, with exit code 2; None: it succeeds.
    """
    command = [sys.executable, *map(str, arguments)]
    watched = subprocess.run(
        [sys.executable, "-S", "-c", _WATCH, *command],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert watched.returncode == (0 if error is None else 2), watched.stderr
    assert (error or "") in watched.stderr
    return int(watched.stdout) / MIB


def peak_of_freqsan(*arguments: object, error: str | None = None) -> float:
    """As :func:`peak_of`, of a ``freqsan`` command."""
    return peak_of("-m", "pipelines.cli", *arguments, error=error)
