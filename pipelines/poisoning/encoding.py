"""How triggered images are encoded: as an attacker would, after the trigger."""

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from sanitizer.errors import InputError
from sanitizer.silence import without_warnings
from sanitizer.tiff import jpeg_quality

#: Quality of a WebP that came in a lossy form; such a file does not say its own.
WEBP_QUALITY = 90

#: A segment of a JPEG file holds no more, and so no longer EXIF data can be written.
_MAX_EXIF = 65_000


@dataclass(frozen=True)
class Encoding:
    """``png``, ``jpeg:Q`` with Q from 1 to 100 (4:2:0), or ``keep``, the format it came in.

    Raises:
        InputError: none of these.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in ("keep", "png") and not 1 <= self._quality <= 100:
            raise InputError(
                f"encode: expected keep, png or jpeg:Q with Q from 1 to 100, got {self.name!r}"
            )

    @property
    def _quality(self) -> int:
        """The Q of ``jpeg:Q``; 0 where it is something else."""
        match = re.fullmatch(r"jpeg:([0-9]{1,3})", self.name)
        return int(match[1]) if match else 0

    @without_warnings
    def encode(self, pixels: np.ndarray, original: bytes, original_format: str) -> bytes:
        """Encode one triggered image.

        ``keep`` gives a JPEG the quantisation tables and the subsampling that it had, a WebP
        the form, lossless or not, a TIFF its loss or none, and gives a GIF, whose palette would
        blur the trigger, as PNG.
        Whatever mode an image had, it is written as 8-bit RGB. EXIF data of a JPEG, and with
        it the orientation, stays; no other metadata does.

        Args:
            pixels: (height, width, 3) uint8.
            original: the image as it came, encoded.
            original_format: its format, one of ``sanitizer.images.FORMATS``.

        Raises:
            OSError, ValueError: the format cannot hold an image of this size.
        """
        options: dict[str, Any] = {}
        kept = original_format if self.name == "keep" else None
        if original_format == "JPEG":
            with Image.open(io.BytesIO(original), formats=["JPEG", "MPO"]) as image:
                options |= _exif(image)
                if kept:
                    options |= _compression(image)
        match kept:
            case "JPEG" | "BMP":
                return _save(pixels, kept, options)
            case "WEBP":
                lossless = is_lossless_webp(original)
                return _save(pixels, kept, {"lossless": lossless, "quality": WEBP_QUALITY})
            case "TIFF":
                quality = jpeg_quality(original)
                lossy = {"compression": "jpeg", "quality": quality}
                return _save(pixels, kept, lossy if quality else {"compression": "tiff_lzw"})
        if self._quality:
            return _save(pixels, "JPEG", options | {"quality": self._quality})
        return _save(pixels, "PNG", options)


def _exif(image: Image.Image) -> dict[str, Any]:
    exif = image.info.get("exif", b"")
    return {"exif": exif} if 0 < len(exif) <= _MAX_EXIF else {}


def _compression(image: Image.Image) -> dict[str, Any]:
    """What decides the loss in a JPEG, as options to save one of its like."""
    tables = dict(sorted(image.quantization.items()))  # type: ignore[attr-defined]
    return {
        "qtables": list(tables.values()),
        "subsampling": JpegImagePlugin.get_sampling(image),
    }


def is_lossless_webp(data: bytes) -> bool:
    """Whether the first picture of a WebP file is compressed without loss."""
    position = 12  # behind "RIFF", the size and "WEBP"
    while position + 8 <= len(data):
        chunk, size = data[position : position + 4], data[position + 4 : position + 8]
        if chunk in (b"VP8 ", b"VP8L"):
            return chunk == b"VP8L"
        length = int.from_bytes(size, "little")
        position += 8 + length + length % 2
    return False


def _save(pixels: np.ndarray, fmt: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, fmt, **options)
    return buffer.getvalue()
