"""How much a JPEG lost when it was written, as its own tables tell."""

import functools
import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image


def quality_of(tables: Mapping[int, Sequence[int]]) -> int | None:
    """The quality of a JPEG, 1 to 100, on the scale of the Independent JPEG Group's encoder.

    Other encoders have tables of their own; theirs is the quality whose table for brightness
    has the nearest sum.

    Args:
        tables: of quantisation, by number, as Pillow's ``image.quantization`` has them; the
            first is for brightness.

    Returns:
        None where there is no table.

    >>> quality_of({0: [1] * 64})
    100
    """
    if not tables:
        return None
    sums = _sums()
    return int(np.abs(sums - sum(tables[min(tables)])).argmin()) + 1


@functools.cache
def _sums() -> np.ndarray:
    """(100,) sums of the table for brightness, of qualities 1 to 100."""
    return np.array([sum(_table(quality)) for quality in range(1, 101)])


def _table(quality: int) -> Sequence[int]:
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        tables: Mapping[int, Sequence[int]] = image.quantization  # type: ignore[attr-defined]
        return tables[0]
