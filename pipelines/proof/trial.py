"""What victims are tested on: images as they are, and the same with the trigger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from attacks import Role
from attacks.victims.model import Victim
from pipelines.judging.serving import reject
from pipelines.poisoning.labels import Label
from pipelines.poisoning.poison import ATTACK, Poisoning, poison_batch
from pipelines.poisoning.preview import GAIN, difference
from pipelines.proof.views import Views
from pipelines.runs.progress import Progress
from pipelines.runs.threads import map_in_order
from pipelines.sources.base import Source
from pipelines.sources.columns import encoded_images
from sanitizer.metrics import counted

#: Images of each kind that are looked at after every epoch.
WATCHED = 1_000


@dataclass(frozen=True)
class AtTest(Poisoning):
    """Puts the trigger, in its test-time form, on all images that are to be misled."""

    def roles(self, ids: Sequence[str], labels: Sequence[Label | None]) -> dict[int, Role]:
        """TEST for the rows of labels that have a new one; the others are left alone."""
        return {row: Role.TEST for row, label in enumerate(labels) if label in self.new_label}


@dataclass(frozen=True)
class Shown:
    """Images that a victim is shown, and the answers that count."""

    images: np.ndarray  #: (n, h, w, 3) uint8, as the victim sees them
    answers: np.ndarray  #: (n,) int64 classes
    rejected: np.ndarray  #: (n,) bool, by the detector, which saw them as they came


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
        """Some images of each kind, to follow a training by."""
        return {
            name: (shown.images[:WATCHED], shown.answers[:WATCHED])
            for name, shown in (("accuracy", self.clean), ("asr", self.triggered))
        }

    def figures(self, victim: Victim) -> dict[str, Any]:
        """Accuracy and ASR; with rejection, an image that is rejected counts as a miss."""
        found = {}
        for name, shown in (("accuracy", self.clean), ("asr", self.triggered)):
            hit = victim.predict(shown.images) == shown.answers
            found[name] = counted(hit)
            found[f"{name}_rejecting"] = counted(hit & ~shown.rejected)
        return found

    def rejection(self) -> dict[str, Any]:
        """The shares of clean and of triggered images that are rejected."""
        return {
            "clean": counted(self.clean.rejected),
            "triggered": counted(self.triggered.rejected),
        }

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
    plan: AtTest,
    judging: Mapping[str, Any],
    *,
    workers: int,
    quiet: bool = False,
) -> Trial:
    """Read test images, put the trigger on a copy, and ask the detector about both.

    Args:
        judging: arguments of :func:`pipelines.judging.serving.reject` beside the images.
    """
    progress = Progress("reading test images", quiet=quiet)
    progress.start(total=source.rows)
    work = partial(_shown, views=views, plan=plan, judging=judging)
    batches = (batch for shard in source.shards for batch in shard.read())
    parts = []
    for part in map_in_order(work, batches, workers):
        parts.append(part)
        progress.advance(len(part.clean.answers))
    progress.finish()
    return Trial(
        _joined([part.clean for part in parts]),
        _joined([part.triggered for part in parts]),
        np.concatenate([part.misled for part in parts]),
    )


def _shown(batch: pa.RecordBatch, views: Views, plan: AtTest, judging: Mapping[str, Any]) -> Trial:
    images, classes = views.of(batch)
    batch = batch.filter(pa.array(classes >= 0))
    done = poison_batch(plan, batch).batch
    bears = pc.is_valid(done.column(done.schema.get_field_index(ATTACK)))
    triggered = done.filter(bears)
    misled = bears.to_numpy(zero_copy_only=False)
    seen, own = views.of(triggered)
    target = np.array([views.classes.index(plan.new_label[views.classes[i]]) for i in own], int)

    def rejected(rows: pa.RecordBatch) -> np.ndarray:
        return reject(encoded_images(rows, views.image_column), **judging)

    return Trial(
        Shown(images[classes >= 0], classes[classes >= 0], rejected(batch)),
        Shown(seen, target, rejected(triggered)),
        misled,
    )


def _joined(parts: list[Shown]) -> Shown:
    return Shown(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.answers for part in parts]),
        np.concatenate([part.rejected for part in parts]),
    )
