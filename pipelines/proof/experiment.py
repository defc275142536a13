"""One run of a proof: poison, clean, and train a victim on each of three sets.

Every part is saved when it is finished, so that a run that was stopped goes on after it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
import pyarrow.compute as pc

from attacks.victims.settings import VictimSettings
from attacks.victims.training import train
from pipelines.poisoning.recipe import ATTACK, IS_POISONED
from pipelines.proof.records import Epoch, Run, RunCounts, VictimFigures, Victims
from pipelines.proof.tools import Cleaned, Tools
from pipelines.proof.trial import Trial
from pipelines.proof.views import Views
from pipelines.proof.words import removed_words, victim_words
from pipelines.runs import layout
from pipelines.runs.following import follow
from pipelines.runs.job import Settings
from pipelines.runs.progress import Progress
from pipelines.runs.shards import read_rows
from pipelines.runs.store import Store
from pipelines.runs.threads import share_cores
from pipelines.sources.base import Source
from pipelines.sources.columns import SAMPLE_ID
from sanitizer.detection import Detection
from sanitizer.errors import InputError
from sanitizer.record import Record
from sanitizer.records import CLEAN, POISONED

#: Fewer images than this are no training set.
MIN_TRAIN = 100

#: The victims of a run, in the order of their training: by name, what they are trained on.
TRAINED_ON = {"reference": "without poison", "before": "poisoned", "after": "cleaned"}

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Experiment:
    """What all runs of a proof share."""

    store: Store  #: of all that the runs write; the images to train on are in ``train/data``
    tools: Tools
    victim: VictimSettings
    views: Views
    trial: Trial
    settings: Settings  #: of the jobs within

    def run(self, seed: int) -> Run:
        """Poison the training images by this seed, clean them, and train and test the victims.

        Raises:
            InputError: nothing was poisoned, or too little is left to train on.
            RunError: a job within failed.
        """
        base, own = self.store.locate("train/data"), self.store.within(f"seed-{seed}")
        poisoned, cleaned = own.within("poisoned"), own.within("cleaned")
        poisoned_images = poisoned.locate("data")
        poison_counts = self.tools.poison(base, poisoned, seed)
        if not poison_counts.poisoned:
            raise InputError("not one image was poisoned; give a higher rate")
        outcome = self.tools.clean(poisoned_images, cleaned)
        _check_enough(outcome.counts.clean, f"left by freqsan ({_removed(outcome)})")
        clean_split = replace(self.settings, split=CLEAN)
        # What is known is told at once, as the victims take minutes.
        detection = _saved(own, "detection.json", Detection, partial(compare, poisoned, cleaned))
        self._tell(seed, removed_words(detection))
        return Run(
            seed=seed,
            counts=RunCounts(poison_counts, outcome.counts),
            victims=Victims(
                reference=self._victim("reference", self.settings.open(base), seed),
                before=self._victim("before", self.settings.open(poisoned_images), seed),
                after=self._victim("after", clean_split.open(cleaned.locate("data")), seed),
            ),
            detection=detection,
            largest_class=self.trial.largest_class(),
            rejection=self.trial.rejection(),
        )

    def _victim(self, name: str, source: Source, seed: int) -> VictimFigures:
        """Train one of the victims on a set and test it, unless an earlier run did."""
        figures = _saved(
            self.store.within(f"seed-{seed}"),
            f"{name}.json",
            VictimFigures,
            partial(self._train, name, source, seed),
        )
        self._tell(seed, victim_words(TRAINED_ON[name], figures))
        return figures

    def _tell(self, seed: int, row: str) -> None:
        """Say one row of the proof as soon as it is there."""
        Progress("proving", quiet=self.settings.quiet).say(f"result, seed {seed}: {row}")

    def _train(self, name: str, source: Source, seed: int) -> VictimFigures:
        settings = self.settings
        images, classes = self.views.load(source, workers=settings.workers, quiet=settings.quiet)
        _check_enough(len(images), "with a label and can be decoded")
        share_cores(1, of_torch=True)  # the jobs within left torch a part of them
        number = f"{list(TRAINED_ON).index(name) + 1} of {len(TRAINED_ON)}"
        trained = train(
            images,
            classes,
            len(self.views.classes),
            self.victim,
            seed=seed,
            watch=self.trial.watch(),
            observer=follow(
                f"victim {number}, {TRAINED_ON[name]}, seed {seed}",
                quiet=settings.quiet,
                names={"asr": "ASR"},
            ),
        )
        trained_on = min(self.victim.max_images or len(images), len(images))
        history = [Epoch(**shares) for shares in trained.history]
        return self.trial.figures(trained.victim, trained_on, history)


def compare(poisoned: Store, cleaned: Store) -> Detection:
    """Compare the verdicts on a poisoned set with its truth.

    Args:
        poisoned: the output of ``poison``.
        cleaned: that of ``clean``.
    """
    truth = read_rows(poisoned, layout.TRAIN, [SAMPLE_ID, IS_POISONED, ATTACK])
    scores = read_rows(cleaned, layout.SCORES, [SAMPLE_ID, "score", "verdict"])
    rows = truth.join(scores, SAMPLE_ID)
    unpoisoned = np.where(pc.is_valid(rows[ATTACK]).to_numpy(), "cover", "clean")
    kinds = np.where(rows[IS_POISONED].to_numpy(), "poisoned", unpoisoned)
    return Detection.of(
        kinds, rows["score"].to_numpy(), pc.equal(rows["verdict"], POISONED).to_numpy()
    )


def _check_enough(images: int, which: str) -> None:
    """Refuse a training set that is none.

    Raises:
        InputError: fewer than ``MIN_TRAIN`` images.
    """
    if images < MIN_TRAIN:
        raise InputError(
            f"{images:,} images to train on are {which}, expected at least {MIN_TRAIN}"
        )


def _removed(outcome: Cleaned) -> str:
    """What cleaning took out of a set, in words."""
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in outcome.rejected_by_reason.items())
    removed = f"{outcome.counts.poisoned:,} removed"
    return f"{removed}, not judged: {kinds}" if kinds else removed


def _saved(store: Store, name: str, kind: type[R], make: Callable[[], R]) -> R:
    """The record that an earlier run left in a file; else it is made and left there."""
    if not store.exists(name):
        store.write_json(name, make().to_json())
    return kind.from_json(store.read_json(name))
