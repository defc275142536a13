"""The images of one verdict, as they are in OUTPUT when they are asked for.

Nothing is kept: a reviewer's decisions that were applied meanwhile are seen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.runs import layout
from pipelines.runs.layout import ShardedFile
from pipelines.runs.reading import Reservoir
from pipelines.runs.store import Store
from pipelines.sources.columns import encoded_images
from sanitizer.errors import InputError
from sanitizer.records import CLEAN, POISONED, REJECTED
from sanitizer.summary import Summary

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Score rows that are in memory at a time.
BATCH_ROWS = 10_000

#: Images that are in memory at a time.
IMAGE_ROWS = 64

#: The files that hold the images of each verdict.
_FILES: dict[str, ShardedFile] = {
    CLEAN: layout.CLEAN,
    POISONED: layout.POISONED,
    REJECTED: layout.REJECTED,
}


@dataclass(frozen=True)
class Rows:
    """The score rows of one verdict, in the order of the input, and their images."""

    store: Store  #: OUTPUT
    verdict: str  #: one of :data:`sanitizer.records.VERDICTS`

    def __len__(self) -> int:
        """How many there are; reads one column of ``scores/``."""
        return sum(batch.num_rows for batch in self._batches(["verdict"]))

    def head(self, n: int = 5) -> "pd.DataFrame":
        """The first ``n`` score rows; no more of ``scores/`` is read than needed."""
        return self._frame(n)

    def to_pandas(self) -> "pd.DataFrame":
        """All score rows, in memory."""
        return self._frame(None)

    def show(self, n: int = 12) -> "Figure":
        """A figure of ``n`` of the images, drawn evenly, always the same ones, with the reason.

        Raises:
            InputError: OUTPUT no longer holds the run; ``n`` is below 1.
        """
        if n < 1:
            raise InputError(f"show: expected at least 1 image, got {n}")
        from pipelines.results.figures import gallery  # matplotlib takes half a second to load

        drawn = self.drawn(n)
        images = self.images({row["sample_id"] for row in drawn})
        names = {one.label: one.name for one in self.summary().per_class}
        return gallery(
            drawn, images, names, f"{len(drawn):,} of {len(self):,} {self.verdict} images"
        )

    def _repr_html_(self) -> str:
        count = len(self)
        first = f"the first {min(count, 5)}:" if count else "not one"
        # pandas escapes what it shows.
        return f"<p>{count:,} {self.verdict}, {first}</p>{self.head().to_html()}"

    def drawn(self, n: int) -> list[dict[str, Any]]:
        """``n`` of the rows at random, by a fixed seed, in order; all where there are fewer.

        One pass over ``scores/``, of which the chosen rows alone are kept.
        """
        kept: dict[int, tuple[int, dict[str, Any]]] = {}
        reservoir = Reservoir(n, seed=0)
        for batch in self._batches(None):
            for row in range(batch.num_rows):
                if (place := reservoir.place()) is not None:
                    kept[place] = reservoir.offered, batch.slice(row, 1).to_pylist()[0]
        return [row for _, row in sorted(kept.values(), key=lambda one: one[0])]

    def images(self, sample_ids: set[str]) -> dict[str, bytes | None]:
        """The encoded images of some samples, by id; of each file the ids are read first."""
        files = _FILES[self.verdict]
        column = "bytes" if self.verdict == REJECTED else self.summary().source.image_column
        found: dict[str, bytes | None] = {}
        for name in self.store.shards(files):
            with self._opened(name) as file:
                if sample_ids.isdisjoint(file.read(["sample_id"])["sample_id"].to_pylist()):
                    continue
                for batch in file.iter_batches(IMAGE_ROWS, columns=["sample_id", column]):
                    ids = batch["sample_id"].to_pylist()
                    pairs = zip(ids, encoded_images(batch, column), strict=True)
                    found.update((each, data) for each, data in pairs if each in sample_ids)
            if len(found) == len(sample_ids):
                break
        return found

    def summary(self) -> Summary:
        """What the run amounts to.

        Raises:
            InputError: OUTPUT does not hold it.
        """
        try:
            return Summary.from_json(self.store.read_json(layout.SUMMARY))
        except (OSError, ValueError) as error:
            raise self._gone(layout.SUMMARY) from error

    def _frame(self, n: int | None) -> "pd.DataFrame":
        batches = list(self._batches(None, n))
        with self._opened(self._names()[0]) as scores:
            schema = scores.schema_arrow
        return pa.Table.from_batches(batches, schema).to_pandas()

    def _batches(self, columns: list[str] | None, n: int | None = None) -> Iterator[pa.RecordBatch]:
        """The score rows, in pieces.

        Args:
            columns: to read, ``verdict`` among them; None: all.
            n: of the first so many rows; None: of all.
        """
        left = n
        for name in self._names():
            with self._opened(name) as scores:
                for batch in scores.iter_batches(BATCH_ROWS, columns=columns):
                    mine = batch.filter(pc.equal(batch["verdict"], self.verdict)).slice(0, left)
                    yield mine
                    if left is not None:
                        left -= mine.num_rows
                        if left <= 0:
                            return

    def _names(self) -> list[str]:
        """The files of ``scores/``.

        Raises:
            InputError: there is none.
        """
        names = self.store.shards(layout.SCORES)
        if not names:
            raise self._gone(layout.SCORES.folder)
        return names

    @contextmanager
    def _opened(self, name: str) -> Iterator[pq.ParquetFile]:
        with self.store.open(name) as handle, pq.ParquetFile(handle) as file:
            yield file

    def _gone(self, what: str) -> InputError:
        return InputError(
            f"{self.store.locate(what)} is not there: OUTPUT no longer holds this run; clean again"
        )
