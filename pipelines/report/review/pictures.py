"""Pictures for the review, within a number of bytes: many at a time in sheets, or one by one."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sanitizer.resizing import resize, shrunk_to

#: Pictures in a sheet, and in a row of it.
SHEET, SHEET_COLUMNS = 100, 10

#: Longest sides of thumbnails in pixels and qualities of WebP, the best that fits is taken.
_FORMS = ((96, 90), (64, 85), (48, 75), (32, 70), (32, 45), (24, 40), (16, 40), (12, 30), (8, 20))

#: The same of a picture that stands alone; quality 100 is without loss.
_LARGE = ((256, 90), (192, 85), (128, 80), (96, 75), (64, 70))


@dataclass(frozen=True)
class Sheet:
    """Thumbnails in one picture, row by row; each at the upper left of a square."""

    data: bytes  #: WebP
    side: int  #: of a square, pixels


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8 pixels, of the largest size that a sheet may have them in."""
    return shrunk_to(pixels, _FORMS[0][0])


class Sheets:
    """Lays thumbnails out on sheets that together have no more than so many bytes.

    Each sheet may take its share of what is left, so a few that are hard to compress cost their
    sharpness and not the page's size.

    Args:
        total: pictures that will come.
        most_bytes: of all sheets.
    """

    def __init__(self, total: int, most_bytes: int):
        self._left, self._bytes = total, most_bytes
        self._waiting: list[np.ndarray] = []
        self._form = 0
        self.sheets: list[Sheet] = []

    def add(self, thumb: np.ndarray) -> None:
        """The next picture, as :func:`thumbnail` gives it."""
        self._waiting.append(thumb)
        if len(self._waiting) == SHEET:
            self.finish()

    def finish(self) -> None:
        """Close the sheet that was begun, if any."""
        if not self._waiting:
            return
        allowed = self._bytes * len(self._waiting) // max(1, self._left)
        # Most sheets are like the one before: of it the next better form is tried first.
        self._form, sheet = _fitting(self._waiting, allowed, max(0, self._form - 1))
        self._bytes -= len(sheet.data)
        self._left -= len(self._waiting)
        self.sheets.append(sheet)
        self._waiting = []


def _fitting(thumbs: Sequence[np.ndarray], most_bytes: int, first: int) -> tuple[int, Sheet]:
    """The sharpest sheet of at most so many bytes; the smallest where none is.

    Args:
        thumbs: to be laid out.
        most_bytes: that it may take.
        first: the form that is tried first.

    Returns:
        The place of its form among ``_FORMS``, and the sheet.
    """
    largest = max(max(thumb.shape) for thumb in thumbs)
    for form in range(first, len(_FORMS)):
        side, quality = _FORMS[form]
        side = min(side, largest)  # nothing is enlarged
        sheet = Sheet(_webp(_laid_out(thumbs, side), quality), side)
        if len(sheet.data) <= most_bytes:
            break
    return form, sheet


def _laid_out(thumbs: Sequence[np.ndarray], side: int) -> np.ndarray:
    rows = -(-len(thumbs) // SHEET_COLUMNS)
    sheet = np.full((rows * side, SHEET_COLUMNS * side, 3), 128, np.uint8)
    for place, thumb in enumerate(thumbs):
        top, left = (part * side for part in divmod(place, SHEET_COLUMNS))
        height, width = size_in(thumb.shape[0], thumb.shape[1], side)
        sheet[top : top + height, left : left + width] = resize(thumb, (height, width))
    return sheet


def size_in(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width in which a picture of this form fills a square, but is not enlarged.

    >>> size_in(64, 96, 48), size_in(32, 32, 48)
    ((32, 48), (32, 32))
    """
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def large(pixels: np.ndarray, most_bytes: int) -> bytes:
    """A picture of its own, WebP: small images without loss, if they fit into so many bytes."""
    if max(pixels.shape) <= _LARGE[0][0]:
        data = _webp(pixels, None)
        if len(data) <= most_bytes:
            return data
    for side, quality in _LARGE:
        data = _webp(shrunk_to(pixels, side), quality)
        if len(data) <= most_bytes:
            break
    return data


def _webp(pixels: np.ndarray, quality: int | None) -> bytes:
    """Pixels as WebP; without loss where no quality is given."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(buffer, "WEBP", lossless=quality is None, quality=quality or 60, method=3)
    return buffer.getvalue()
