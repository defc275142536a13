"""What of an image the detector looks at: square tiles of its own pixels, and of the whole, shrunk.

A trigger that was stamped on a photo shows in its finest pixels, which shrinking smooths away; one
that was made for the size at which a model will train shows where the photo is shrunk to about that
size. So an image is seen at its own resolution, all of it where it is small, else at its corners,
along its edges and in its middle; and as a whole at up to three coarser levels. That is 64 tiles at
most, whatever the size and shape of the image. Outside of this module they are its *parts*.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product, repeat
from typing import Annotated, NamedTuple

import numpy as np
from msgspec import Meta

from detector.flat_squares import clearest, clearest_of
from detector.kinds import LOSSLESS, encoding_of
from sanitizer.images import Header, ImageError, Opened
from sanitizer.record import Record
from sanitizer.resizing import resize

#: Tiles of the whole image at each of its coarser levels, at most. With 64 in all, 7 x 7 are left
#: for an image's own pixels: all of one of 224 px.
LEVELS = (9, 4, 1)


class About(NamedTuple):
    """What is known of an image beside its tiles."""

    native: int  #: tiles of its own pixels, at least 1; the others are of the whole, shrunk
    encoding: int = LOSSLESS  #: of the image, a place in :data:`detector.kinds.ENCODINGS`
    #: :func:`detector.flat_squares.clearest`; 0 where the encoding leaves nothing flat.
    flat: float = 0.0


class Box(NamedTuple):
    """A part of an image, in shares of its width and height."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Parts:
    """What the detector sees of one image."""

    tiles: np.ndarray  #: (k, side, side, 3) uint8, k at least 1; those of its own pixels first
    about: About

    def __len__(self) -> int:
        return len(self.tiles)


#: Side in pixels of the windows in which a larger image is searched for flat squares.
WINDOW = 128


@dataclass(frozen=True)
class Prepared:
    """An image ready for the detector, or the reason why it will never be."""

    header: Header | None  #: None where not even that could be read, and for pixels
    parts: Parts | None  #: None if not judged
    error: ImageError | None  #: set if and only if ``parts`` is None


@dataclass(frozen=True)
class Tiles(Record):
    """How a detector cuts images."""

    #: Of a tile, in pixels.
    side: Annotated[int, Meta(ge=8, le=64, multiple_of=8)] = 32
    #: Tiles of one image, at most.
    most: Annotated[int, Meta(ge=sum(LEVELS) + 1, le=1024)] = 64

    def cut(self, pixels: np.ndarray, header: Header | None = None) -> Parts:
        """Cut an image into tiles.

        Where a side is shorter than a tile, squares of that length are cut and enlarged
        bilinearly, which is how many small sets came to their size.

        Args:
            pixels: (height, width, 3) uint8, at least one.
            header: of the file that they came from; None where there is none.

        >>> cut = Tiles().cut(np.zeros((40, 32, 3), np.uint8))
        >>> cut.tiles.shape, cut.about.native
        ((3, 32, 32, 3), 2)
        """
        height, width = pixels.shape[:2]
        side = min(self.side, height, width)
        whole = -(-height // side) * -(-width // side)
        levels = [most for most in LEVELS if most < whole]
        encoding = encoding_of(header)
        flat = _clearest_square(pixels) if encoding == LOSSLESS else 0.0
        rows, columns = _grid(height, width, side, self.most - sum(levels))
        native = _tiles(pixels, side, _places(height, side, rows), _places(width, side, columns))
        tiles = [resize(tile, (self.side, self.side)) for tile in native]
        for most in levels:
            rows, columns = _grid(height, width, self.side, most)
            # Each from the one before: a large image is shrunk but once.
            pixels = resize(pixels, (rows * self.side, columns * self.side))
            starts = (range(0, length, self.side) for length in pixels.shape[:2])
            tiles += _tiles(pixels, self.side, *starts)
        return Parts(np.stack(tiles), About(len(native), encoding, flat))

    def boxes(self, height: int, width: int) -> list[Box]:
        """Where the parts of an image are, in the order of :meth:`cut`.

        >>> Tiles().boxes(32, 64)
        [Box(left=0.0, top=0.0, width=0.5, height=1.0), Box(left=0.5, top=0.0, width=0.5, \
height=1.0), Box(left=0.0, top=0.0, width=1.0, height=1.0)]
        """
        side = min(self.side, height, width)
        whole = -(-height // side) * -(-width // side)
        levels = [most for most in LEVELS if most < whole]
        rows, columns = _grid(height, width, side, self.most - sum(levels))
        starts = product(_places(height, side, rows), _places(width, side, columns))
        boxes = [Box(x / width, y / height, side / width, side / height) for y, x in starts]
        for most in levels:
            rows, columns = _grid(height, width, self.side, most)
            cells = product(range(rows), range(columns))
            boxes += [Box(x / columns, y / rows, 1 / columns, 1 / rows) for y, x in cells]
        return boxes

    def prepare(self, image: Opened) -> Prepared:
        """Cut a decoded image into parts."""
        parts = None if image.pixels is None else self.cut(image.pixels, image.header)
        return Prepared(image.header, parts, image.error)

    def prepare_all(self, images: Sequence[Opened]) -> list[Prepared]:
        """:meth:`prepare` of each; those that are one tile, as most of a set may be, together."""
        one_tile = [
            (number, image.header, image.pixels)
            for number, image in enumerate(images)
            if image.pixels is not None and image.pixels.shape[:2] == (self.side, self.side)
        ]
        together: dict[int, Prepared] = {}
        if one_tile:
            numbers, headers, pixels = zip(*one_tile, strict=True)
            tiles, encodings = np.stack(pixels), list(map(encoding_of, headers))
            flat, lossless = np.zeros(len(tiles)), np.array(encodings) == LOSSLESS
            flat[lossless] = clearest_of(tiles[lossless])
            abouts = map(About, repeat(1), encodings, flat.tolist())
            for number, header, tile, about in zip(numbers, headers, tiles, abouts, strict=True):
                together[number] = Prepared(header, Parts(tile[None], about), None)
        return [together.get(number) or self.prepare(image) for number, image in enumerate(images)]


def judgeable(prepared: Iterable[Prepared]) -> list[Parts]:
    """The parts of those images that can be judged, in order."""
    return [image.parts for image in prepared if image.parts is not None]


def _grid(height: int, width: int, side: int, most: int) -> tuple[int, int]:
    """Rows and columns of tiles: as many as cover an image, or else at most ``most`` in all.

    >>> _grid(64, 100, 32, 50), _grid(3000, 4000, 32, 50), _grid(32, 9000, 32, 50)
    ((2, 4), (5, 7), (1, 49))
    """
    rows, columns = -(-height // side), -(-width // side)
    if rows * columns <= most:
        return rows, columns
    rows = min(rows, max(1, round(math.sqrt(most * height / width))), most)
    columns = min(columns, most // rows)
    # Of an odd number one is in the middle.
    rows, columns = (n - 1 if n > 4 and n % 2 == 0 else n for n in (rows, columns))
    return rows, columns


def _places(length: int, side: int, count: int) -> list[int]:
    """Where so many tiles begin along a side of an image, from border to border.

    Those that do not cover it stand two by two at the ends, where stamps are put.

    >>> _places(100, 32, 4), _places(4000, 32, 7), _places(4000, 32, 3)
    ([0, 23, 45, 68], [0, 32, 1008, 1984, 2960, 3936, 3968], [0, 1984, 3968])
    """
    last = length - side
    if count == 1:
        return [last // 2]
    if count * side >= length or count < 5:
        return np.linspace(0, last, count).round().astype(int).tolist()
    return [0, *np.linspace(side, last - side, count - 2).round().astype(int).tolist(), last]


def _clearest_square(pixels: np.ndarray) -> float:
    """The clearest flat square of an image: of a large one in its corners and in its middle."""
    if max(pixels.shape[:2]) <= 2 * WINDOW:
        return clearest(pixels)
    starts = ({0, (length - WINDOW) // 2, length - WINDOW} for length in pixels.shape[:2])
    rows, columns = ([slice(max(0, s), max(0, s) + WINDOW) for s in sorted(of)] for of in starts)
    return max(clearest(pixels[r, c]) for r, c in product(rows, columns))


def _tiles(
    pixels: np.ndarray, side: int, rows: Iterable[int], columns: Iterable[int]
) -> list[np.ndarray]:
    """The squares that begin in these rows and columns, row by row."""
    return [pixels[r : r + side, c : c + side] for r, c in product(rows, columns)]
