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


def tables_of(stream: bytes) -> dict[int, tuple[int, ...]]:
    """The tables of quantisation in a JPEG by number, up to its pixels; none where it is no JPEG.

    Also of a stream that holds nothing but tables, as a TIFF has it, which Pillow does not open.

    >>> tables_of(b"not a JPEG")
    {}
    """
    tables: dict[int, tuple[int, ...]] = {}
    position = 2
    while stream[position : position + 1] == b"\xff":
        marker = stream[position + 1 : position + 2]
        end = position + 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
        if marker == b"\xda" or end < position + 4:
            break
        if marker == b"\xdb":
            segment = stream[position + 4 : end]
            while segment:
                width = 1 + (segment[0] >> 4 > 0)  # bytes of a value
                values = segment[1 : 1 + 64 * width]
                if len(values) == 64 * width:
                    pairs = range(0, len(values), width)
                    table = (int.from_bytes(values[i : i + width], "big") for i in pairs)
                    tables[segment[0] & 15] = tuple(table)
                segment = segment[1 + 64 * width :]
        position = end
    return tables


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
