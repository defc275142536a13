"""The images of a finished run, a few in memory at a time."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

import numpy as np
import pyarrow.parquet as pq

from pipelines.runs.store import Store
from pipelines.sources.columns import encoded_images
from sanitizer.images import ImageError, decode

#: Rows of images that are in memory at a time.
IMAGE_ROWS = 64


def stored_images(store: Store, name: str, image_column: str) -> Iterator[tuple[str, bytes | None]]:
    """Ids and encoded images of one Parquet file of a split."""
    with store.open(name) as handle, pq.ParquetFile(handle) as file:
        for batch in file.iter_batches(IMAGE_ROWS, columns=["sample_id", image_column]):
            ids = batch["sample_id"].to_pylist()
            yield from zip(ids, encoded_images(batch, image_column), strict=True)


def sampled_images(
    store: Store, files: Sequence[str], image_column: str, count: int
) -> Iterator[np.ndarray]:
    """About ``count`` decoded images of the files of a split, (height, width, 3) uint8 each.

    They are the first images of shards that lie evenly over the run: a few are decoded, and
    no more than that many files read, however large the run.
    """
    files = [name for name in files if _row_count(store, name)]
    files = files[:: max(1, math.ceil(len(files) / count))]
    for name in files:
        encoded = stored_images(store, name, image_column)
        for _, data in islice(encoded, math.ceil(count / len(files))):
            with suppress(ImageError):  # only if the file is not what was judged
                yield decode(data)


def _row_count(store: Store, name: str) -> int:
    with store.open(name) as handle:
        return int(pq.read_metadata(handle).num_rows)
