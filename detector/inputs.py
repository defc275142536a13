"""What of an image the detector looks at: square tiles, at the image's own resolution.

A trigger's traces live in the finest pixels, and resizing smooths them away. So an image
is never shrunk: it is cut into tiles, evenly spread, the first and the last flush with the
borders. Outside of this module they are the *parts* of an image.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta

from sanitizer.blocks import blocks
from sanitizer.images import Header, ImageError, decode, read_header
from sanitizer.record import Record


@dataclass(frozen=True)
class Prepared:
    """An image ready for the detector, or the reason why it will never be."""

    header: Header | None  #: None where not even that could be read, and for pixels
    parts: np.ndarray | None  #: (k, side, side, 3) uint8, k at least 1; None if not judged
    error: ImageError | None  #: set if and only if ``parts`` is None


@dataclass(frozen=True)
class Tiles(Record):
    """The sizes of images that a detector judges, and how it cuts them.

    Raises:
        ValueError: sizes that contradict each other.
    """

    #: Of a tile, in pixels.
    side: Annotated[int, Meta(ge=8, le=64, multiple_of=8)] = 32
    #: An image with a shorter side than this many pixels holds too little to judge.
    smallest: Annotated[int, Meta(ge=1)] = 8
    #: An image with a longer side than this many pixels is not judged.
    largest: Annotated[int, Meta(le=4096)] = 160

    def __post_init__(self) -> None:
        if self.smallest > self.largest:
            raise ValueError(
                f"inputs: expected smallest <= largest, got {self.smallest} and {self.largest}"
            )

    def check(self, width: int, height: int) -> None:
        """Refuse an image of (width, height) pixels that is too large or too small to judge.

        Raises:
            ImageError: it is.
        """
        if max(height, width) > self.largest:
            raise ImageError(
                "too large to judge",
                f"{width}x{height}, this detector judges images of up to {self.largest} px a side",
            )
        if min(height, width) < self.smallest:
            raise ImageError(
                "too small to judge",
                f"{width}x{height}, this detector judges images of at least {self.smallest} px "
                "a side",
            )

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """Cut an image into tiles that cover every pixel.

        A side shorter than a tile is first brought to its length, bilinearly and in the same
        proportions, which is how many small sets came to their size.

        Args:
            pixels: (height, width, 3) uint8.

        Returns:
            (k, side, side, 3) uint8, k at least 1.

        Raises:
            ImageError: the image is too large or too small to judge.

        >>> Tiles().cut(np.zeros((40, 32, 3), np.uint8)).shape
        (2, 32, 32, 3)
        """
        height, width = pixels.shape[:2]
        self.check(width, height)
        return blocks(pixels, self.side)

    def prepare(self, image: bytes | np.ndarray | ImageError | None) -> Prepared:
        """Decode an image and cut it into parts, or say why it cannot be judged.

        Args:
            image: encoded, (height, width, 3) uint8 pixels, why it could not be read, or None
                where there is none. The size of an encoded image is checked before anything
                is decompressed.

        >>> Tiles().prepare(b"not an image").error.kind
        'unsupported format'
        """
        if isinstance(image, ImageError):
            return Prepared(None, None, image)
        header: Header | None = None

        def look(read: Header) -> None:
            nonlocal header
            header = read
            self.check(read.width, read.height)

        try:
            pixels = image if isinstance(image, np.ndarray) else decode(image, look)
            return Prepared(header, self.cut(pixels), None)
        except ImageError as error:
            # Its traceback and cause would keep the pixels alive.
            error.__cause__ = error.__context__ = None
            return Prepared(header, None, error.with_traceback(None))

    def refusal(self, encoded: bytes | None) -> ImageError | None:
        """Why an encoded image cannot be judged, as far as its header tells; else None.

        >>> Tiles().refusal(b"not an image").kind
        'unsupported format'
        """
        try:
            header = read_header(encoded)
            self.check(header.width, header.height)
        except ImageError as error:
            return error
        return None


def judgeable(prepared: Iterable[Prepared]) -> list[np.ndarray]:
    """The parts of those images that can be judged, in order."""
    return [image.parts for image in prepared if image.parts is not None]
