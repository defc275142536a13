"""Triggers that were optimised once: small files of arrays with their provenance.

A file is safetensors, so nothing in it is ever executed; the provenance (which command,
classifier, data and seed made it) is JSON in its header.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

SUFFIX = ".safetensors"

#: A bundled artefact is no larger.
MAX_BYTES = 100_000


@dataclass(frozen=True)
class Artefact:
    """Arrays by name, and where they come from."""

    arrays: dict[str, np.ndarray]
    provenance: dict[str, Any] = field(default_factory=dict)

    def array(self, name: str, ndim: int) -> np.ndarray:
        """One array as float32.

        Raises:
            ValueError: it is missing, not finite, or has another number of dimensions.
        """
        found = self.arrays.get(name)
        if found is None or found.ndim != ndim or not np.isfinite(found).all():
            shape = None if found is None else found.shape
            raise ValueError(
                f"expected a finite array {name!r} of {ndim} dimensions, found {shape}; "
                f"the artefact is of another attack or damaged"
            )
        return found.astype(np.float32)


def bundled(attack: str) -> list[str]:
    """Names of the artefacts that ship for an attack, such as ``cifar10``."""
    start = f"{attack}-"
    return sorted(
        file.name.removeprefix(start).removesuffix(SUFFIX)
        for file in _folder().iterdir()
        if file.name.startswith(start) and file.name.endswith(SUFFIX)
    )


def load(attack: str, trigger: str) -> Artefact:
    """An artefact by the name it ships under, or from a file.

    Args:
        attack: the attack's name.
        trigger: such as ``"cifar10"``, or a path that ends in ``.safetensors``.

    Raises:
        ValueError: there is none, or the file is not a whole artefact of this attack.
    """
    if trigger.endswith(SUFFIX):
        return _found(attack, Path(trigger))
    if trigger not in bundled(attack):
        known = ", ".join(bundled(attack)) or "none ships"
        raise ValueError(
            f"{attack} has no trigger {trigger!r}, known: {known}; or give the path of a "
            f"{SUFFIX} file made by `freqsan craft {attack}`"
        )
    return _found(attack, _folder() / f"{attack}-{trigger}{SUFFIX}")


def save(path: Path, arrays: Mapping[str, np.ndarray], provenance: Mapping[str, Any]) -> None:
    """Write an artefact, atomically; ``provenance`` is JSON-able and names the ``attack``."""
    data = safetensors.numpy.save(
        {name: np.ascontiguousarray(value) for name, value in arrays.items()},
        metadata={"provenance": json.dumps(provenance, sort_keys=True)},
    )
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(data)
    temporary.replace(path)


def _found(attack: str, path: Path) -> Artefact:
    try:
        status = path.stat()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    return _read(attack, str(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _read(attack: str, path: str, mtime_ns: int, size: int) -> Artefact:
    """Reads a file once, unless it has changed since."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            provenance = json.loads((file.metadata() or {}).get("provenance", "{}"))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path}: not a whole artefact ({error})") from error
    made_for = provenance.get("attack") if isinstance(provenance, dict) else None
    if made_for != attack:
        raise ValueError(f"{path}: an artefact of {made_for}, expected one of {attack}")
    return Artefact(arrays, provenance)


def _folder() -> Path:
    return Path(str(resources.files("attacks"))) / "artefacts"
