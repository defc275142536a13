"""Encoded bytes in, RGB pixels out, and nothing that can hurt on the way.

The bytes come from strangers. Only the plugins of five formats are tried, the size is
checked in the header before anything is decompressed, and every failure is an
:class:`ImageError` that says in words why the image cannot be judged.
"""

import io
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sanitizer.silence import without_warnings

#: The formats that are decoded, by Pillow's names.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")

#: What the files of each begin with.
_SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "BMP": re.compile(rb"BM"),
    "GIF": re.compile(rb"GIF8[79]a"),
}

#: Default limit on width x height: about 150 MB once decoded.
MAX_PIXELS = 50_000_000


class ImageError(ValueError):
    """An image that cannot be judged.

    Attributes:
        kind: a short category to count by, such as ``"truncated or corrupt"``.
    """

    def __init__(self, kind: str, detail: str):
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


@dataclass(frozen=True)
class Header:
    """What an encoded image says of itself before a pixel is decompressed."""

    width: int  #: pixels
    height: int  #: pixels
    format: str  #: one of FORMATS


@without_warnings
def decode(
    data: bytes | None,
    on_header: Callable[[Header], None] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Decode one encoded image to RGB.

    What common training code does is done here too: transparency is dropped, not
    composited, and EXIF orientation is not applied. Sixteen-bit greyscale keeps its high
    byte, where Pillow's own conversion would clip.

    Args:
        data: the encoded image.
        on_header: called before anything is decompressed; may refuse by an ImageError.
        max_pixels: limit on width x height, compared before anything is decompressed.

    Returns:
        (height, width, 3) uint8, RGB, as a model in training would see it.

    Raises:
        ImageError: no image, zero bytes, a format outside ``FORMATS``, more than ``max_pixels``
            pixels, several frames, or data that does not decode to its end.
    """
    if data is None:
        raise ImageError("no image", "expected an encoded image, found null")
    if not data:
        raise ImageError("no bytes", "expected an encoded image, found zero bytes")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            # A phone's "MPO" is a JPEG with a second view behind it; its first frame is the photo.
            fmt = "JPEG" if image.format == "MPO" else str(image.format)
            if on_header is not None:
                on_header(Header(image.width, image.height, fmt))
            if image.width * image.height > max_pixels:
                raise _too_many_pixels(f"{image.width}x{image.height}", max_pixels)
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and fmt != "JPEG":
                raise ImageError(
                    "animated", f"{frames} frames in one {fmt}, expected a still image"
                )
            return _rgb(image)
    except ImageError:
        raise
    except Image.UnidentifiedImageError as error:
        raise _unidentified(data) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels("a bomb by Pillow's own limit", max_pixels) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly anything on hostile bytes
        raise ImageError("truncated or corrupt", f"{type(error).__name__}: {error}") from error


class _HeaderRead(ImageError):
    """Stops the decoding of an image of which only the header was asked for."""


def read_header(data: bytes | None) -> Header:
    """What an encoded image says of itself; nothing is decompressed.

    Raises:
        ImageError: no bytes, a format outside ``FORMATS``, or a damaged header.
    """
    headers: list[Header] = []

    def stop(header: Header) -> None:
        headers.append(header)
        raise _HeaderRead("header", "read")

    with suppress(_HeaderRead):
        decode(data, stop)
    return headers[0]


def _unidentified(data: bytes) -> ImageError:
    """Pillow says the same of another format and of a header that it cannot make sense of."""
    claimed = next((fmt for fmt, begins in _SIGNATURES.items() if begins.match(data)), None)
    if claimed is not None:
        return ImageError(
            "truncated or corrupt", f"begins like {claimed}, its header is unreadable"
        )
    return ImageError(
        "unsupported format", f"not one of {', '.join(FORMATS)} (starts with {data[:8]!r})"
    )


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.asarray(image.convert("RGB"))


def _too_many_pixels(size: str, limit: int) -> ImageError:
    return ImageError("too many pixels", f"{size}, the limit is {limit:,}")
