"""What attacks share whose trigger was optimised: it comes from an artefact."""

from dataclasses import dataclass
from typing import ClassVar

from attacks.base import Attack
from attacks.tools import artefacts
from attacks.tools.provenance import Provenance


@dataclass(frozen=True)
class OptimisedAttack(Attack):
    """An attack that applies arrays which ``freqsan craft`` made.

    Raises:
        ValueError: there is no such trigger, or it is of another attack or damaged.
    """

    trigger: str = "cifar10"  #: name of a trigger that ships, or a file made by `freqsan craft`

    provenance_kind: ClassVar[type[Provenance]]  #: what its artefacts say of where they come from

    def __post_init__(self) -> None:
        self.artefact  # noqa: B018  (a missing one is an error now, not at the first image)

    @property
    def artefact(self) -> artefacts.Artefact[Provenance]:
        """The arrays and their provenance; an artefact is named like the attack's file."""
        name = type(self).__module__.rpartition(".")[2]
        return artefacts.load(name, self.trigger, self.provenance_kind)

    @property
    def own_target(self) -> int | None:
        """The label that the trigger was optimised towards; None where any target will do."""
        return self.artefact.provenance.target
