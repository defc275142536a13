"""Images of the benchmark data sets, by row."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sanitizer.images import decode


def table(path: Path) -> pa.StructArray:
    """The ``image`` column of a Parquet file in Hugging Face form."""
    return pq.read_table(path, columns=["image"])["image"].combine_chunks()


def decoded(images: pa.StructArray, rows: np.ndarray) -> list[np.ndarray]:
    """Some rows as (h, w, 3) uint8."""
    data = images.field("bytes").take(pa.array(rows))
    return [decode(encoded.as_py()) for encoded in data]


def tracks(images: pa.StructArray) -> np.ndarray:
    """The track number of each GTSRB image, from its path ``.../TTTTT_FFFFF.ppm``."""
    paths = images.field("path").to_pylist()
    return np.array([int(p.rsplit("/", 1)[-1].split("_")[0]) for p in paths])
