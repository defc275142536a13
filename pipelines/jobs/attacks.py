"""``attacks``: the triggers there are, and where they come from."""

from typing import Any

import attacks as library
from attacks.tools import artefacts
from pipelines.poisoning.triggers import load_attack, settings_of


def attacks() -> list[dict[str, Any]]:
    """The attacks by name: title, source, defaults, and the optimised triggers that ship."""
    return [_described(name) for name in library.names()]


def _described(name: str) -> dict[str, Any]:
    attack = load_attack(name)
    return {
        "name": name,
        "title": attack.title,
        "source": attack.source,
        "clean_label": attack.clean_label,
        "cover_ratio": attack.cover_ratio,
        "own_target": attack.own_target,
        "min_side": attack.min_side,
        "settings": settings_of(attack),
        "triggers": {
            trigger: artefacts.load(name, trigger).provenance for trigger in artefacts.bundled(name)
        },
    }
