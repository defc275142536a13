"""How many threads work, so that neither a core idles nor two fight for one."""

import os

import torch


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_cores(workers: int) -> None:
    """Give each of ``workers`` threads its share of the cores inside torch."""
    torch.set_num_threads(max(1, available_cores() // workers))
