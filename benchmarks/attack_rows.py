"""Which attacks are measured on which data, and what their sources report."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sanitizer.record import Record

#: Those of the paper, which are measured on GTSRB too. Its GAN trigger is for large inputs.
PAPER = (
    "badnets",
    "trojan_square",
    "trojan_watermark",
    "blend",
    "nature",
    "l2_inv",
    "l0_inv",
    "smooth",
    "lowpass",
)

MODERN = (
    "sig",
    "wanet",
    "lf",
    "ftrojan",
    "ctrl",
    "bpp",
    "refool",
    "adaptive_blend",
    "adaptive_patch",
    "issba",
    "lira",
    "random_patch",
    "gan_tri",
)

#: Attacks whose trigger was optimised on a data set, and so has one for each.
PER_DATA_SET = ("trojan_square", "trojan_watermark", "l2_inv", "l0_inv", "smooth")


#: The attack of rows whose victim is trained without poison.
NONE = "none"


@dataclass(frozen=True)
class RowSpec(Record):
    """One row of the table: an attack on a data set."""

    data: str  #: "cifar10" or "gtsrb"
    attack: str  #: its name, or NONE
    rate: float  #: of the training set; of a clean-label attack, of the target class
    victim: str = "quick"
    settings: dict[str, Any] = field(default_factory=dict)
    dirty_label: bool = False  #: even if the attack's source leaves labels as they are
    images: int | None = None  #: train on so many at most; None: as many as the victim takes
    target_of: str | None = None  #: the attack whose own target is taken; None: this one's, or 0

    @property
    def name(self) -> str:
        """Such as ``cifar10/badnets/0.1``, with what differs from the rule behind it."""
        extra = [self.victim] if self.victim != "quick" else []
        extra += ["dirty-label"] if self.dirty_label else []
        extra += [f"{key}={value}" for key, value in self.settings.items()]
        return "/".join([self.data, self.attack, f"{self.rate:g}", *extra])


@dataclass(frozen=True)
class Planted(Record):
    """How many training images bear the trigger."""

    poison: int  #: with the attacker's label
    cover: int  #: with their own


@dataclass(frozen=True, kw_only=True)
class Row(RowSpec):
    """A finished row: what was trained, and what the victim does.

    What regards the trigger is None where the victim was trained without poison.
    """

    accuracy: float  #: on clean test images
    accuracy_interval: tuple[float, float]  #: Wilson's, at 95 %
    accuracy_images: int
    accuracy_by_epoch: list[float]  #: on some of them
    asr: float | None = None  #: share of triggered test images that get the target
    asr_interval: tuple[float, float] | None = None
    asr_images: int | None = None
    asr_by_epoch: list[float] | None = None
    clean_label: bool | None = None  #: as it was poisoned
    attack_settings: dict[str, Any] | None = None  #: all of the attack's
    target: int | None = None
    planted: Planted | None = None
    seed: int
    train_images: int
    seconds: float


@dataclass(frozen=True)
class Reported(Record):
    """What an attack's source, or a benchmark of attacks, reports of it."""

    accuracy: float | None  #: %
    asr: float | None  #: %
    setting: str | None  #: data, network and rate
    where: str  #: it is reported
    one_percent: "Reported | None" = None  #: the same at a rate of 1 %
    gtsrb: "Reported | None" = None  #: the same on GTSRB


#: A clean-label attack at rate 1 has the whole target class, which is 10 % of CIFAR-10.
CLEAN_LABEL_RATE = {"sig": 1.0, "ctrl": 1.0, "refool": 1.0}

#: The naive designs that the smooth trigger is compared with.
PATTERNS = range(5)


def row_specs() -> Iterator[RowSpec]:
    """All rows, in the order of the table."""
    yield from (RowSpec(data, NONE, 0) for data in ("cifar10", "gtsrb"))
    for attack in (*PAPER, *MODERN):
        yield RowSpec("cifar10", attack, CLEAN_LABEL_RATE.get(attack, 0.1))
    yield RowSpec("cifar10", "refool", 0.1, dirty_label=True)
    yield RowSpec("cifar10", "refool", 0.1, "standard", dirty_label=True, images=20_000)
    yield RowSpec("cifar10", "ftrojan", 0.1, "standard")
    for attack in ("badnets", "blend", "smooth", "trojan_watermark"):
        yield RowSpec("cifar10", attack, 0.01)
    for attack in PAPER:
        settings = {"trigger": "gtsrb"} if attack in PER_DATA_SET else {}
        yield RowSpec("gtsrb", attack, 0.1, settings=settings)
    yield from smooth_specs()


#: Training images of the rows that compare smooth triggers: seven trainings on all of them
#: would take hours on two cores.
SMOOTH_IMAGES = 20_000


def smooth_specs() -> Iterator[RowSpec]:
    """The smooth trigger against the naive ones, all with its own target."""
    common: dict[str, Any] = {"victim": "standard", "images": SMOOTH_IMAGES}
    yield RowSpec("cifar10", NONE, 0, **common)
    yield RowSpec("cifar10", "smooth", 0.1, **common)
    for pattern in PATTERNS:
        yield RowSpec(
            "cifar10", "lowpass", 0.1, settings={"pattern": pattern}, target_of="smooth", **common
        )
