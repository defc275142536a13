"""Faults at a chosen change to OUTPUT: a kill, or a disk that is full from there on.

Python tells an audit hook of every file that is about to be renamed or removed. freqsan gives
every file its name by a rename, so the changes of a run are a list of names that is the same in
every run with one worker, and a fault is placed by what has been done, never by the clock.
"""

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def killed_at(output: Path, name: str, function: Callable[[], object]) -> None:
    """Call a function; kill this process and all of its group before a change.

    Args:
        output: OUTPUT, absolute.
        name: of the file that is about to be published or removed, relative to OUTPUT.
        function: writes to OUTPUT.
    """

    def act(changed: str, removed: bool) -> None:
        if changed == name:
            os.killpg(0, signal.SIGKILL)

    _watch(output, act)
    function()


def killed_with(output: Path, name: str, function: Callable[[], object]) -> None:
    """As :func:`killed_at`, once a file is there that another process publishes."""

    def wait() -> None:
        while not (output / name).exists():
            time.sleep(0.001)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
    function()


def full_from(output: Path, name: str, function: Callable[[], object]) -> None:
    """Call a function; from a change on no file gets its name, for want of space.

    Arguments are those of :func:`killed_at`.
    """
    full = False

    def act(changed: str, removed: bool) -> None:
        nonlocal full
        full = full or changed == name
        if full and not removed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(output / changed))

    _watch(output, act)
    function()


def write_changes(output: Path, listing: Path, function: Callable[[], object]) -> None:
    """Call a function; write the names of all its changes to a file, one a line, in order."""
    changes: list[str] = []
    _watch(output, lambda changed, removed: changes.append(changed))
    function()
    listing.write_text("\n".join(changes))


def stage_of(name: str) -> str:
    """What a run is doing when it changes a file.

    >>> [stage_of(n) for n in (".freqsan/split/00001.json", "data/clean-00000-of-00001.parquet")]
    ['.freqsan/split', 'data']
    """
    parts = name.split("/")
    return "/".join(parts[:2]) if parts[0] == ".freqsan" else parts[0]


def _watch(output: Path, act: Callable[[str, bool], None]) -> None:
    """Call ``act`` before a file of OUTPUT is published or removed.

    Args:
        output: OUTPUT, absolute.
        act: takes the name of the file, relative to OUTPUT, and whether it is removed.
    """
    prefix = f"{output}/"

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename":
            changed = os.fspath(arguments[1])
        elif event == "os.remove":
            path, folder = arguments
            # Whole trees are removed by names relative to an open folder.
            changed = os.fspath(path) if folder == -1 else f"{_folder(folder)}/{path}"
        else:
            return
        if isinstance(changed, str) and changed.startswith(prefix):
            name = changed.removeprefix(prefix)
            if not Path(name).name.startswith(".part-"):
                act(name, event == "os.remove")

    sys.addaudithook(hook)


def _folder(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())
