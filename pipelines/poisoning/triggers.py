"""Attacks as users ask for them: by name, with settings that may be text."""

import hashlib
import math
import typing
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

import attacks
from attacks import Attack, Role
from sanitizer.errors import InputError

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


#: How the text of a setting becomes its value, and what the text must be, by type.
_PARSERS: dict[Any, tuple[Any, str]] = {
    int: (int, "a whole number"),
    float: (_number, "a finite number"),
    bool: (lambda text: _TRUTH[text.lower()], "true or false"),
}


def load_attack(name: str, settings: Mapping[str, Any] | None = None) -> Attack:
    """An attack by name.

    Args:
        name: of a file in ``attacks``.
        settings: its settings; a text is parsed where the setting is of another type.

    Raises:
        InputError: an unknown name, listing the known ones, the nearest first; an unknown
            setting, one out of range or of the wrong type; a trigger that is not there.
    """
    try:
        types = typing.get_type_hints(attacks.kind(name))
        typed = {k: _parsed(f"{name}: {k}", v, types.get(k)) for k, v in (settings or {}).items()}
        return attacks.get(name, **typed)
    except ValueError as error:
        raise InputError(str(error)) from error


def _parsed(where: str, value: Any, kind: Any) -> Any:
    if not isinstance(value, str) or kind not in _PARSERS:
        return value
    parse, expected = _PARSERS[kind]
    try:
        return parse(value)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{where}: expected {expected}, got {value!r}") from error


def settings_of(attack: Attack) -> dict[str, Any]:
    """All settings of an attack, by name."""
    return asdict(typing.cast(Any, attack))  # every attack is a dataclass


def fingerprint(attack: Attack) -> str:
    """SHA-256 of what an attack does to noise: another one if its artefact is another.

    Raises:
        InputError: the trigger cannot be applied at all, such as a missing artefact.
    """
    side = max(32, attack.min_side)
    noise = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    try:
        made = b"".join(attack(noise, role).tobytes() for role in (Role.POISON, Role.COVER))
    except ValueError as error:
        raise InputError(str(error)) from error
    return hashlib.sha256(made).hexdigest()
