"""Attacks as users ask for them: by name, with settings that may be text."""

import hashlib
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

import attacks
from attacks import Attack, Role
from sanitizer.errors import InputError

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


class _Parser(NamedTuple):
    parse: Callable[[str], Any]  #: the text of a setting to its value
    expected: str  #: what the text must be, in words


#: By the type of the setting.
_PARSERS: dict[Any, _Parser] = {
    int: _Parser(int, "a whole number"),
    float: _Parser(_finite, "a finite number"),
    bool: _Parser(lambda text: _TRUTH[text.lower()], "true or false"),
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
        parsed = {k: _parsed(f"{name}: {k}", v, types.get(k)) for k, v in (settings or {}).items()}
        return attacks.get(name, **parsed)
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
        triggered = b"".join(attack(noise, role).tobytes() for role in (Role.POISON, Role.COVER))
    except ValueError as error:
        raise InputError(str(error)) from error
    return hashlib.sha256(triggered).hexdigest()
