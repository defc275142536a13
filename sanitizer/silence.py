"""What libraries warn of while they work on a stranger's data, which our words say better.

Python's own ``catch_warnings`` changes the filters of all threads, and two threads that use it
at once can leave each other's filters behind. So one filter is put in front for as long as any
thread needs it, and it applies in those threads only.
"""

import ctypes
import functools
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

from PIL import Image

P = ParamSpec("P")
R = TypeVar("R")


class _InSilence(threading.local):
    """Stands where a filter has the pattern of a module: matches all, in threads that ask."""

    depth = 0

    def match(self, module: str) -> bool:
        return self.depth > 0


_silence = _InSilence()
_filter = ("ignore", None, Warning, _silence, 0)
_lock = threading.Lock()
_calls = 0


def without_warnings(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with none of the warnings that are given in it, whatever the caller's filters.

    >>> without_warnings(warnings.warn)("an odd image")
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        _change(+1)
        _silence.depth += 1
        try:
            return function(*args, **kwargs)
        finally:
            _silence.depth -= 1
            _change(-1)

    return call


def _change(calls: int) -> None:
    """One call more or less; the filter is there while there are any."""
    global _calls
    with _lock:
        _calls += calls
        # Somebody may have put other filters in place of all meanwhile.
        there = _filter in warnings.filters
        if _calls and not there:
            warnings.filters.insert(0, _filter)  # type: ignore[attr-defined]
        elif not _calls and there:
            warnings.filters.remove(_filter)  # type: ignore[attr-defined]


@functools.cache
def silence_libtiff() -> None:
    """Have libtiff keep its errors from the terminal, for the whole process.

    Pillow raises what there is to know of a damaged TIFF; the library below it also prints a line
    for each. Where Pillow has that library within itself it cannot be told, and goes on printing.
    """
    with suppress(OSError, AttributeError):
        set_handler = ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)
