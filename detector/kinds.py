"""The kind of an image: how its file is encoded, and in how many parts it is seen.

Clean images of different kinds score differently: of many parts one is more likely to stand out,
and what a codec leaves is not what a camera saw. So an image is compared with its own kind. Neither
the name nor the content of a set is asked.
"""

from sanitizer.images import Header

#: Ranges of numbers of parts: of images alike in size.
PART_RANGES = ((1, 1), (2, 9), (10, 24), (25, 45), (46, 64))

#: The range that a group speaks for whose images may be of any size.
ANY_PARTS = (1, 1 << 30)

#: Ways of encoding. Pixels without a file count as lossless.
ENCODINGS = (
    "lossless",
    "JPEG to quality 60",
    "JPEG of quality 61-84",
    "JPEG of quality 85-94",
    "JPEG from quality 95",
    "otherwise lossy",
)
LOSSLESS, OTHER = 0, len(ENCODINGS) - 1

#: The highest quality of each but the last band of JPEG.
_BANDS = (60, 84, 94)


def encoding_of(header: Header | None) -> int:
    """The place in ``ENCODINGS`` of an image by its header; None for pixels without a file.

    WebP counts as lossy: what it is takes more than its header to tell. A TIFF may hold a JPEG.

    >>> ENCODINGS[encoding_of(Header(32, 32, "JPEG", 75))], ENCODINGS[encoding_of(None)]
    ('JPEG of quality 61-84', 'lossless')
    """
    if header is None:
        return LOSSLESS
    if header.quality is None and header.format in ("PNG", "BMP", "GIF", "TIFF"):
        return LOSSLESS
    if header.quality is None:
        return OTHER
    return 1 + sum(header.quality > highest for highest in _BANDS)


def range_of(parts: int) -> int:
    """The place in ``PART_RANGES`` of so many parts, or behind the last of them.

    >>> range_of(1), range_of(9), range_of(64), range_of(65)
    (0, 1, 4, 5)
    """
    ends = (high for _, high in PART_RANGES)
    return sum(parts > high for high in ends)


def in_words(parts: tuple[int, int], encoding: int | None) -> str:
    """A kind, for people.

    >>> in_words((1, 1), LOSSLESS), in_words((5, 5), None), in_words(ANY_PARTS, None)
    ('1 part, lossless', '5 parts', 'any parts')
    """
    low, high = parts
    numbers = f"{low}-{high}" if low < high else f"{high}"
    sizes = "any parts" if parts == ANY_PARTS else f"{numbers} part{'s' if high > 1 else ''}"
    return sizes if encoding is None else f"{sizes}, {ENCODINGS[encoding]}"
