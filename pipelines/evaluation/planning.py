"""Which cells there are: every set, encoding, draw, attack and rate that is asked for."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import attacks
from attacks import Attack
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
        attacks: Sequence[str],
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
        if not rates:
            raise InputError("rates: expected at least one; 0 is the set without poison")
        for encoding in encodings:
            Encoding(encoding)
        grid = cls(
            tuple(dict.fromkeys(attacks or _all_attacks())),
            tuple(dict.fromkeys(rates)),
            tuple(dict.fromkeys(encodings)),
            range(seed, seed + draws),
            clean_label,
        )
        for name in grid.attacks:
            for rate in grid.rates:
                if rate:
                    grid._request(name, rate, grid.encodings[0], None, seed)
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
        present, known = opened.present(), _Fingerprints()
        for encoding in self.encodings:
            if 0 in self.rates:
                yield CellPlan(opened.facts, encoding, None, judging, scan)
            for draw in self.draws:
                for name in self.attacks:
                    for rate in filter(None, self.rates):
                        planted = self._planted(name, rate, encoding, draw, opened, present, known)
                        yield CellPlan(opened.facts, encoding, planted, judging, scan)

    def _planted(
        self,
        name: str,
        rate: float,
        encoding: str,
        draw: int,
        opened: OpenSet,
        present: Sequence[Label],
        known: "_Fingerprints",
    ) -> Planted:
        own = self._request(name, rate, encoding, None, draw).attack.own_target
        target = _target(own, opened, present, f"{draw}|{name}")
        request = self._request(name, rate, encoding, target, draw)
        settled = vars(request.settled(opened.labels))
        sha256 = known.of(f"{draw}|{name}", request.attack)
        return Planted(**settled, name=name, attack_sha256=sha256, draw=draw)

    def _request(
        self, name: str, rate: float, encoding: str, target: Label | None, draw: int
    ) -> PoisonRequest:
        attack, settings = _parsed(name)
        return PoisonRequest.checked(
            attack=attack,
            attack_settings=_with_seed(attack, settings, draw),
            rate=rate,
            target_label=target,
            clean_label=self.clean_label,
            all_to_all=False,
            encode=encoding,
        )


class _Fingerprints:
    """What attacks do, worked out once for each."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, key: str, attack: Attack) -> str:
        if key not in self._known:
            self._known[key] = fingerprint(attack)
        return self._known[key]


def _all_attacks() -> list[str]:
    return attacks.names()


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


def _target(own: int | None, opened: OpenSet, present: Sequence[Label], key: str) -> Label:
    """The label that the trigger was optimised towards where the set has it, else a random one."""
    if own is not None:
        for label in present:
            if label == own:
                return label
    digest = hashlib.sha256(key.encode()).digest()
    return present[int.from_bytes(digest[:8], "big") % len(present)]
