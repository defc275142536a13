"""Backdoor triggers, pixels in and pixels out, to evaluate detectors by.

One trigger a file, known by its file name: a new attack is one new file. What several share
lies in ``base`` and in the sub-packages.

>>> get("badnets", side=6).title
'BadNets'
"""

import difflib
import importlib
import inspect
import pkgutil
from typing import Any

from attacks.base import Attack, Role, role_of

__all__ = ["Attack", "Role", "get", "kind", "names", "nearest_first", "role_of"]

#: The largest seed of an attack.
MAX_SEED = 2**63 - 1


def names() -> list[str]:
    """The attacks there are, sorted; each is the name of a file in this package."""
    return sorted(
        m.name for m in pkgutil.iter_modules(__path__) if m.name != "base" and not m.ispkg
    )


def kind(name: str) -> type[Attack]:
    """The class of an attack.

    Raises:
        ValueError: an unknown name; known ones are listed, the nearest first.
    """
    if name not in names():
        raise ValueError(f"no attack {name!r}, known: {', '.join(nearest_first(name, names()))}")
    return _attack_in(f"{__name__}.{name}")


def nearest_first(name: str, known: list[str]) -> list[str]:
    """Known names, those most like a misspelt ``name`` before the others.

    >>> nearest_first("blended", ["badnets", "blend", "sig"])
    ['blend', 'badnets', 'sig']
    """
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
    return near + [n for n in known if n not in near]


def get(name: str, **settings: Any) -> Attack:
    """An attack by name, with its defaults or with ``settings`` of its own.

    Raises:
        ValueError: an unknown name, an unknown setting, or a setting out of range; known
            names are listed, the nearest first.
    """
    attack = kind(name)
    known_settings = list(inspect.signature(attack).parameters)
    if unknown := sorted(settings.keys() - known_settings):
        raise ValueError(
            f"{name} has no setting {unknown[0]!r}, known: {', '.join(known_settings) or 'none'}"
        )
    if not 0 <= settings.get("seed", 0) <= MAX_SEED:
        raise ValueError(f"{name}: seed: expected 0 to {MAX_SEED}, got {settings['seed']}")
    return attack(**settings)


def _attack_in(path: str) -> type[Attack]:
    """The one attack that a module defines."""
    module = importlib.import_module(path)
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Attack) and value.__module__ == path
    ]
    if len(classes) != 1:
        raise ValueError(
            f"{module.__file__}: expected one class derived from Attack, got {len(classes)}"
        )
    return classes[0]
