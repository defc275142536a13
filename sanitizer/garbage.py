"""The search for garbage while a program is loaded, where the process is our own.

Python looks for cycles of objects that nothing else refers to, and each time looks through all
that it has. What a program is made of, half a million objects, stays to its end; without this a
sixth of the time of a small run goes into looking through that again and again.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_ours = False


def own_process() -> None:
    """Say that this process is freqsan's own; in one that is not, nothing here does anything."""
    global _ours
    _ours = True


@contextmanager
def loading() -> Iterator[None]:
    """Look for no garbage meanwhile, and never again among what there is by the end.

    >>> with loading():  # in the process of a guest
    ...     gc.isenabled()
    True
    """
    if not _ours:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
