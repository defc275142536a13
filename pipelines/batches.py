"""What the jobs do with record batches: encoded images out of one, and work on several."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

A = TypeVar("A")
B = TypeVar("B")


def encoded_images(batch: pa.RecordBatch, image_column: str) -> list[bytes | None]:
    """The encoded bytes of each row, None where the row holds none."""
    column = batch.column(batch.schema.get_field_index(image_column))
    if pa.types.is_struct(column.type):
        column = pc.struct_field(column, "bytes")
    return list(column.to_pylist())


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
