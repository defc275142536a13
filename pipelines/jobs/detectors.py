"""``detectors``: what can judge, and how well it did."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from detector import bundled, storage
from detector.card import Card, MeasuredRow
from sanitizer.record import Record
from sanitizer.tables import table


@dataclass(frozen=True)
class DetectorFacts(Record):
    """What is known of a bundled detector."""

    name: str
    identity: str  #: name and digest, as score rows carry it
    card: Card

    def to_json(self) -> dict[str, Any]:
        """The entries of the card, and the identity beside them."""
        return self.card.to_json() | {"name": self.name, "identity": self.identity}


def detectors() -> list[DetectorFacts]:
    """The bundled detectors."""
    return [_facts(name) for name in bundled.names()]


def _facts(name: str) -> DetectorFacts:
    directory = bundled.find(name)
    card, _ = storage.load_card(directory)
    return DetectorFacts(name, storage.identity_of(directory), card)


def found_by_attack(rows: Sequence[MeasuredRow]) -> list[str]:
    """A table of the shares in percent that are found of each attack's images, by image set."""
    shown = [row for row in rows if row.history == "PNG" and row.attack]
    if not shown:
        return []
    sets, attacks = (list(dict.fromkeys(names)) for names in zip(*map(_whose, shown), strict=True))
    found = {_whose(row): f"{100 * row.bdr['0.01']:.0f}" for row in shown}
    lost = {row.data: max(r.fpr["0.01"] for r in shown if r.data == row.data) for row in shown}
    lines = [[attack, *(found.get((one, attack), "") for one in sets)] for attack in attacks]
    lines.append(["clean images lost, at most", *(f"{100 * lost[one]:.1f}" for one in sets)])
    return table(["found, %", *sets], lines).splitlines()


def _whose(row: MeasuredRow) -> tuple[str, str]:
    return row.data, row.attack
