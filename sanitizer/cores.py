"""How many threads one piece of work may take, where several are done side by side."""

import os

_threads: int | None = None


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_within() -> int:
    """Threads for one piece of work: all cores, unless :func:`allow_threads` was told otherwise."""
    return _threads or available_cores()


def allow_threads(threads: int | None) -> None:
    """Say how many threads one piece of work may take from now on; None: all cores."""
    global _threads
    _threads = threads
