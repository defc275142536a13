"""A proof in figures and words, as it is in ``proof.json``."""

from dataclasses import dataclass

from attacks.victims.settings import VictimSettings
from pipelines.poisoning.facts import AttackFacts, PoisonCounts
from pipelines.poisoning.request import PoisonSettings
from sanitizer.detection import Detection
from sanitizer.metrics import Share
from sanitizer.record import Record
from sanitizer.summary import Counts


@dataclass(frozen=True)
class Epoch(Record):
    """A victim after an epoch of its training, on some of the test images."""

    accuracy: float
    asr: float


@dataclass(frozen=True)
class VictimFigures(Record):
    """How one victim does on the test images.

    ``_rejecting``: an image that the detector rejects before the victim sees it is a miss.
    """

    trained_on: int  #: images
    accuracy: Share  #: of the clean test images, those that get their own class
    accuracy_rejecting: Share
    asr: Share  #: of the triggered test images, those that get the attacker's class
    asr_rejecting: Share
    history: list[Epoch]


@dataclass(frozen=True)
class Victims(Record):
    """The victims of a run, by what they are trained on."""

    reference: VictimFigures  #: the set without poison
    before: VictimFigures  #: the poisoned set
    after: VictimFigures  #: the poisoned set after cleaning


@dataclass(frozen=True)
class Rejection(Record):
    """The test images that the detector rejects."""

    clean: Share
    triggered: Share


@dataclass(frozen=True)
class RunCounts(Record):
    """What was poisoned, and what became of all samples when the set was cleaned."""

    poison: PoisonCounts
    clean: Counts


@dataclass(frozen=True)
class Run(Record):
    """One run: its own choice of images to poison, and three victims of one seed."""

    seed: int
    counts: RunCounts
    victims: Victims
    detection: Detection  #: of the poison among the images to train on
    largest_class: float  #: share of the test images that are of their most frequent class
    rejection: Rejection


@dataclass(frozen=True)
class ProvedAttack(PoisonSettings, AttackFacts):
    """The attack, and how the set was poisoned with it."""


@dataclass(frozen=True, kw_only=True)
class ProvedVictim(VictimSettings, Record):
    """The victim's settings, and how it sees the images."""

    size: tuple[int, int]  #: height and width in px
    resized: bool  #: whether the images had another size


@dataclass(frozen=True)
class Proof(Record):
    """What became of an attack on a set, before cleaning and after it."""

    title: str
    verdict: str  #: in plain words
    attack: ProvedAttack
    victim: ProvedVictim
    detector: str  #: its identity
    runs: list[Run]  #: at least one
    notes: list[str]  #: how the figures came about, in sentences
