"""A set in memory: encoded, and once more as what judges sees it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from pipelines.evaluation.records import Seconds
from pipelines.evaluation.sets import OpenSet
from pipelines.judging.score import ScoreStep
from pipelines.poisoning.encoding import Encoding
from pipelines.poisoning.poison import with_images
from pipelines.sources.base import Samples
from pipelines.sources.columns import encoded_images
from sanitizer.images import Header, ImageError, decode
from sanitizer.records import ScoredSample
from sanitizer.scan.canonical import Compact
from sanitizer.scan.views import SIDE


@dataclass(frozen=True)
class Looked:
    """Images, each looked at once."""

    samples: list[ScoredSample]
    images: Compact  #: as the scan sees them; black where it cannot
    seen: np.ndarray  #: (n,) bool, whether it can

    @classmethod
    def at(cls, step: ScoreStep, pieces: Sequence[Samples]) -> Self:
        """Look at all images of some pieces of a set."""
        samples: list[ScoredSample] = []
        images: list[Compact | None] = []
        for piece in pieces:
            scored, compact = step.score(piece)
            samples += [ScoredSample(**row) for row in scored.to_pylist()]
            images += compact
        nothing = Compact(np.zeros((1, SIDE, SIDE, 3), np.uint8))
        seen = np.array([image is not None for image in images], bool)
        return cls(samples, Compact.joined([nothing[:0], *(i or nothing for i in images)]), seen)

    def replaced(self, rows: np.ndarray, others: "Looked") -> "Looked":
        """A copy with others in place of (k,) rows."""
        samples = list(self.samples)
        for row, sample in zip(rows.tolist(), others.samples, strict=True):
            samples[row] = sample
        seen, places = self.seen.copy(), np.arange(len(samples))
        seen[rows], places[rows] = others.seen, len(samples) + np.arange(len(rows))
        images = Compact.joined([self.images, others.images])[places]
        return replace(self, samples=samples, images=images, seen=seen)


@dataclass(frozen=True)
class CleanSet:
    """A set before it is poisoned, of which most images stay what they are in every cell."""

    pieces: list[Samples]  #: as they came
    looked: Looked  #: at the images in the encoding of the cells
    cost: Seconds  #: of the look

    @classmethod
    def load(cls, opened: OpenSet, encoding: str, step: ScoreStep) -> Self:
        """Read a set, and look at its images in an encoding."""
        pieces = list(opened.samples())
        encoded = pieces
        if encoding != "keep":
            encoded = [_encoded(piece, step.image_column, Encoding(encoding)) for piece in pieces]
        began = Seconds.now()
        return cls(pieces, Looked.at(step, encoded), Seconds.since(began))


def _encoded(samples: Samples, image_column: str, encoding: Encoding) -> Samples:
    """All images anew; one that cannot be decoded stays what it is."""
    encoded = {}
    for row, data in enumerate(encoded_images(samples.batch, image_column)):
        headers: list[Header] = []
        try:
            pixels = decode(data, headers.append)
        except ImageError:
            continue
        encoded[row] = encoding.encode(pixels, data or b"", headers[0].format)
    batch = samples.batch
    index = batch.schema.get_field_index(image_column)
    column = with_images(batch.column(index), encoded)
    return replace(samples, batch=batch.set_column(index, batch.schema.field(index), column))
