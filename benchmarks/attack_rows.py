"""Which attacks are measured on which data, and what their sources report."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

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
class RowSpec:
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
    common = {"victim": "standard", "images": SMOOTH_IMAGES}
    yield RowSpec("cifar10", NONE, 0, **common)
    yield RowSpec("cifar10", "smooth", 0.1, **common)
    for pattern in PATTERNS:
        yield RowSpec(
            "cifar10", "lowpass", 0.1, settings={"pattern": pattern}, target_of="smooth", **common
        )
