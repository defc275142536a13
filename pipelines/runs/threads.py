"""What a process takes of its machine: threads of its cores, and memory."""

import ctypes
import functools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa
from threadpoolctl import threadpool_limits

from sanitizer.cores import allow_threads, available_cores

Item = TypeVar("Item")
Result = TypeVar("Result")


_sharing = threading.Lock()

#: Threads of torch, if it was loaded, before the cores were first shared.
_of_torch: int | None = None

#: What the libraries behind numpy and scipy had before each time that the cores were shared; none
#: where they are not. One that was loaded in between is only in the later ones.
_unshared: list[threadpool_limits] = []


def share_cores(workers: int, *, of_torch: bool = False, of_scipy: bool = False) -> None:
    """Give each of ``workers`` its share of the cores inside a network, and one in numpy.

    Numpy and scipy would take all cores for every product of matrices, and where others work
    beside them most of the time goes into waiting for each other. It is always one, as the last
    digits depend on it, and no result may depend on how many workers there are.

    Args:
        workers: that work side by side.
        of_torch: also load torch, which takes a second, for work that is done by it; without, it
            gets its share where it is loaded already.
        of_scipy: also load scipy's linear algebra, likewise; it has a library of its own.
    """
    if of_torch:
        import torch as _  # noqa: F401
    if of_scipy:
        import scipy.linalg.lapack  # noqa: F401

    global _of_torch
    with _sharing:
        torch = sys.modules.get("torch")
        if not _unshared:
            _of_torch = None if torch is None else torch.get_num_threads()
        _unshared.append(threadpool_limits(1, "blas"))
        share = max(1, available_cores() // workers)
        allow_threads(share)
        if torch is not None:
            torch.set_num_threads(share)


def return_cores() -> None:
    """Give all of them back, in the calling thread and in new ones, what they had before."""
    with _sharing:
        if not _unshared:
            return
        allow_threads(None)
        if _of_torch is not None:
            sys.modules["torch"].set_num_threads(_of_torch)
        while _unshared:
            _unshared.pop().restore_original_limits()


def map_in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    ahead: int | None = None,
) -> Iterator[Result]:
    """``map`` by the threads of this process, results in the order of the items.

    All callers share the threads, so that several shards under way keep all of them busy to
    the end, whichever shard is the last.

    Args:
        function: may be called by several threads at once.
        items: taken one by one, in the calling thread, only as fast as they are needed.
        workers: threads in all; with 1 everything happens in the calling thread.
        ahead: items of this call that are under way at most; by default one more than threads.

    Raises:
        Exception: what ``function`` raises, when its result is due.

    >>> list(map_in_order(str.upper, ["a", "b", "c"], workers=2))
    ['A', 'B', 'C']
    """
    if workers == 1:
        yield from map(function, items)
        return
    limit = workers + 1 if ahead is None else ahead
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            if len(waiting) >= limit:
                yield waiting.popleft().result()
            waiting.append(_pool(workers).submit(function, item))
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


@functools.lru_cache(maxsize=4)
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="freqsan")


# A forked process has the pools, but none of their threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


def give_memory_back() -> None:
    """Return to the system what is free; Arrow and glibc keep it, and each shard adds to it."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
