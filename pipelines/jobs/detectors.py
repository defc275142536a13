"""``detectors``: what can judge, and how well it did."""

from dataclasses import dataclass
from typing import Any

from detector import bundled, storage
from detector.card import Card
from sanitizer.record import Record


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
