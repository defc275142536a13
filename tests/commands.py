"""The command line, called in this process or started as one of its own."""

import subprocess
import sys

from click.testing import CliRunner, Result

from pipelines.cli import main


def run(*arguments: object) -> Result:
    """Call ``freqsan`` with arguments in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def start(*arguments: object) -> subprocess.Popen[bytes]:
    """Start ``freqsan`` with arguments, in a process group that can be killed as a whole."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
