"""The process of the ``freqsan`` command: its streams, its temporary files, and how it stops.

For a process that is freqsan's own; the functions for Python leave all of this alone.
"""

import atexit
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

#: What is said of each signal. The exit code is 128 and its number, as in a shell.
_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}

#: How often a folder is removed, at most, where files appear in it meanwhile.
_REMOVALS = 20


def mend_streams() -> None:
    """Connect standard streams that were closed by who started us to nothing.

    Otherwise the next file that is opened, maybe a part of OUTPUT, gets the number of the
    stream, and what anybody says on that stream is written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w"))


def own_temporary_folder() -> str | None:
    """A folder for all temporary files of the command and its helpers, removed when it ends.

    Returns:
        Its path; None where none can be made, and whoever needs one will say so.
    """
    try:
        folder = tempfile.mkdtemp(prefix="freqsan-")
    except OSError:
        return None
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def stop_on_signals(temporary: str | None) -> None:
    """From now on end at Ctrl-C and SIGTERM with one line and exit code 130 or 143, at once.

    A thread waits for them; in all others that are started after this call they are blocked.
    So no library is interrupted half-way, waits for its threads or prints a traceback.

    Nothing is unwound, which is what a run is made for: what it has finished is in place, what
    it has half done has a temporary name.

    To be called before any other thread is started.

    Args:
        temporary: a folder to remove.
    """
    # A shell has the commands in its background ignore Ctrl-C; so they shall.
    heard = {number for number in _WORDS if signal.getsignal(number) != signal.SIG_IGN}
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    waiting = signal.sigpending()  # to ignore one takes it away
    if sys.platform == "linux":
        # A terminal sends Ctrl-C to every process of the command. Workers inherit that it is
        # ignored; here it is blocked, and what is blocked is not ignored, says Linux alone.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_stop_at, args=(heard, temporary), name="signals", daemon=True).start()
    for number in waiting & heard:
        os.kill(os.getpid(), number)


def _stop_at(heard: set[signal.Signals], temporary: str | None) -> None:
    number = signal.sigwait(heard)
    line = f"freqsan: {_WORDS[signal.Signals(number)]}; run the same command again to go on\n"
    if os.isatty(2):  # where the cursor stands behind ^C or a progress bar
        line = f"\n{line}"
    with contextlib.suppress(OSError):  # there may be nobody to tell
        stderr = os.dup(2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # other threads have had their say
        _kill_helpers()
        if temporary is not None:
            _remove(temporary)
        os.write(stderr, line.encode())
    os._exit(128 + number)


def _remove(folder: str) -> None:
    """Remove a folder in which other threads of this process are still at work.

    One of them may put a file into it while it is being removed; they cannot do so for ever.
    """
    for _ in range(_REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return


def _kill_helpers() -> None:
    """End the processes that this one has started; known on Linux alone.

    They would end by themselves, but Beam's workers complain first, each at length.
    """
    for process in list(_processes_below("self")):
        with contextlib.suppress(OSError):  # it may just have ended
            os.kill(process, signal.SIGKILL)


def _processes_below(process: int | str) -> Iterator[int]:
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        children = ""
        with contextlib.suppress(OSError):
            children = file.read_text()
        for child in map(int, children.split()):
            yield child
            yield from _processes_below(child)
