"""One checkpoint of a training run, resumed to the same result; nothing is unpickled."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from sanitizer.files import write_atomically

#: The file of a run's latest checkpoint: tensors, with the state as JSON in its metadata.
FILE = "checkpoint.safetensors"


def store(
    directory: Path | None,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: dict[str, Any],
    pool: np.ndarray,
    epoch: int,
) -> None:
    """Write the state after ``epoch`` epochs, atomically; no directory, no checkpoint."""
    if directory is None:
        return
    tensors = {f"network.{k}": v.contiguous() for k, v in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v.contiguous() for k, v in values.items()}
    state = json.dumps({"epoch": epoch, "run": _run(settings, pool)})
    write_atomically(directory / FILE, safetensors.torch.save(tensors, {"state": state}))


def resume(
    directory: Path | None,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: dict[str, Any],
    pool: np.ndarray,
) -> int:
    """Load the checkpoint, if there is one, into network and optimizer.

    Returns:
        Epochs done; 0 where there is no checkpoint.

    Raises:
        ValueError: the checkpoint is unreadable or belongs to other settings or another pool.
    """
    if directory is None or not (directory / FILE).exists():
        return 0
    path = directory / FILE
    try:
        with safetensors.safe_open(path, "pt") as file:
            state = json.loads(file.metadata()["state"])
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a readable checkpoint ({error})") from error
    if state["run"] != _run(settings, pool):
        raise ValueError(
            f"{path} belongs to a run with other settings or another pool; "
            "choose another directory or delete it to start anew"
        )
    network.load_state_dict(
        {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
    )
    states: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            states.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    return int(state["epoch"])


def _run(settings: dict[str, Any], pool: np.ndarray) -> str:
    """What a checkpoint is valid for: the settings and the pool, as a digest."""
    known = json.dumps([settings, list(pool.shape)], sort_keys=True).encode()
    digest = hashlib.sha256(known)
    digest.update(np.ascontiguousarray(pool).reshape(-1).data)
    return digest.hexdigest()
