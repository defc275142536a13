"""Triggers that were optimised once: small files of arrays with their provenance.

A file is safetensors, so nothing in it is ever executed; the provenance (which command,
classifier, data and seed made it) is JSON in its header.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import safetensors
import safetensors.numpy

from sanitizer.files import write_atomically
from sanitizer.record import Record

SUFFIX = ".safetensors"

Kind = TypeVar("Kind", bound=Record)


@dataclass(frozen=True)
class Artefact(Generic[Kind]):
    """Arrays by name, and where they come from."""

    arrays: dict[str, np.ndarray]
    provenance: Kind

    def array(self, name: str, ndim: int) -> np.ndarray:
        """One array as float32.

        Raises:
            ValueError: it is missing, not finite, or has another number of dimensions.
        """
        array = self.arrays.get(name)
        if array is None or array.ndim != ndim or not np.isfinite(array).all():
            shape = None if array is None else array.shape
            raise ValueError(
                f"expected a finite array {name!r} of {ndim} dimensions, got {shape}; "
                f"the artefact is of another attack or damaged"
            )
        return array.astype(np.float32)


def bundled(attack: str) -> list[str]:
    """Names of the artefacts that ship for an attack.

    >>> bundled("smooth")
    ['cifar10', 'gtsrb']
    """
    start = f"{attack}-"
    return sorted(
        file.name.removeprefix(start).removesuffix(SUFFIX)
        for file in folder().iterdir()
        if file.name.startswith(start) and file.name.endswith(SUFFIX)
    )


def load(attack: str, trigger: str, kind: type[Kind]) -> Artefact[Kind]:
    """An artefact by the name it ships under, or from a file.

    Args:
        attack: the attack's name.
        trigger: such as ``"cifar10"``, or a path that ends in ``.safetensors``.
        kind: the record that its provenance is.

    Raises:
        ValueError: there is none, or the file is not a whole artefact of this attack.
    """
    path = _path(attack, trigger)
    try:
        status = path.stat()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    arrays, header = _contents(str(path), status.st_mtime_ns, status.st_size)
    made_for = header.get("attack") if isinstance(header, dict) else None
    if made_for != attack:
        raise ValueError(f"{path}: an artefact of {made_for}, expected one of {attack}")
    try:
        return Artefact(arrays, kind.from_json(header))
    except ValueError as error:
        raise ValueError(f"{path}: not a whole artefact (provenance: {error})") from error


def save(path: Path, arrays: Mapping[str, np.ndarray], provenance: Record) -> None:
    """Write an artefact, atomically; its provenance has a field ``attack``."""
    data = safetensors.numpy.save(
        {name: np.ascontiguousarray(value) for name, value in arrays.items()},
        metadata={"provenance": json.dumps(provenance.to_json(), sort_keys=True)},
    )
    write_atomically(path, data)


def folder() -> Path:
    """Where the artefacts lie that ship."""
    return Path(str(resources.files("attacks"))) / "artefacts"


def _path(attack: str, trigger: str) -> Path:
    if trigger.endswith(SUFFIX):
        return Path(trigger)
    known = bundled(attack)
    if trigger not in known:
        raise ValueError(
            f"{attack} has no trigger {trigger!r}, known: {', '.join(known) or 'none ships'}; or "
            f"give the path of a {SUFFIX} file made by `freqsan craft {attack}`"
        )
    return folder() / f"{attack}-{trigger}{SUFFIX}"


@functools.lru_cache(maxsize=64)
def _contents(path: str, mtime_ns: int, size: int) -> tuple[dict[str, np.ndarray], Any]:
    """Arrays and provenance; a file is read once, and again when it has changed."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, json.loads((file.metadata() or {}).get("provenance", "{}"))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path}: not a whole artefact ({error})") from error
