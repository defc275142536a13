"""What attacks share whose trigger was optimised: it comes from an artefact."""

from dataclasses import dataclass

from attacks.base import Attack
from attacks.tools import artefacts


@dataclass(frozen=True)
class OptimisedAttack(Attack):
    """An attack that applies arrays which ``freqsan craft`` made.

    Raises:
        ValueError: there is no such trigger, or it is of another attack or damaged.
    """

    trigger: str = "cifar10"  #: name of a trigger that ships, or a file made by `freqsan craft`

    def __post_init__(self) -> None:
        self.artefact  # noqa: B018  (told now, not at the first image)

    @property
    def artefact(self) -> artefacts.Artefact:
        """The arrays and their provenance; an artefact is named like the attack's file."""
        return artefacts.load(type(self).__module__.rpartition(".")[2], self.trigger)

    @property
    def own_target(self) -> int | None:
        """The label that the search found to dominate; None where any target will do."""
        found = self.artefact.provenance.get("target_label")
        return None if found is None else int(found)
