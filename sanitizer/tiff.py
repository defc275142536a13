"""What a TIFF says of itself, looked at before any library believes it.

The directory of a TIFF is a table of tags that point anywhere in the file, as often and as far as
they like: a kilobyte can have a reader copy the same megabytes a thousand times. And of an image
that was cut off, some decoders fill in the rest and say nothing. So the first directory is read
here, a few dozen numbers, and the rest is left to Pillow only where it can be what it says.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sanitizer.jpeg import quality_of, tables_of

#: What a TIFF begins with: plain or of 64 bits, in either order of bytes.
BEGINS = re.compile(rb"II[*+]\0|MM\0[*+]")

#: Entries of all directories, and bytes of what they point at; cameras write a hundred.
MAX_ENTRIES, MAX_BYTES = 1_000, 16 << 20

#: Strips or tiles, and so values of a tag that is looked at; and pixels of one tile, which is in
#: memory whole.
MAX_PIECES, MAX_TILE_PIXELS = 1 << 17, 1 << 24

#: Compressions that are read. Others are rare, or have a reader of megabytes for one image.
_JPEG = 7
_COMPRESSIONS = (1, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, 50000)

#: Ways of colour that are read: black or white, RGB, palette, CMYK, YCbCr.
_COLOURS = (0, 1, 2, 3, 5, 6)

#: Bits of a sample that are read; of sixteen the high byte counts.
_BITS = (1, 2, 4, 8, 16)

#: Bytes of a value, by its type, and the letters of those whole numbers that Pillow reads, too.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
_LETTERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}

_BITS_PER_SAMPLE, _COMPRESSION, _COLOUR, _SAMPLES, _FORMAT = 258, 259, 262, 277, 339
_SIZE, _ROWS, _TILE_SIZE, _PLANES, _TABLES = (256, 257), 278, (322, 323), 284, 347
_STRIPS, _TILES = (273, 279), (324, 325)

#: Tags that lead to further directories, which Pillow reads, too.
_INNER = (34665, 34853, 40965)


class Refused(ValueError):
    """A TIFF that is not read.

    Attributes:
        kind: a short category to count by.
    """

    def __init__(self, kind: str, detail: str):
        super().__init__(detail)
        self.kind = kind


@dataclass(frozen=True)
class _Entry:
    """A tag: where its values are in the file."""

    kind: int  #: of its values, a number of the format
    count: int
    start: int  #: in bytes

    @property
    def size(self) -> int:
        return self.count * _SIZES.get(self.kind, 0)


class _File:
    """A TIFF as numbers, in its own order of bytes."""

    def __init__(self, data: bytes):
        self.data = data
        self._order = "<" if data.startswith(b"II") else ">"
        self._is_big = data[2:4].strip(b"\0") == b"+"
        self._left = MAX_ENTRIES

    def unpack(self, form: str, start: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + form, self.data, start)

    def first(self) -> int:
        """Where the first directory is."""
        return self.unpack("Q", 8)[0] if self._is_big else self.unpack("I", 4)[0]

    def directory(self, start: int) -> tuple[dict[int, _Entry], int]:
        """The tags of a directory, and where the next one is; 0 for nowhere."""
        head, form, next_form = ("Q", "HHQ", "Q") if self._is_big else ("H", "HHI", "I")
        (count,) = self.unpack(head, start)
        self._left -= count
        if self._left < 0:
            raise Refused("too much metadata", f"more than {MAX_ENTRIES:,} tags in a TIFF")
        position = start + struct.calcsize("=" + head)
        width = 8 if self._is_big else 4
        tags = {}
        for _ in range(count):
            tag, kind, number = self.unpack(form, position)
            position += struct.calcsize("=" + form)
            inside = number * _SIZES.get(kind, 0) <= width
            where = position if inside else self.unpack(next_form, position)[0]
            if tag in tags:  # readers differ in which they take
                raise Refused("truncated or corrupt", "a TIFF that tells the same thing twice")
            tags[tag] = _Entry(kind, number, where)
            position += width
        return tags, self.unpack(next_form, position)[0]

    def numbers(self, entry: _Entry | None, otherwise: Sequence[int] = ()) -> tuple[int, ...]:
        """The values of a tag that holds whole numbers."""
        if entry is None:
            return tuple(otherwise)
        letter = _LETTERS.get(entry.kind)
        if letter is None or not entry.count:
            raise Refused("truncated or corrupt", "a TIFF with a tag that tells no whole number")
        if entry.count > MAX_PIECES:
            raise Refused("too much metadata", f"more than {MAX_PIECES:,} numbers in a tag")
        return self.unpack(f"{entry.count}{letter}", entry.start)


def jpeg_quality(data: bytes, max_pixels: int | None = None) -> int | None:
    """The quality of the JPEG that a TIFF consists of; None where its pixels are lossless.

    Nothing is decompressed.

    Args:
        data: that begin like a TIFF.
        max_pixels: more are refused by whoever asks, so that nothing is said of where those are.

    Raises:
        Refused: it is not whole, has several pages, pixels or a compression that are not read, or
            more of anything than a sane one.
    """
    try:
        return _checked(_File(data), max_pixels)
    except struct.error as error:
        raise Refused("truncated or corrupt", "a TIFF that ends within its directory") from error


def _checked(file: _File, max_pixels: int | None) -> int | None:
    tags, following = file.directory(file.first())
    _check_tags(file, tags)
    if following:
        raise Refused(
            "several pages", "more than one image in a TIFF, expected one; save the one you mean"
        )
    (compression, *_) = file.numbers(tags.get(_COMPRESSION), (1,))
    if compression not in _COMPRESSIONS:
        raise _unread(f"compressed in way {compression}")
    _check_pixels(file, tags)
    pieces = list(_pieces(file, tags, compression))
    width, height = (file.numbers(tags.get(tag), (1,))[0] for tag in _SIZE)
    is_judged = max_pixels is None or width * height <= max_pixels
    if is_judged and len(pieces) != _count(file, tags, width, height):  # a missing one is black
        raise Refused("truncated or corrupt", "a TIFF of more or fewer pieces than its size takes")
    if any(start + size > len(file.data) for start, size in pieces):
        raise Refused("truncated or corrupt", "a TIFF that ends before its pixels do")
    if compression != _JPEG:
        return None
    tables = tags.get(_TABLES)
    streams = [(tables.start, tables.size)] if tables else []
    for start, size in [*streams, *pieces[:1]]:
        if quality := quality_of(tables_of(file.data[start : start + size])):
            return quality
    raise Refused("truncated or corrupt", "a TIFF of JPEGs without their tables")


def _check_tags(file: _File, tags: dict[int, _Entry]) -> None:
    """See that the tags of a directory, and of those it leads to, are not too much."""
    pending, total = [tags], 0
    while pending:
        here = pending.pop()
        total += sum(entry.size for entry in here.values())
        if total > MAX_BYTES:
            raise Refused(
                "too much metadata", f"more than {MAX_BYTES >> 20} MiB beside the pixels of a TIFF"
            )
        for start in (s for tag in _INNER if tag in here for s in file.numbers(here[tag])[:1]):
            if start:
                pending.append(file.directory(start)[0])


def _check_pixels(file: _File, tags: dict[int, _Entry]) -> None:
    """See that pixels are of a kind that common training code sees as they were meant."""
    samples = file.numbers(tags.get(_SAMPLES), (1,))
    bits = file.numbers(tags.get(_BITS_PER_SAMPLE), (1,))
    formats = file.numbers(tags.get(_FORMAT), (1,))
    (colour, *_) = file.numbers(tags.get(_COLOUR), (0,))
    if max(samples) > 5 or len(bits) > 5 or len(formats) > 5:
        raise _unread(f"of {max(*samples, len(bits), len(formats))} bands")
    if 3 in formats:
        raise _unread("of floating-point numbers")
    if set(formats) - {1, 4} or set(bits) - set(_BITS):
        raise _unread(f"of {max(bits)} bits a band, or with a sign")
    if colour not in _COLOURS:
        raise _unread(f"of colours in way {colour}")
    tile = [max(file.numbers(tags.get(tag), (0,))) for tag in _TILE_SIZE]
    if tile[0] * tile[1] > MAX_TILE_PIXELS:
        raise Refused("too many pixels", f"a tile of {tile[0]}x{tile[1]} in a TIFF")


def _pieces(file: _File, tags: dict[int, _Entry], compression: int) -> Iterator[tuple[int, int]]:
    """The start and the size of each strip or tile."""
    start_tag, size_tag = _TILES if _TILES[0] in tags else _STRIPS
    starts, sizes = tags.get(start_tag), tags.get(size_tag)
    if {_STRIPS[0], _TILES[0]} <= tags.keys():  # readers differ in which they take
        raise Refused("truncated or corrupt", "a TIFF of both strips and tiles")
    if starts is None or (sizes is None and compression != 1):
        raise Refused("truncated or corrupt", "a TIFF that does not tell where its pixels are")
    if sizes is not None and sizes.count != starts.count:
        raise Refused("truncated or corrupt", "a TIFF with other pieces than it tells the size of")
    return zip(file.numbers(starts), file.numbers(sizes, [0] * starts.count), strict=True)


def _count(file: _File, tags: dict[int, _Entry], width: int, height: int) -> int:
    """The strips or tiles that an image of its size consists of."""

    def number(tag: int, otherwise: int) -> int:
        return max(1, file.numbers(tags.get(tag), (otherwise,))[0])

    across, down = 1, -(-height // number(_ROWS, height))
    if _TILES[0] in tags:
        tile = (number(tag, 1) for tag in _TILE_SIZE)
        across, down = (-(-side // of) for side, of in zip((width, height), tile, strict=True))
    return across * down * (number(_SAMPLES, 1) if number(_PLANES, 1) == 2 else 1)


def _unread(how: str) -> Refused:
    return Refused(
        "unsupported format",
        f"a TIFF {how}, which is not read; save it with 8 or 16 bits a colour as RGB, or as PNG",
    )
