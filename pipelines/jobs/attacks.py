"""``attacks``: the triggers there are, and where they come from."""

from dataclasses import dataclass
from typing import Any

import attacks as library
from attacks.tools import artefacts
from attacks.tools.optimised import OptimisedAttack
from attacks.tools.provenance import Provenance
from pipelines.poisoning.triggers import load_attack, settings_of
from sanitizer.record import Record


@dataclass(frozen=True)
class AttackCard(Record):
    """What is to know of an attack before it is used."""

    name: str  #: that commands and functions know it by
    title: str  #: as the field names it, such as "BadNets"
    source: str  #: paper that the trigger comes from
    clean_label: bool  #: it poisons images of the target class only and leaves their labels
    cover_ratio: float  #: cover samples for each poisoned one
    own_target: int | None  #: the label its trigger was optimised towards; None where any will do
    min_side: int  #: images with a shorter side hold no such trigger, px
    settings: dict[str, Any]  #: by name, with their defaults
    triggers: dict[str, Provenance]  #: optimised ones that ship, by name


def attacks() -> list[AttackCard]:
    """The attacks, sorted by name.

    >>> attacks()[2].title
    'BadNets'
    """
    return [_card(name) for name in library.names()]


def _card(name: str) -> AttackCard:
    attack = load_attack(name)
    return AttackCard(
        name=name,
        title=attack.title,
        source=attack.source,
        clean_label=attack.clean_label,
        cover_ratio=attack.cover_ratio,
        own_target=attack.own_target,
        min_side=attack.min_side,
        settings=settings_of(attack),
        triggers=_shipped_triggers(name, attack) if isinstance(attack, OptimisedAttack) else {},
    )


def _shipped_triggers(name: str, attack: OptimisedAttack) -> dict[str, Provenance]:
    return {
        trigger: artefacts.load(name, trigger, attack.provenance_kind).provenance
        for trigger in artefacts.bundled(name)
    }
