"""The experiments: which detector is trained on what, tuned on what and tested on what."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import attacks
from benchmarks.detection_data import decoded, table, tracks
from benchmarks.lines import append, rows_of
from benchmarks.paper import linear
from benchmarks.paper.manipulations import manipulated
from benchmarks.paper.network import (
    FREQUENCY,
    IMAGE,
    PaperNetwork,
    Schedule,
    described,
    distance,
    fit,
    flagged,
    tuned,
)
from sanitizer.metrics import Share
from sanitizer.record import Record
from sanitizer.resizing import Filter, resize

#: The paper's triggers, in its order.
TRIGGERS = (
    *("badnets", "trojan_watermark", "trojan_square", "nature", "blend", "l2_inv", "l0_inv"),
)

#: Clean images of the set in hand that a detector is tuned on, and epochs over them and their
#: manipulated twins; the paper leaves the epochs open.
TUNED_ON, TUNING_EPOCHS = 100, 10

#: Clean images that Section 5 tunes on for one epoch, and as many with a trigger.
SMOOTH_IMAGES = 10_000

#: The naive designs of smooth triggers.
DESIGNS = range(5)

#: Images of each set that are tested on, at most, and of which a curve is measured.
TEST_IMAGES, CURVE_IMAGES = 2_000, 500


#: Pictures that the linear classifiers learn from, and the name of their own manipulations.
PICTURES, OWN = 2_400, "its manipulations"


@dataclass(frozen=True)
class Row(Record):
    """What one detector finds of one trigger on one set."""

    experiment: str
    detector: str  #: what it was trained on, and tuned
    domain: str
    data: str  #: tested on, clean and with the trigger
    trigger: str
    epoch: int  #: epochs that it had learnt
    fpr: Share
    bdr: Share
    distance: float = 0.0  #: of the images with the trigger from the clean ones, Figure 4

    @property
    def accuracy(self) -> float:
        """Of a test set half clean, half with the trigger."""
        return (1 - self.fpr.value + self.bdr.value) / 2


@dataclass(frozen=True)
class Sets:
    """Real images; what is tested on is never trained on."""

    folder: Path

    @cache  # noqa: B019 - there is one for the whole run
    def train(self, name: str) -> np.ndarray:
        """(n, 32, 32, 3) uint8 clean images of one set, or of several joined by "+"."""
        if "+" in name:
            return np.concatenate([self.train(part) for part in name.split("+")])
        return self._images(name, test=False)

    @cache  # noqa: B019
    def test(self, name: str) -> np.ndarray:
        """(n, 32, 32, 3) uint8 clean images of one set."""
        return self._images(name, test=True)[: TEST_IMAGES + TUNED_ON]

    def pictures(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, side, side, 3) uint8 clean pictures of Imagenette to train and to test on."""
        images = table(self.folder / "imagenette224.parquet")
        parts = np.arange(PICTURES), np.arange(3_000, len(images))
        train, test = (
            np.stack([resize(p, (side, side), Filter.BICUBIC) for p in decoded(images, rows)])
            for rows in parts
        )
        return train, test

    def _images(self, name: str, *, test: bool) -> np.ndarray:
        if name == "cifar10":
            images = table(self.folder / "cifar10_train.parquet")
            rows = np.arange(40_000, 50_000) if test else np.arange(40_000)
        elif name == "gtsrb":
            images = table(self.folder / "gtsrb_train.parquet")
            rows = np.flatnonzero((tracks(images) % 5 == 4) == test)
        else:
            images = table(self.folder / "caltech101_32.parquet")
            rows = np.arange(len(images))
        return np.stack(decoded(images, rows))


@dataclass(frozen=True)
class Laboratory:
    """Where detectors are trained, tested and written down."""

    sets: Sets
    schedule: Schedule
    work: Path

    @property
    def path(self) -> Path:
        return self.work / "rows.jsonl"

    def run(self) -> Iterator[str]:
        """All experiments, those that are there left out; says what it did."""
        for experiment in (self.large_inputs, self.table_1, self.tables_2_to_4, self.section_5):
            yield from experiment()

    def large_inputs(self) -> Iterator[str]:
        """A linear classifier at each size: how much of its own manipulations and of triggers."""
        for side in linear.SIDES:
            of = ("large inputs", f"linear at {side} px", "log frequency", "imagenette")
            if self._is_done(*of):
                continue
            rng = np.random.default_rng(self.schedule.seed)
            train, test = self.sets.pictures(side)
            detector = linear.LinearDetector.fit(train, manipulated(train, rng), self.schedule.seed)
            fpr = Share.counted(detector.flagged(test))
            poisoned = {OWN: manipulated(test, rng)}
            poisoned |= {trigger: _attack(trigger)(test) for trigger in TRIGGERS}
            found = {name: Share.counted(detector.flagged(p)) for name, p in poisoned.items()}
            append(
                self.path, [Row(*of, name, linear.EPOCHS, fpr, bdr) for name, bdr in found.items()]
            )
            yield f"large inputs: {side} px"

    def table_1(self) -> Iterator[str]:
        """Each set by its own detector, by frequencies and by pixels."""
        for name in ("cifar10", "gtsrb"):
            for domain in (FREQUENCY, IMAGE):
                yield from self.tested("table 1", name, domain, name)

    def tables_2_to_4(self) -> Iterator[str]:
        """Detectors of one set on another, as they are and tuned; Caltech in place of TSRD."""
        plans = {
            "table 2": ("gtsrb", ("cifar10",)),
            "table 3": ("caltech", ("gtsrb", "cifar10")),
            "table 4": ("caltech", ("cifar10+gtsrb",)),
        }
        for experiment, (data, trained) in plans.items():
            for name in trained:
                for is_tuned in (False, True):
                    yield from self.tested(experiment, name, FREQUENCY, data, is_tuned=is_tuned)

    def tested(
        self, experiment: str, name: str, domain: str, data: str, *, is_tuned: bool = False
    ) -> Iterator[str]:
        """One detector on one set, all triggers."""
        detector = f"{name}, tuned" if is_tuned else name
        if self._is_done(experiment, detector, domain, data):
            return
        network = self.trained(name, domain)
        images = self.sets.test(data)
        mine, images = images[:TUNED_ON], images[TUNED_ON:]
        if is_tuned:
            changed = manipulated(mine, np.random.default_rng(self.schedule.seed))
            network = tuned(network, mine, changed, domain, TUNING_EPOCHS)
        self._write(network, (experiment, detector, domain, data), images, TRIGGERS)
        yield f"{experiment}: {detector}, {domain}, on {data}"

    def section_5(self) -> Iterator[str]:
        """Tuned on each naive design, and on the smooth trigger: what of the others is found."""
        triggers = {f"lowpass {n}": attacks.get("lowpass", pattern=n) for n in DESIGNS}
        triggers["smooth"] = attacks.get("smooth")
        images = self.sets.test("cifar10")
        for learnt, attack in [(None, None), *triggers.items()]:
            detector = "cifar10" if learnt is None else f"cifar10, tuned on {learnt}"
            if self._is_done("section 5", detector, FREQUENCY, "cifar10"):
                continue
            network = self.trained("cifar10", FREQUENCY)
            if attack is not None:
                clean = self.sets.train("cifar10")[:SMOOTH_IMAGES]
                network = tuned(network, clean, attack(clean), FREQUENCY, epochs=1)
            self._write(
                network, ("section 5", detector, FREQUENCY, "cifar10"), images, tuple(triggers)
            )
            yield f"section 5: {detector}"

    def trained(self, name: str, domain: str) -> PaperNetwork:
        """The detector of a set, a copy; each epoch adds to its curve."""
        own = name.partition("+")[0]
        some = self.sets.test(own)[:CURVE_IMAGES]

        def after_epoch(epoch: int, network: PaperNetwork) -> None:
            if not self._is_done("curve", name, domain, own, epoch):
                self._write(network, ("curve", name, domain, own), some, TRIGGERS, epoch)

        directory = self.work / f"{name}-{domain}"
        images = self.sets.train(name)
        return deepcopy(fit(images, domain, self.schedule, directory, after_epoch))

    def _write(
        self,
        network: PaperNetwork,
        of: tuple[str, str, str, str],
        images: np.ndarray,
        triggers: tuple[str, ...],
        epoch: int | None = None,
    ) -> None:
        """Rows of an experiment, detector, domain and set; no epoch: after the last one."""
        domain = of[2]
        clean = described(network, images, domain)
        fpr = Share.counted(flagged(network, images, domain))
        rows = []
        for trigger in triggers:
            poisoned = _attack(trigger)(images)
            bdr = Share.counted(flagged(network, poisoned, domain))
            rows.append(
                Row(
                    *of,
                    trigger,
                    epoch or self.schedule.rounds * self.schedule.epochs,
                    fpr,
                    bdr,
                    distance(network, clean, described(network, poisoned, domain)),
                )
            )
        append(self.path, rows)

    def _is_done(
        self, experiment: str, detector: str, domain: str, data: str, epoch: int | None = None
    ) -> bool:
        return any(
            (row.experiment, row.detector, row.domain, row.data)
            == (experiment, detector, domain, data)
            and epoch in (None, row.epoch)
            for row in rows_of(self.path, Row)
        )


def _attack(trigger: str) -> attacks.Attack:
    name, _, pattern = trigger.partition(" ")
    return attacks.get(name, pattern=int(pattern)) if pattern else attacks.get(name)
