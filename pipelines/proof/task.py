"""A whole proof, from two sets to figures, words and pictures."""

from dataclasses import dataclass, replace

import numpy as np

from attacks.victims.settings import VictimSettings
from pipelines.poisoning.labels import Labels, read_labels
from pipelines.poisoning.request import PoisonRequest, PoisonSettings
from pipelines.proof.experiment import Experiment
from pipelines.proof.records import Proof, ProvedAttack, ProvedVictim, Run
from pipelines.proof.sets import Sets
from pipelines.proof.tools import Tools
from pipelines.proof.trial import Trial, load_trial, recipe_at_test
from pipelines.proof.verdict import verdict
from pipelines.proof.views import Views, victim_size
from pipelines.proof.words import notes, title
from pipelines.runs.store import Store
from pipelines.runs.threads import share_cores
from pipelines.sources.base import Source
from sanitizer.errors import InputError

#: Fewer images than this tell nothing about a victim.
MIN_TEST = 20

#: Test images that are drawn before and after the trigger.
DRAWN = 8


@dataclass(frozen=True)
class ProofTask:
    """What is to be proved, checked."""

    sets: Sets
    request: PoisonRequest
    poisoning: PoisonSettings  #: the request, settled for the labels of the set
    victim: VictimSettings
    tools: Tools
    seeds: range  #: a run for each
    detector: str  #: its identity
    calibration: str  #: what calibrates it, in words

    def prove(self, store: Store) -> tuple[Proof, dict[str, np.ndarray]]:
        """Do all runs.

        Args:
            store: of the sets and of what is finished.

        Returns:
            The proof, and the pictures to draw with it, see :meth:`Trial.pictures`.

        Raises:
            InputError: too few images, or a set that cannot be read.
            RunError: a job within failed.
        """
        settings = self.sets.settings
        train, test = self.sets.select(store, self.victim.max_images)
        labels = read_labels(train.source, quiet=settings.quiet)
        views = Views(
            victim_size([*train.sizes, *test.sizes]),
            labels.values,
            train.source.image_column,
            str(train.source.label_column),
        )
        trial = self._trial(test.source, labels, views)
        experiment = Experiment(
            store, self.tools, self.victim, views, trial, self.sets.within(self.sets.source)
        )
        runs = [experiment.run(seed) for seed in self.seeds]
        return self._proof(runs, labels, views, trial), trial.pictures(DRAWN)

    def _trial(self, source: Source, labels: Labels, views: Views) -> Trial:
        """Test images with and without the trigger.

        Raises:
            InputError: there are too few.
        """
        settings = self.sets.settings
        recipe = recipe_at_test(self.request, source, labels, self.poisoning.target_label)
        share_cores(settings.workers, of_torch=True)
        trial = load_trial(
            source,
            replace(views, image_column=recipe.image_column, label_column=recipe.label_column),
            recipe,
            self.tools.reject,
            workers=settings.workers,
            quiet=settings.quiet,
        )
        triggered = len(trial.triggered.answers)
        if triggered < MIN_TEST:
            raise InputError(
                f"{triggered:,} test images can be triggered: they decode and have a label of the "
                f"training images that is not the target; expected at least {MIN_TEST}"
            )
        return trial

    def _proof(self, runs: list[Run], labels: Labels, views: Views, trial: Trial) -> Proof:
        attack = self.request.attack
        return Proof(
            title=title(attack, self.poisoning, self.sets.source),
            verdict=verdict(runs),
            attack=ProvedAttack(title=attack.title, source=attack.source, **vars(self.poisoning)),
            victim=ProvedVictim(**vars(self.victim), size=views.size, resized=views.resized),
            detector=self.detector,
            runs=runs,
            notes=[
                *notes(self.poisoning, labels, self.victim, views, trial, len(runs)),
                self.calibration,
            ],
        )
