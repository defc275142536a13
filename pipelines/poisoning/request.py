"""What a user asks to be poisoned: checked, then settled for a set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from attacks import Attack
from pipelines.poisoning.encoding import Encoding
from pipelines.poisoning.labels import Aim, Label, Labels
from pipelines.poisoning.recipe import Recipe, poisoned_schema
from pipelines.poisoning.triggers import load_attack, settings_of
from pipelines.sources.base import Source
from sanitizer.errors import InputError
from sanitizer.record import Record


@dataclass(frozen=True)
class PoisonSettings(Record):
    """How a set is poisoned, but for the seed; the fields are arguments of ``poison``."""

    attack: str
    attack_settings: dict[str, Any]  #: all of them, those that were not given too
    rate: float  #: share of the eligible samples, above 0, at most 1
    target_label: Label | None  #: None where every label has its own
    clean_label: bool
    all_to_all: bool
    encode: str


@dataclass(frozen=True)
class PoisonRequest:
    """An attack and how it is to be used, before any image is read."""

    name: str  #: of the attack
    attack: Attack
    rate: float
    aim: Aim
    encoding: Encoding

    @classmethod
    def checked(
        cls,
        *,
        attack: str,
        attack_settings: Mapping[str, Any] | None,
        rate: float,
        target_label: Label | None,
        clean_label: bool | None,
        all_to_all: bool,
        encode: str,
    ) -> Self:
        """The arguments of ``poison`` and ``prove``, which say what they mean.

        Raises:
            InputError: an unknown attack or setting, a value out of range, or settings that
                contradict each other.
        """
        trigger = load_attack(attack, attack_settings)
        check_rate(rate, trigger)
        aim = Aim(
            target_label, trigger.clean_label if clean_label is None else clean_label, all_to_all
        )
        return cls(attack, trigger, rate, aim, Encoding(encode))

    def settled(self, labels: Labels) -> PoisonSettings:
        """The settings for a set of these labels.

        Raises:
            InputError: the target is not among the labels.
        """
        return PoisonSettings(
            attack=self.name,
            attack_settings=settings_of(self.attack),
            rate=self.rate,
            target_label=self.aim.target(labels, self.attack),
            clean_label=self.aim.clean_label,
            all_to_all=self.aim.all_to_all,
            encode=self.encoding.name,
        )

    def recipe(
        self, source: Source, labels: Labels, target_label: Label | None, seed: int
    ) -> Recipe:
        """What becomes of the samples of a set.

        Args:
            source: with a label column.
            labels: of ``source``.
            target_label: from :meth:`settled`.
            seed: of the choice of samples.

        Raises:
            InputError: the set was poisoned before.
        """
        return Recipe(
            name=self.name,
            attack=self.attack,
            rate=self.rate,
            seed=seed,
            labels=frozenset(labels.values),
            new_label=self.aim.new_labels(labels, target_label),
            encoding=self.encoding,
            image_column=source.image_column,
            label_column=str(source.label_column),
            schema=poisoned_schema(source),
        )


def check_rate(rate: float, attack: Attack) -> None:
    """Refuse a rate that is none, or that leaves no room for the attack's cover samples.

    Raises:
        InputError: so it is.
    """
    if not 0 < rate <= 1:
        raise InputError(f"rate: expected above 0, at most 1, got {rate:g}")
    covers = rate * attack.cover_ratio
    if covers > 1 - rate:
        raise InputError(
            f"rate {rate:g} and {attack.cover_ratio:g} cover samples for each poisoned one are "
            f"more than the whole set; give a rate of {1 / (1 + attack.cover_ratio):.3g} or less"
        )
