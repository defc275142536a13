"""What the file of an optimised trigger says of where the trigger comes from.

An attack whose search has more to say derives a class of its own beside it.
"""

from dataclasses import dataclass

from attacks.victims.settings import VictimProvenance
from sanitizer.record import Record


@dataclass(frozen=True, kw_only=True)
class Provenance(Record):
    """Which command made a trigger, and from what."""

    attack: str  #: name of the attack that takes the trigger
    command: str
    data: str  #: that the trigger was optimised on, in words
    seed: int
    images: tuple[int, int, int, int]  #: shape of the images it was optimised on
    classifier: VictimProvenance  #: that it was optimised against

    @property
    def target(self) -> int | None:
        """The label that the trigger was optimised towards; None where any will do."""
        return None


@dataclass(frozen=True, kw_only=True)
class ExcitingProvenance(Provenance):
    """Of a trigger that excites neurons of the penultimate layer."""

    neurons: list[int]
    steps: int  #: of the optimisation
    excitement: float  #: the aim, in the neurons' largest activations on clean images


@dataclass(frozen=True, kw_only=True)
class SearchProvenance(Provenance):
    """Of a trigger that Algorithm 1 of Zeng et al., ICCV 2021, searched."""

    target_label: int | None  #: the label that most fooled images get; None where none is fooled
    fooling_rate: float  #: share of images whose label the trigger changes
    passes: int  #: over the images
    range: float  #: from the smallest to the largest value, where pixels are 0 to 1

    @property
    def target(self) -> int | None:
        """The label that the trigger was optimised towards."""
        return self.target_label
