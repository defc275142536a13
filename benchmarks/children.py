"""A function of freqsan in a process of its own, which may hang, crash or be killed.

The processes are forked from one that has imported everything, so each costs a fraction of a
second. Linux only.
"""

import contextlib
import multiprocessing
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from sanitizer.errors import FreqsanError

#: Imported once, before any child.
_PRELOADED = (
    *("freqsan", "pipelines.cli", "pipelines.runs.chain", "pipelines.judging.judging"),
    *("pipelines.jobs.clean", "pipelines.jobs.ingest", "pipelines.jobs.poison"),
    *("pipelines.report.page", "pipelines.sources.saved", "huggingface_hub"),
    *("detector.experts", "IPython"),  # Beam looks for IPython, where that is installed
)

#: How a child may end.
DONE, REFUSED, FAILED, CRASHED, HUNG = "done", "refused", "failed", "crashed", "hung"


@dataclass(frozen=True)
class Ending:
    """How a child ended."""

    kind: str  #: one of those above
    words: str  #: the error, or the signal; empty where it is done
    seconds: float
    peak: int = 0  #: resident MiB, what all children share included; 0 where it did not say

    @property
    def expected(self) -> bool:
        """It is done, or ended in one line for its user."""
        return self.kind == DONE or (self.kind == REFUSED and "\n" not in self.words)


def call(
    function: Callable[..., object], *arguments: Any, deadline: float, memory: int | None = None
) -> Ending:
    """Call a function of a module in a child.

    Args:
        function: by its module and name; what it returns is dropped.
        arguments: picklable.
        deadline: seconds after which the child, and all that it started, is killed.
        memory: bytes that the child's own memory may grow to.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    receiver, sender = context.Pipe(duplex=False)
    began = time.monotonic()
    process = context.Process(target=_child, args=(sender, memory, function, arguments))
    process.start()
    sender.close()
    # The pipe ends with the child, however that ends.
    heard = receiver.poll(deadline)
    try:
        kind, words, peak = receiver.recv() if heard else (HUNG, f"after {deadline} s", 0)
    except EOFError:
        process.join()
        kind, words, peak = CRASHED, _cause(process.exitcode or 0), 0
    _end(process)
    return Ending(kind, words, time.monotonic() - began, peak)


def _child(
    sender: Connection,
    memory: int | None,
    function: Callable[..., object],
    arguments: tuple[Any, ...],
) -> None:
    os.setsid()  # so that it can be killed with all that it starts
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    try:
        function(*arguments)
        kind, words = DONE, ""
    except FreqsanError as error:
        kind, words = REFUSED, f"{type(error).__name__}: {error}"
    except BaseException:  # noqa: BLE001  (that is what is looked for)
        kind, words = FAILED, traceback.format_exc()
    sender.send((kind, words, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))


def _cause(exit_code: int) -> str:
    """Of an end without a word."""
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"


def _end(process: BaseProcess) -> None:
    """Kill a child and all that it started."""
    with contextlib.suppress(ProcessLookupError):  # there is no such group, or no more
        assert process.pid is not None
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()
