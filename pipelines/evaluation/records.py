"""What a cell of an evaluation is, and what was measured in it."""

import hashlib
import json
import re
import time
from dataclasses import dataclass
from pathlib import PurePath

from pipelines.judging.options import JudgingOptions
from pipelines.poisoning.facts import PoisonCounts
from pipelines.poisoning.request import PoisonSettings
from sanitizer.detection import Detection, Flagged
from sanitizer.metrics import Share
from sanitizer.record import Record
from sanitizer.scan.decision import Reason
from sanitizer.scan.evidence import Evidence

#: What gives verdicts, the joint one first.
JUDGES = ("both", "scan", "score")


@dataclass(frozen=True)
class SetFacts(Record):
    """A set that is evaluated on, or some rows of it."""

    location: str  #: as the user gave it
    rows: tuple[int, int] | None  #: the first, and the one behind the last; None: all
    sha256: str  #: of its ids, labels and images

    @property
    def name(self) -> str:
        """For people."""
        file = PurePath(self.location).name or self.location
        return file if self.rows is None else f"{file} rows {self.rows[0]:,}:{self.rows[1]:,}"


@dataclass(frozen=True)
class Planted(PoisonSettings):
    """What a set is poisoned with, and by which draw."""

    name: str  #: of the attack, with the settings that the user gave
    attack_sha256: str  #: of what the attack does, as its artefacts may be other files
    draw: int  #: seed of all that is drawn at random


@dataclass(frozen=True)
class CellPlan(Record):
    """What decides the figures of a cell, and nothing else."""

    set: SetFacts
    encoding: str  #: of the whole set
    planted: Planted | None  #: None: the set is clean
    judging: JudgingOptions | None  #: of the scores; None: there are none
    scan: bool

    @property
    def rate(self) -> float:
        """Share of the eligible images that are poisoned; 0 in a clean set."""
        return 0.0 if self.planted is None else self.planted.rate

    @property
    def attack(self) -> str:
        """The attack for people, with what decides which images it is on."""
        if self.planted is None:
            return "without poison"
        return f"{self.planted.name}{' (clean label)' if self.planted.clean_label else ''}"

    @property
    def words(self) -> str:
        """The cell for people."""
        words = f"{self.set.name}, {self.encoding}, {self.attack}"
        if self.planted is None:
            return words
        return f"{words} {100 * self.rate:g} %, draw {self.planted.draw}"

    @property
    def file(self) -> str:
        """The name of the cell's file: words for people, and a digest of all that decides."""
        decides = self.to_json()
        del decides["set"]["location"]  # the same set may be given by other paths
        stored = json.dumps(decides, sort_keys=True).encode()
        words = re.sub(r"[^a-z0-9.]+", "-", self.words.lower())[:80].strip("-.")
        return f"{words}-{hashlib.sha256(stored).hexdigest()[:12]}.json"


@dataclass(frozen=True)
class Called(Record):
    """A class that the scan has called infected, by one finding."""

    label: str  #: a :func:`sanitizer.summary.label_key`
    class_name: str
    images: Share  #: of the class that are held to carry the trigger
    poisoned: int  #: of these, those that do, under the attacker's label
    reason: Reason
    evidence: Evidence
    separations: dict[str, float]  #: d' of its images from the others, by view


@dataclass(frozen=True)
class Seconds(Record):
    """What work has taken."""

    wall: float
    cpu: float  #: of all threads; what else the machine does matters little to it

    @classmethod
    def since(cls, start: "Seconds") -> "Seconds":
        """Since :meth:`now` was called."""
        now = cls.now()
        return cls(now.wall - start.wall, now.cpu - start.cpu)

    @classmethod
    def now(cls) -> "Seconds":
        """What the clocks say."""
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def times(self, share: float) -> "Seconds":
        """Of a share of the work."""
        return Seconds(self.wall * share, self.cpu * share)


@dataclass(frozen=True)
class Cost(Record):
    """What a cell has taken; of what several cells share, as if it were done for this one."""

    poison: Seconds
    score: Seconds  #: to decode all images and, where there are scores, score them
    scan: Seconds


@dataclass(frozen=True)
class Cell(Record):
    """What was measured in a cell."""

    plan: CellPlan
    code: str  #: digest of the code that measured
    images: int
    counts: PoisonCounts | None  #: None where the set is clean
    target: str | None  #: class that the poison aims at
    score: Detection | None  #: by the scores alone; None without them
    scan: Flagged | None  #: by the scan alone; None without it
    both: Flagged | None  #: by both, as ``clean`` decides; None unless there are both
    searched: int  #: classes that were scanned
    infected: tuple[str, ...]  #: labels of classes with poison in them that were scanned
    called: tuple[Called, ...]
    cost: Cost

    def by(self, judge: str) -> Flagged | None:
        """The verdicts of one of ``JUDGES``."""
        return {"both": self.both, "scan": self.scan, "score": self.score}[judge]

    @property
    def wrongly(self) -> Share:
        """Of the scanned classes without poison, those that were called infected."""
        wrong = {called.label for called in self.called} - set(self.infected)
        return Share.from_counts(len(wrong), self.searched - len(self.infected))
