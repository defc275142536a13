"""Encoded bytes in, RGB pixels out, and nothing that can hurt on the way.

The bytes come from strangers. Only the plugins of six formats are tried, the size is
checked in the header before anything is decompressed, and every failure is an
:class:`ImageError` that says in words why the image cannot be judged.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from sanitizer import tiff
from sanitizer.jpeg import quality_of
from sanitizer.silence import silence_libtiff, without_warnings

#: The formats that are decoded, by Pillow's names.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")

#: What the files of each begin with.
_SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "BMP": re.compile(rb"BM"),
    "GIF": re.compile(rb"GIF8[79]a"),
}

#: What the files of formats begin with that are not decoded, and what makes another of one.
_CONVERTED = {
    "HEIC": (re.compile(rb".{4}ftyp(hei|hev|mif1|msf1)", re.DOTALL), "heif-convert of libheif"),
    "AVIF": (re.compile(rb".{4}ftypavi", re.DOTALL), "avifdec of libavif"),
    "JPEG XL": (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "), "djxl of libjxl"),
    "JPEG 2000": (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), "opj_decompress of OpenJPEG"),
}

#: Default limit on width x height: about 150 MB once decoded.
MAX_PIXELS = 50_000_000

#: Limit on the scans of a JPEG: each may be thirty bytes, and is a pass over all of its pixels.
#: Encoders write a dozen.
MAX_SCANS = 64

#: Limits on what stands before the pixels: Pillow puts a comment or EXIF data of many pieces
#: together in a time that grows with the square of their number. No camera comes near them.
MAX_METADATA_BYTES, MAX_METADATA_READS = 16 << 20, 10_000

#: Among and behind the pixels of a PNG one more piece may be read for so many bytes: it may
#: consist of any number of chunks, and a profile of a kilobyte unpacks to a megabyte.
PNG_BYTES_A_READ = 1024

#: What begins an extension, a frame or the end of a GIF; Pillow passes over anything else.
_GIF_BLOCK = re.compile(b"[!,;]")

#: What begins a segment of a JPEG; zeros and restarts are within a scan, and 1 stands alone.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])")


#: Larger images are worth Pillow's own look at their header.
SMALL_PIXELS = 1 << 16

#: Of a PNG: signature, length and name of its first chunk; width, height; depth, colours,
#: compression, filters, interlacing; checksum.
_PNG_HEADER = struct.Struct(">8sI4sII5sI")

_PNG_BEGINS, _PNG_PLAIN, _PNG_END = (
    [b"\x89PNG\r\n\x1a\n", 13, b"IHDR"],
    b"\x08\x02\0\0\0",
    b"\0\0\0\0IEND",
)


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
    #: of a JPEG, also of one in a TIFF, 1 to 100, see :func:`sanitizer.jpeg.quality_of`
    quality: int | None = None


@dataclass(frozen=True)
class Opened:
    """An image that was decoded, or why it could not be."""

    header: Header | None  #: None where not even that could be read, and for pixels
    pixels: np.ndarray | None  #: (height, width, 3) uint8 RGB; None if and only if ``error`` is not
    error: ImageError | None

    @classmethod
    def of(cls, image: bytes | np.ndarray | ImageError | None) -> "Opened":
        """Decode an image, if need be.

        Args:
            image: encoded, (height, width, 3) uint8 pixels, why it could not be read, or None
                where there is none.

        >>> Opened.of(b"not an image").error.kind
        'unsupported format'
        """
        if isinstance(image, ImageError):
            return cls(None, None, image)
        if isinstance(image, np.ndarray):
            if image.size:
                return cls(None, image, None)
            height, width = image.shape[:2]
            found = f"found {width}x{height}, expected at least 1x1"
            return cls(None, None, ImageError("no pixels", found))
        header: Header | None = None

        def look(read: Header) -> None:
            nonlocal header
            header = read

        try:
            pixels = decode(image, look)
        except ImageError as error:
            # Its traceback and cause would keep the pixels alive.
            error.__cause__ = error.__context__ = None
            return cls(header, None, error.with_traceback(None))
        return cls(header, pixels, None)


@without_warnings
def decode(
    data: bytes | None,
    on_header: Callable[[Header], None] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Decode one encoded image to RGB.

    What common training code does is done here too: transparency is dropped, not
    composited, and EXIF orientation is not applied but to a TIFF, which Pillow turns by itself.
    Sixteen-bit greyscale keeps its high byte, where Pillow's own conversion would clip.

    Args:
        data: the encoded image.
        on_header: called before anything is decompressed; may refuse by an ImageError.
        max_pixels: limit on width x height, compared before anything is decompressed.

    Returns:
        (height, width, 3) uint8, RGB, as a model in training would see it.

    Raises:
        ImageError: no image, zero bytes, a format outside ``FORMATS``, more than ``max_pixels``
            pixels or ``MAX_SCANS`` scans, several frames or pages, endless metadata, or data that
            does not decode to its end.
    """
    if data and (plain := _plain_png(data)) is not None:
        header, compressed = plain
        if header.width * header.height <= min(max_pixels, SMALL_PIXELS):
            if on_header is not None:
                on_header(header)
            if (pixels := _plain_pixels(header, compressed)) is not None:
                return pixels
    with _opened(data, max_pixels) as (image, header):
        if on_header is not None:
            on_header(header)
        if header.width * header.height > max_pixels:
            raise _too_many_pixels(f"{header.width}x{header.height}", max_pixels)
        if header.format == "JPEG" and _scans(data or b"") > MAX_SCANS:
            raise ImageError(
                "too many scans", f"more than {MAX_SCANS} passes over a JPEG, expected a dozen"
            )
        if header.format != "JPEG" and _is_animated(image, data or b""):
            raise ImageError(
                "animated", f"several frames in one {header.format}, expected a still image"
            )
        return _rgb(image)


@without_warnings
def read_header(data: bytes | None) -> Header:
    """What an encoded image says of itself; nothing is decompressed.

    Raises:
        ImageError: no image, zero bytes, a format outside ``FORMATS``, or a damaged header.
    """
    with _opened(data, MAX_PIXELS) as (_, header):
        return header


def refusal(data: bytes | None) -> ImageError | None:
    """Why an image cannot be decoded, as far as its header tells; None where it says nothing."""
    try:
        header = read_header(data)
    except ImageError as error:
        return error
    if header.width * header.height > MAX_PIXELS:
        return _too_many_pixels(f"{header.width}x{header.height}", MAX_PIXELS)
    return None


def _plain_png(data: bytes) -> tuple[Header, bytes] | None:
    """The header of a PNG as most small images are stored, and its compressed pixels.

    That is one of eight bits a colour, without interlacing, that has no other chunks than its
    pixels, whole up to its end. Of anything else, also of what is damaged, None: Pillow will say.
    """
    if len(data) < _PNG_HEADER.size:
        return None
    *begins, width, height, kind, checksum = _PNG_HEADER.unpack_from(data)
    if begins != _PNG_BEGINS or kind != _PNG_PLAIN or zlib.crc32(data[12:29]) != checksum:
        return None
    position, pieces = _PNG_HEADER.size, []
    while data[position + 4 : position + 8] == b"IDAT":
        length = int.from_bytes(data[position : position + 4], "big")
        pieces.append(data[position + 8 : position + 8 + length])
        position += 12 + length
    if not width or not height or data[position : position + 8] != _PNG_END:
        return None
    return (Header(width, height, "PNG"), b"".join(pieces)) if len(data) == position + 12 else None


def _plain_pixels(header: Header, compressed: bytes) -> np.ndarray | None:
    """The pixels of such a PNG, by Pillow's own decoder; None where it does not like them.

    Pillow takes a third longer by way of a file, which it has to look through first.
    """
    try:
        size = (header.width, header.height)
        return np.asarray(Image.frombytes("RGB", size, compressed, "zip", "RGB"))
    except (ValueError, OSError, SyntaxError):
        return None


@contextmanager
def _opened(data: bytes | None, max_pixels: int) -> Iterator[tuple[Image.Image, Header]]:
    """An encoded image of which the header is read; whatever is wrong is an ImageError.

    Args:
        data: the encoded image.
        max_pixels: larger images are refused, in these words if by Pillow's own limit.
    """
    if data is None:
        raise ImageError("no image", "expected an encoded image, found null")
    if not data:
        raise ImageError("no bytes", "expected an encoded image, found zero bytes")
    try:
        file = _Encoded(data)
        quality = None
        if file.of_tiff:
            silence_libtiff()
            quality = tiff.jpeg_quality(data, max_pixels)
        with Image.open(file, formats=FORMATS) as image:
            file.in_header, file.of_png = False, image.format == "PNG"
            # A phone's "MPO" is a JPEG with a second view behind it; its first frame is the photo.
            fmt = "JPEG" if image.format == "MPO" else str(image.format)
            quality = quality or quality_of(getattr(image, "quantization", {}))
            yield image, Header(image.width, image.height, fmt, quality)
    except ImageError:
        raise
    except tiff.Refused as error:
        raise ImageError(error.kind, str(error)) from error
    except Image.UnidentifiedImageError as error:
        raise _unidentified(data) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels("a bomb by Pillow's own limit", max_pixels) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly anything on hostile bytes
        raise ImageError("truncated or corrupt", f"{type(error).__name__}: {error}") from error


def _unidentified(data: bytes) -> ImageError:
    """Pillow says the same of another format and of a header that it cannot make sense of."""
    if tiff.BEGINS.match(data):  # and was looked at before
        return ImageError(
            "unsupported format",
            "a TIFF with pixels of a kind that is not read; save it as RGB of 8 bits, or as PNG",
        )
    claimed = next((fmt for fmt, begins in _SIGNATURES.items() if begins.match(data)), None)
    if claimed is not None:
        return ImageError(
            "truncated or corrupt", f"begins like {claimed}, its header is unreadable"
        )
    for fmt, (begins, tool) in _CONVERTED.items():
        if begins.match(data):
            return ImageError(
                "unsupported format",
                f"{fmt} is not read; convert it to PNG or JPEG, such as with {tool}",
            )
    return ImageError(
        "unsupported format", f"not one of {', '.join(FORMATS)} (starts with {data[:8]!r})"
    )


class _Encoded(io.BytesIO):
    """An encoded image as a file that ends its reader where the metadata does not end."""

    def __init__(self, data: bytes):
        super().__init__(data)
        self.in_header, self.of_png = True, False
        #: whose directory may stand at its end
        self.of_tiff = tiff.BEGINS.match(data) is not None
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        if self.in_header or self.of_png:
            self._reads += 1
            more = 0 if self.in_header else self.tell() // PNG_BYTES_A_READ
            begins = self.in_header and not self.of_tiff
            too_long = begins and self.tell() > MAX_METADATA_BYTES
            if too_long or self._reads > MAX_METADATA_READS + more:
                raise ImageError(
                    "too much metadata",
                    f"more than {MAX_METADATA_BYTES >> 20} MiB before the pixels, or some thousand "
                    "pieces",
                )
        return super().read(size)


def _scans(data: bytes) -> int:
    """Scans of a JPEG, up to its end; where there are few in all, perhaps some more than that."""
    most = data.count(b"\xff\xda")
    if most <= MAX_SCANS:
        return most
    scans, position = 0, 2
    while (marker := _JPEG_MARKER.search(data, position)) and marker[1] != b"\xd9":
        scans += marker[1] == b"\xda"
        length = int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        position = marker.end() + max(2, length)
    return scans


def _is_animated(image: Image.Image, data: bytes) -> bool:
    """Whether there is a second frame; no more are looked for."""
    if not isinstance(image, GifImageFile):
        return bool(getattr(image, "is_animated", False))  # said in the header
    position = _behind_gif_data(data, image.tile[0].offset)
    while block := _GIF_BLOCK.search(data, position):
        if block[0] != b"!":
            return block[0] == b","
        position = _behind_gif_data(data, block.end() + 1)
    return False


def _behind_gif_data(data: bytes, position: int) -> int:
    """The position behind a row of data blocks, each of which begins with its size."""
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return position + 1


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    # Pillow would convert RGB to RGB by a copy.
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _too_many_pixels(size: str, limit: int) -> ImageError:
    return ImageError("too many pixels", f"{size}, the limit is {limit:,}")
