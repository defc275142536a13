"""Which cells there are: every set, encoding, draw, attack and rate that is asked for."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import attacks
from pipelines.evaluation.records import CellPlan, Planted
from pipelines.evaluation.sets import OpenSet
from pipelines.judging.options import JudgingOptions
from pipelines.poisoning.encoding import Encoding
from pipelines.poisoning.labels import Label
from pipelines.poisoning.request import PoisonRequest
from pipelines.poisoning.triggers import fingerprint
from sanitizer.errors import InputError


@dataclass(frozen=True)
class Grid:
    """What is combined with what."""

    attacks: tuple[str, ...]  #: each a name, with settings: ``smooth,trigger=gtsrb``
    rates: tuple[float, ...]  #: 0 for the clean set
    encodings: tuple[str, ...]
    draws: range
    clean_label: bool | None  #: None: as each attack's source does

    @classmethod
    def checked(
        cls,
        *,
        names: Sequence[str],
        rates: Sequence[float],
        encodings: Sequence[str],
        draws: int,
        seed: int,
        clean_label: bool | None,
    ) -> Self:
        """The arguments of ``evaluate``.

        Raises:
            InputError: an unknown attack, setting or encoding, or a value out of range.
        """
        if draws < 1:
            raise InputError(f"draws: expected 1 or more, got {draws}")
        if seed < 0:
            raise InputError(f"seed: expected 0 or more, got {seed}")
        if not encodings:
            raise InputError("encodings: expected at least one, such as keep")
        if not rates:
            raise InputError("rates: expected at least one; 0 is the set without poison")
        for rate in rates:
            if not 0 <= rate <= 1:
                raise InputError(
                    f"rates: expected from 0, the set without poison, to 1, got {rate:g}"
                )
        for encoding in encodings:
            Encoding(encoding)
        grid = cls(
            tuple(dict.fromkeys(names or attacks.names())),
            tuple(dict.fromkeys(rates)),
            tuple(dict.fromkeys(encodings)),
            range(seed, seed + draws),
            clean_label,
        )
        for name in grid.attacks:
            for rate in grid._poisoned:
                grid._request(name, rate, seed, None)
        return grid

    def plans(
        self, opened: OpenSet, judging: JudgingOptions | None, scan: bool
    ) -> Iterator[CellPlan]:
        """All cells of a set, those of an encoding next to each other.

        Args:
            opened: the set.
            judging: of the scores; None: there are none.
            scan: whether classes are scanned.
        """
        present = opened.present()
        planted = [
            self._planted(name, draw, opened, present)
            for draw in (self.draws if self._poisoned else ())
            for name in self.attacks
        ]
        for encoding in self.encodings:
            if 0 in self.rates:
                yield CellPlan(opened.facts, encoding, None, judging, scan)
            for one in planted:
                for rate in self._poisoned:
                    own = replace(one, rate=rate, encode=encoding)
                    yield CellPlan(opened.facts, encoding, own, judging, scan)

    @property
    def _poisoned(self) -> tuple[float, ...]:
        """The rates at which there is poison."""
        return tuple(filter(None, self.rates))

    def _planted(self, name: str, draw: int, opened: OpenSet, present: Sequence[Label]) -> Planted:
        """An attack in a draw, at the first rate and in the first encoding."""
        rate = self._poisoned[0]
        own = self._request(name, rate, draw, None).attack.own_target
        # Not by the rate, so that the rates of a draw differ in nothing else.
        target = own if own in present else _drawn(present, f"{draw}|{name}")
        request = self._request(name, rate, draw, target)
        settled = vars(request.settled(opened.labels))
        return Planted(**settled, name=name, attack_sha256=fingerprint(request.attack), draw=draw)

    def _request(self, name: str, rate: float, draw: int, target: Label | None) -> PoisonRequest:
        attack, settings = _parsed(name)
        return PoisonRequest.checked(
            attack=attack,
            attack_settings=_with_seed(attack, settings, draw),
            rate=rate,
            target_label=target,
            clean_label=self.clean_label,
            all_to_all=False,
            encode=self.encodings[0],
        )


def _parsed(name: str) -> tuple[str, dict[str, str]]:
    """An attack and its settings.

    Raises:
        InputError: a setting without a value.
    """
    attack, *settings = name.split(",")
    for setting in settings:
        if not setting.partition("=")[0] or "=" not in setting:
            raise InputError(f"attack {name!r}: expected NAME,KEY=VALUE,…, got {setting!r}")
    return attack, dict(setting.split("=", 1) for setting in settings)


def _with_seed(attack: str, settings: Mapping[str, Any], draw: int) -> dict[str, Any]:
    """The settings of an attack, its own chance drawn anew in every draw unless it is set."""
    try:
        kind: Any = attacks.kind(attack)
    except ValueError:
        return dict(settings)  # an unknown attack is told by who makes it
    drawn = {"seed": draw} if any(field.name == "seed" for field in fields(kind)) else {}
    return drawn | dict(settings)


def _drawn(labels: Sequence[Label], key: str) -> Label:
    """One of the labels, at random by a key."""
    digest = hashlib.sha256(key.encode()).digest()
    return labels[int.from_bytes(digest[:8], "big") % len(labels)]
