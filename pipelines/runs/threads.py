"""What a process takes of its machine: threads of its cores, and memory."""

import ctypes
import os

import pyarrow as pa


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_cores(workers: int) -> None:
    """Give each of ``workers`` threads its share of the cores inside torch."""
    import torch  # seconds to load, and most jobs have no use for it

    torch.set_num_threads(max(1, available_cores() // workers))


def give_memory_back() -> None:
    """Return to the system what is free; Arrow and glibc keep it, and each shard adds to it."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
