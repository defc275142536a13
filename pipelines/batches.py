"""What the jobs do with a record batch: encoded images out of it, tiles and scores of them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detector.calibration import worst_tiles
from detector.model import Detector
from sanitizer.images import DecodedImage, ImageError, decode
from sanitizer.tiles import tiles

A = TypeVar("A")
B = TypeVar("B")


def encoded_images(batch: pa.RecordBatch, image_column: str) -> list[bytes | None]:
    """The encoded bytes of each row, None where the row holds none."""
    column = batch.column(batch.schema.get_field_index(image_column))
    if pa.types.is_struct(column.type):
        column = pc.struct_field(column, "bytes")
    return list(column.to_pylist())


@dataclass(frozen=True)
class Prepared:
    """An image ready for the detector, or the reason why it will never be."""

    image: DecodedImage | None  #: None where nothing could be decoded
    tiles: np.ndarray | None  #: (k, 32, 32, 3) uint8; None if it cannot be judged
    error: ImageError | None  #: set if and only if ``tiles`` is None


def prepare(data: bytes | None) -> Prepared:
    """Decode one image and cut it into tiles."""
    image = None
    try:
        image = decode(data)
        return Prepared(image, tiles(image.pixels), None)
    except ImageError as error:
        return Prepared(image, None, error)


def score(detector: Detector, prepared: list[Prepared]) -> tuple[np.ndarray, np.ndarray]:
    """(m,) float32 scores and (m,) numbers of tiles of those images that can be judged."""
    return worst_tiles(detector, [p.tiles for p in prepared if p.tiles is not None])


def map_in_order(function: Callable[[A], B], items: Iterable[A], threads: int) -> Iterator[B]:
    """``map`` on several threads, results in the order of the items, few of them in flight."""
    if threads == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[B]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
