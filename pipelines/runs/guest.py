"""A guest in the process that calls it: what freqsan changes there, it puts back.

Torch's threads, Python's random numbers, logging, the environment and where modules are looked for
belong to the whole process. They are changed for as long as any public function is at work, in
whatever thread, and after the last one, failed or not, they are as they were before the first.
"""

import logging
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ContextDecorator, contextmanager
from pathlib import PurePath

from pipelines.runs.interpreters import safe_imports
from pipelines.runs.threads import return_cores

#: Environment variables that torch sets by itself when it trains.
TORCHS_OWN = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")

#: Beam's loggers; what a worker raises is told once, by whoever asked for the run.
BEAM = "apache_beam"


class Shared(ContextDecorator):
    """A change that all blocks under way share: the first makes it, the last undoes it."""

    def __init__(self, change: Callable[[], AbstractContextManager[object]]):
        self._change = change
        self._lock = threading.Lock()
        self._blocks = 0
        self._made: AbstractContextManager[object] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._made is None:
                made = self._change()
                made.__enter__()
                self._made = made
            self._blocks += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0 and self._made is not None:
                made, self._made = self._made, None
                made.__exit__(None, None, None)


#: Around what loads libraries, where nothing of the caller's own is called.
imports_are_safe = Shared(safe_imports)


@contextmanager
def _at_work() -> Iterator[None]:
    # Beam draws from it. What other threads draw meanwhile comes again; scripts that start from
    # a seed are more than those.
    drawn = random.getstate()
    absent = [name for name in TORCHS_OWN if name not in os.environ]
    try:
        with _beam_is_silent(), imports_are_safe:
            yield
    finally:
        random.setstate(drawn)
        for name in absent:
            os.environ.pop(name, None)
        return_cores()


@contextmanager
def _beam_is_silent() -> Iterator[None]:
    """Keep Beam's records from the loggers, and its calls of logging from setting it up."""
    beam, root = logging.getLogger(BEAM), logging.getLogger()
    level = beam.level
    # A record on the root logger without a handler makes Python add one for good. With the
    # handler that Python uses where there is none, what others log looks as it did.
    stand_in = None if root.handlers else (logging.lastResort or logging.NullHandler())
    beam.setLevel(logging.CRITICAL + 1)
    root.addFilter(_is_not_of_beam)
    if stand_in is not None:
        root.addHandler(stand_in)
    try:
        yield
    finally:
        if stand_in is not None:
            root.removeHandler(stand_in)
        root.removeFilter(_is_not_of_beam)
        beam.setLevel(level)


def _is_not_of_beam(record: logging.LogRecord) -> bool:
    """Whether a record on the root logger is of somebody else; Beam uses that logger too."""
    return BEAM not in PurePath(record.pathname).parts


#: Around all that a public function does.
at_work = Shared(_at_work)
