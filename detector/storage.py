"""A detector's two files, read with suspicion and written atomically; nothing is unpickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

WEIGHTS, CARD = "weights.safetensors", "detector.json"

#: Decimals of a score: what is beyond them depends on the batch and the machine.
DECIMALS = 6


class DetectorError(ValueError):
    """There is no such detector, or its directory does not hold a whole one."""


def read_weights(path: Path) -> tuple[bytes, dict[str, torch.Tensor]]:
    """The bytes and the tensors of a weights file."""
    try:
        data = path.read_bytes()
        return data, safetensors.torch.load(data)
    except FileNotFoundError as error:
        raise DetectorError(f"{path.parent} is no detector: {WEIGHTS} is missing") from error
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise DetectorError(f"{path} is corrupt: {one_line(error)}") from error


def read_card(path: Path) -> dict[str, Any]:
    """The contents of ``detector.json``."""
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DetectorError(f"{path.parent} is no detector: {CARD} is missing") from error
    except (OSError, ValueError) as error:
        raise DetectorError(f"{path} is not valid JSON: {one_line(error)}") from error
    if not isinstance(card, dict):
        raise DetectorError(f"{path}: expected a JSON object, got {type(card).__name__}")
    return card


def check_shapes(network: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Raise ValueError unless the tensors are those of the network, by name and shape."""
    expected = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    for name in sorted(expected.keys() | tensors.keys()):
        found = tuple(tensors[name].shape) if name in tensors else None
        if found != expected.get(name):
            raise ValueError(
                f"{WEIGHTS} has {name} with shape {found}, expected {expected.get(name)}"
            )


def read_group(stored: dict[str, Any]) -> dict[str, Any]:
    """One calibration group, its scores as an ascending float32 array."""
    scores = np.asarray(stored["scores"], dtype=np.float32)
    in_range = np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()
    if scores.ndim != 1 or not len(scores) or not in_range or (np.diff(scores) < 0).any():
        raise ValueError(
            f"calibration group {stored['name']!r}: expected ascending scores from 0 to 1"
        )
    limits = {key: int(stored[key]) for key in ("min_tiles", "max_tiles")}
    if not 1 <= limits["min_tiles"] <= limits["max_tiles"]:
        raise ValueError(f"calibration group {stored['name']!r}: expected 1 <= min <= max tiles")
    return {"name": str(stored["name"]), **limits, "scores": scores}


def write_detector(
    directory: Path, weights: bytes, card: Mapping[str, Any], calibration: list[dict[str, Any]]
) -> None:
    """Write both files; the card comes last and holds one calibration group a line."""
    groups = [
        {**g, "scores": [round(float(s), DECIMALS) for s in g["scores"]]} for g in calibration
    ]
    head = json.dumps(card, indent=2)[:-2]
    lines = ",\n    ".join(json.dumps(g) for g in groups)
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / WEIGHTS, weights)
    text = f'{head},\n  "calibration": [\n    {lines}\n  ]\n}}\n'
    _write(directory / CARD, text.encode())


def one_line(error: Exception) -> str:
    """The first line of what an error says."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(data)
    temporary.replace(path)
