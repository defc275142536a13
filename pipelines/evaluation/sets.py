"""A set that is evaluated on, opened and not yet read."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from pipelines.evaluation.records import SetFacts
from pipelines.poisoning.labels import Label, Labels, read_labels
from pipelines.poisoning.recipe import poisoned_schema
from pipelines.runs.progress import Progress
from pipelines.sources.base import Samples, Source
from pipelines.sources.columns import encoded_images, sample_ids
from sanitizer.errors import InputError


@dataclass(frozen=True)
class OpenSet:
    """A set with labels that is evaluated on."""

    facts: SetFacts
    source: Source
    labels: Labels

    @classmethod
    def of(cls, source: Source, rows: tuple[int, int] | None, *, quiet: bool) -> Self:
        """A source, or some rows of it.

        Raises:
            InputError: it has no labels, or not so many rows, or was poisoned before.
        """
        labels = read_labels(source, quiet=quiet)
        poisoned_schema(source)
        if rows is not None and source.rows is not None and source.rows < rows[1]:
            raise InputError(
                f"rows {rows[0]}:{rows[1]}: {source.location} has {source.rows:,} rows"
            )
        digest = _digest(source, rows, quiet=quiet)
        return cls(SetFacts(source.location, rows, digest), source, labels)

    def samples(self) -> Iterator[Samples]:
        """The rows that are evaluated on."""
        return _samples(self.source, self.facts.rows)

    def present(self) -> list[Label]:
        """The labels that the rows have, in order.

        Raises:
            InputError: there is none.
        """
        start, stop = self.facts.rows or (0, None)
        column = pa.chunked_array(list(self.source.labels())).unify_dictionaries()[start:stop]
        held = set(column.unique().to_pylist())
        present = [label for label in self.labels.values if label in held]
        if not present:
            raise InputError(f"{self.facts.name}: not one of these rows has a label")
        return present


def _samples(source: Source, rows: tuple[int, int] | None) -> Iterator[Samples]:
    start, stop = rows or (0, None)
    at = 0
    for samples in source.samples():
        first, at = at, at + len(samples)
        low = max(start - first, 0)
        high = len(samples) if stop is None else min(stop - first, len(samples))
        if low < high:
            yield _slice(samples, low, high)
        if stop is not None and at >= stop:
            return


def _digest(source: Source, rows: tuple[int, int] | None, *, quiet: bool) -> str:
    """SHA-256 of what is evaluated on, wherever it lies: a copy of a set is the same set."""
    digest = hashlib.sha256(repr(source.class_names).encode())
    progress = Progress(f"looking through {source.location}", quiet=quiet)
    progress.start(total=source.rows if rows is None else rows[1] - rows[0])
    for samples in _samples(source, rows):
        ids = sample_ids(samples.batch)
        labels = samples.batch.column(source.label_column).to_pylist()
        images = encoded_images(samples.batch, source.image_column)
        for sample_id, label, image in zip(ids, labels, images, strict=True):
            described = sample_id, label, None if image is None else len(image)
            digest.update(repr(described).encode("utf-8", "surrogatepass"))
            digest.update(image or b"")
        progress.advance(len(samples))
    progress.finish()
    return digest.hexdigest()


def _slice(samples: Samples, low: int, high: int) -> Samples:
    unread = {row - low: e for row, e in samples.unread.items() if low <= row < high}
    return Samples(samples.batch.slice(low, high - low), samples.files[low:high], unread)
