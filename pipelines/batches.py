"""What the jobs do with a record batch: encoded images out of it, and their tiles."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sanitizer.images import Header, ImageError, decode
from sanitizer.tiles import check_size, tiles

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

    header: Header | None  #: None where not even that could be read
    tiles: np.ndarray | None  #: (k, 32, 32, 3) uint8; None if it cannot be judged
    error: ImageError | None  #: set if and only if ``tiles`` is None


def prepare(data: bytes | np.ndarray | None) -> Prepared:
    """Cut one image into tiles; one that is encoded is decoded, unless its size is never judged.

    Args:
        data: an encoded image, or (height, width, 3) uint8 pixels.
    """
    header: Header | None = None

    def look(found: Header) -> None:
        nonlocal header
        header = found
        check_size(found.width, found.height)

    try:
        cut = tiles(data if isinstance(data, np.ndarray) else decode(data, look))
        return Prepared(header, cut, None)
    except ImageError as error:
        # Its traceback and cause would keep the pixels alive.
        error.__cause__ = error.__context__ = None
        return Prepared(header, None, error.with_traceback(None))


def judgeable(prepared: Iterable[Prepared]) -> list[np.ndarray]:
    """The tiles of those images that can be judged."""
    return [p.tiles for p in prepared if p.tiles is not None]


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
