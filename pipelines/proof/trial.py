"""What victims are tested on: images as they are, and the same with the trigger."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from attacks import Role
from attacks.victims.model import Victim
from pipelines.poisoning.labels import Aim, Label, Labels
from pipelines.poisoning.poison import poison_batch
from pipelines.poisoning.preview import GAIN, difference
from pipelines.poisoning.recipe import ATTACK, Recipe, poisoned_schema
from pipelines.poisoning.request import PoisonRequest
from pipelines.proof.records import Epoch, Rejection, VictimFigures
from pipelines.proof.views import Views
from pipelines.runs.progress import Progress
from pipelines.runs.threads import map_in_order
from pipelines.sources.base import Source
from pipelines.sources.columns import encoded_images
from sanitizer.metrics import Share

#: Images of each kind that are looked at after every epoch.
WATCHED = 1_000

#: (n,) bool, which of n encoded images the detector rejects.
Reject = Callable[[Sequence[bytes | None]], np.ndarray]


@dataclass(frozen=True)
class RecipeAtTest(Recipe):
    """Puts the trigger, in its test-time form, on all images that are to be misled."""

    def roles(self, ids: Sequence[str], labels: Sequence[Label | None]) -> dict[int, Role]:
        """TEST for the rows of labels that have a new one; the others are left alone."""
        return {row: Role.TEST for row, label in enumerate(labels) if label in self.new_label}


def recipe_at_test(
    request: PoisonRequest, source: Source, labels: Labels, target_label: Label | None
) -> RecipeAtTest:
    """The recipe by which test images are triggered, and what the attacker wants them to be.

    Args:
        source: of the test images.
        labels: of the training images.
        target_label: None where each label has its own.
    """
    aim = Aim(target_label, clean_label=False, all_to_all=request.aim.all_to_all)
    new_label = aim.new_labels(labels, target_label)
    return RecipeAtTest(
        name=request.name,
        attack=request.attack,
        rate=1.0,
        seed=0,
        labels=frozenset(labels.values),
        new_label={old: new for old, new in new_label.items() if old != new},
        encoding=request.encoding,
        image_column=source.image_column,
        label_column=str(source.label_column),
        schema=poisoned_schema(source),
    )


@dataclass(frozen=True)
class Shown:
    """Images that a victim is shown, and the answers that count."""

    images: np.ndarray  #: (n, h, w, 3) uint8, as the victim sees them
    answers: np.ndarray  #: (n,) int64 classes
    rejected: np.ndarray  #: (n,) bool, by the detector, which saw them as they came

    @classmethod
    def joined(cls, parts: Sequence["Shown"]) -> "Shown":
        """The images of all parts, at least one, in a row."""
        return cls(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.answers for part in parts]),
            np.concatenate([part.rejected for part in parts]),
        )

    def hits(self, victim: Victim) -> np.ndarray:
        """(n,) bool, the images that a victim gives the answer that counts."""
        return victim.predict(self.images) == self.answers

    def watched(self) -> tuple[np.ndarray, np.ndarray]:
        """The first images and their answers."""
        return self.images[:WATCHED], self.answers[:WATCHED]


@dataclass(frozen=True)
class Trial:
    """Test images.

    ``triggered`` are those of ``clean`` whose class is not the target, in the same order, and
    their answers are what the attacker wants.
    """

    clean: Shown
    triggered: Shown
    misled: np.ndarray  #: (n,) bool, which of ``clean`` are in ``triggered``

    def watch(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Some images of each kind, to follow a training by: the fields of :class:`Epoch`."""
        return {"accuracy": self.clean.watched(), "asr": self.triggered.watched()}

    def figures(self, victim: Victim, trained_on: int, history: list[Epoch]) -> VictimFigures:
        """Test a victim; an image that is rejected counts as a miss where there is rejection.

        Args:
            trained_on: images.
            history: of its training.
        """
        clean, triggered = self.clean.hits(victim), self.triggered.hits(victim)
        return VictimFigures(
            trained_on=trained_on,
            accuracy=Share.counted(clean),
            accuracy_rejecting=Share.counted(clean & ~self.clean.rejected),
            asr=Share.counted(triggered),
            asr_rejecting=Share.counted(triggered & ~self.triggered.rejected),
            history=history,
        )

    def rejection(self) -> Rejection:
        """The shares of clean and of triggered images that are rejected."""
        return Rejection(
            clean=Share.counted(self.clean.rejected),
            triggered=Share.counted(self.triggered.rejected),
        )

    def largest_class(self) -> float:
        """The share of the clean images that are of their most frequent class."""
        return float(np.bincount(self.clean.answers).max() / len(self.clean.answers))

    def pictures(self, count: int) -> dict[str, np.ndarray]:
        """Rows of pictures: before the trigger, after it, and the difference."""
        before = self.clean.images[self.misled][:count]
        after = self.triggered.images[:count]
        return {
            "before": before,
            "triggered": after,
            f"difference x{GAIN}": difference(before, after),
        }


def load_trial(
    source: Source,
    views: Views,
    recipe: RecipeAtTest,
    reject: Reject,
    *,
    workers: int,
    quiet: bool = False,
) -> Trial:
    """Read test images, put the trigger on a copy, and ask the detector about both."""
    progress = Progress("reading test images", quiet=quiet)
    progress.start(total=source.rows)
    work = partial(_trial_of, views=views, recipe=recipe, reject=reject)
    parts = []
    for part in map_in_order(work, (samples.batch for samples in source.samples()), workers):
        parts.append(part)
        progress.advance(len(part.clean.answers))
    progress.finish()
    return Trial(
        Shown.joined([part.clean for part in parts]),
        Shown.joined([part.triggered for part in parts]),
        np.concatenate([part.misled for part in parts]),
    )


def _trial_of(batch: pa.RecordBatch, views: Views, recipe: RecipeAtTest, reject: Reject) -> Trial:
    images, classes = views.of(batch)
    known = classes >= 0
    batch = batch.filter(pa.array(known))
    poisoned = poison_batch(recipe, batch).batch
    with_trigger = pc.is_valid(poisoned.column(poisoned.schema.get_field_index(ATTACK)))
    triggered = poisoned.filter(with_trigger)
    triggered_images, true_classes = views.of(triggered)
    wanted = [recipe.new_label[views.classes[true_class]] for true_class in true_classes]
    wanted_classes = np.array([views.classes.index(label) for label in wanted], np.int64)

    def shown(images: np.ndarray, answers: np.ndarray, rows: pa.RecordBatch) -> Shown:
        return Shown(images, answers, reject(encoded_images(rows, views.image_column)))

    return Trial(
        shown(images[known], classes[known], batch),
        shown(triggered_images, wanted_classes, triggered),
        with_trigger.to_numpy(zero_copy_only=False),
    )
