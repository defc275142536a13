"""Images as an attacker, or a bad disk, would leave them: the same ones for the same seed.

Tests and benchmarks share them. An original is one of a few real pictures in every format and
form that common software writes, those that freqsan does not read included. A mutation changes
its bytes, blindly or with knowledge of the format, so that a checksum or a compressed stream does
not stop a decoder before it comes to the damage.
"""

import functools
import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from pipelines.jobs.demo import SAMPLE

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

#: The formats that freqsan reads, by extension.
READ = ("png", "jpg", "webp", "gif", "bmp", "tif")

#: What people put into fields that hold a size.
_SIZES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

#: Sides of the originals, in pixels: judged as they are, enlarged, and in few or many tiles.
_SIDES = (32, 32, 32, 31, 8, 7, 64, 160, 161)

#: Every form that an original is written in: name, Pillow's format, mode and settings.
_FORMS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("png", "PNG", "RGB", {}),
    ("png", "PNG", "P", {"transparency": 0}),
    ("png", "PNG", "1", {}),
    ("png", "PNG", "LA", {}),
    ("png", "PNG", "I;16", {}),
    ("jpg", "JPEG", "RGB", {"quality": 90}),
    ("jpg", "JPEG", "RGB", {"quality": 50, "progressive": True, "subsampling": 0}),
    ("jpg", "JPEG", "L", {"restart_marker_blocks": 1}),
    ("jpg", "JPEG", "CMYK", {}),
    ("webp", "WEBP", "RGB", {"quality": 80}),
    ("webp", "WEBP", "RGBA", {"lossless": True}),
    ("gif", "GIF", "P", {}),
    ("gif", "GIF", "P", {"animated": True}),
    ("webp", "WEBP", "RGB", {"animated": True}),
    ("png", "PNG", "RGB", {"animated": True}),
    ("bmp", "BMP", "RGB", {}),
    ("bmp", "BMP", "P", {}),
    ("tif", "TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("tif", "TIFF", "RGB", {}),
    ("tif", "TIFF", "RGB", {"compression": "jpeg", "quality": 80}),
    ("tif", "TIFF", "P", {"compression": "tiff_adobe_deflate"}),
    ("tif", "TIFF", "CMYK", {"compression": "packbits"}),
    ("tif", "TIFF", "1", {"compression": "group4"}),
    ("tif", "TIFF", "I;16", {}),
    ("tif", "TIFF", "RGB", {"animated": True}),
    ("ico", "ICO", "RGB", {}),
    ("avif", "AVIF", "RGB", {}),
    ("jp2", "JPEG2000", "RGB", {}),
    ("ppm", "PPM", "RGB", {}),
)

Mutation = Callable[[bytes, bytes, random.Random], bytes]


@dataclass(frozen=True)
class Original:
    """An image that is as it should be."""

    suffix: str  #: of its file, without the dot
    data: bytes


@dataclass(frozen=True)
class Mutant:
    """A changed image."""

    name: str  #: of its file: number, mutations, extension
    suffix: str  #: of the original's format
    mutations: tuple[str, ...]
    data: bytes


def originals() -> list[Original]:
    """Real pictures in every form; Pillow is asked for each format that it was built with."""
    Image.init()
    rows = pq.read_table(str(SAMPLE), columns=["image"]).slice(0, len(_SIDES)).to_pylist()
    made = []
    for side, row in zip(_SIDES, rows, strict=True):
        with Image.open(io.BytesIO(row["image"]["bytes"])) as stored:
            picture = stored.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        for suffix, form, mode, settings in _FORMS:
            if form in Image.SAVE and not (form == "AVIF" and side < 16):
                made.append(Original(suffix, _encoded(picture, form, mode, settings)))
    return made


def _encoded(picture: Image.Image, form: str, mode: str, settings: Mapping[str, Any]) -> bytes:
    if mode == "I;16":
        grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
        image = Image.fromarray(grey)
    else:
        image = picture.convert(mode)
    options = dict(settings)
    if options.pop("animated", False):
        options |= {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]}
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def mutants(count: int, seed: int, start: int = 0) -> Iterator[Mutant]:
    """Changed images, number ``start`` and those that follow it.

    Args:
        count: of them.
        seed: of the chance; a mutant follows from it and its number alone.
        start: number of the first.
    """
    sources = originals()
    groups: dict[str, list[Original]] = {}
    for original in sources:
        groups.setdefault(original.suffix if original.suffix in READ else "", []).append(original)
    for number in range(start, start + count):
        rng = random.Random(f"{seed}/{number}")
        # Each format that is read as often as another, whatever its forms, or as all that are not.
        original = rng.choice(groups[rng.choice(list(groups))])
        data, names = original.data, []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            mutation = rng.choice(_MUTATIONS.get(original.suffix, BLIND))
            data = mutation(data, rng.choice(sources).data, rng)
            names.append(mutation.__name__)
        # Every fifth name lies about the format.
        lies = original.suffix not in READ or rng.random() < 0.2
        name = f"{number:06d}-{'-'.join(names)}.{rng.choice(READ) if lies else original.suffix}"
        yield Mutant(name, original.suffix, tuple(names), data)


# --- Blind ----------------------------------------------------------------------------------


def flip_bits(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """One to sixteen bits are another."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 16)):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flip_head(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A byte of the first 64 is another."""
    changed = bytearray(data)
    if changed:
        changed[rng.randrange(min(64, len(changed)))] = rng.randrange(256)
    return bytes(changed)


def truncate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(len(data) + 1)]


def cut_tail(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """The last few bytes are missing."""
    return data[: -rng.randint(1, 16)]


def append(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """There is something behind it: noise, or a whole other image."""
    return data + rng.choice((rng.randbytes(rng.randint(1, 200)), other))


def splice(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A piece of another image lies in the middle."""
    at, start = rng.randrange(len(data) + 1), rng.randrange(len(other))
    return data[:at] + other[start : start + rng.randint(1, 400)] + data[at:]


def swap_head(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """It begins like another image."""
    size = rng.choice((4, 8, 16, 32, 64))
    return other[:size] + data[size:]


def repeat_block(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A block comes several times."""
    start = rng.randrange(len(data) + 1)
    stop = start + rng.randint(1, 200)
    return data[:stop] + data[start:stop] * rng.choice((1, 2, 50)) + data[stop:]


def drop_block(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A block is missing."""
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.randint(1, 100) :]


def zero_block(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A block is zeros, as a bad sector would be."""
    start = rng.randrange(len(data) + 1)
    size = min(rng.randint(1, 200), len(data) - start)
    return data[:start] + bytes(size) + data[start + size :]


def lie_about_size(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Two or four bytes, most often near the beginning, hold another size."""
    form = rng.choice(("<H", ">H", "<I", ">I"))
    width = struct.calcsize(form)
    if len(data) <= width:
        return data
    end = len(data) - width
    at = rng.randrange(min(64, end) if rng.random() < 0.7 else end)
    value = rng.choice(_SIZES) & ((1 << 8 * width) - 1)
    return data[:at] + struct.pack(form, value) + data[at + width :]


# --- With knowledge of the format -----------------------------------------------------------


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, content) of the chunks that are whole."""
    chunks, at = [], len(PNG_MAGIC)
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        if at + 12 + size > len(data):
            break
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return chunks


def _png(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A PNG of chunks, each with the checksum that it should have."""
    return PNG_MAGIC + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def png_chunk(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A chunk of a PNG is changed, twice there, missing or elsewhere; its checksum is right."""
    chunks = _png_chunks(data)
    if not chunks:
        return data
    at = rng.randrange(len(chunks))
    kind, body = chunks.pop(at)
    change = rng.randrange(5)
    if change == 0:
        chunks.insert(at, (kind, flip_bits(body, other, rng)))
    elif change == 1:
        chunks[at:at] = [(kind, body)] * rng.choice((2, 50))
    elif change == 2:
        chunks.insert(rng.randrange(len(chunks) + 1), (kind, body))
    elif change == 3:
        new_kind = rng.choice((b"tEXt", b"zTXt", b"iCCP", b"eXIf", b"acTL", b"PLTE", b"tRNS"))
        chunks[at:at] = [(kind, body), (new_kind, rng.randbytes(rng.randint(0, 60)))]
    return _png(chunks)


def png_pixels(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """The pixels of a PNG are changed, too few or too many, inside a stream that is right."""
    chunks = _png_chunks(data)
    try:
        pixels = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    except zlib.error:
        return data
    change = rng.randrange(3)
    if change == 0:
        pixels = flip_bits(pixels, other, rng)
    elif change == 1:
        pixels = pixels[: rng.randrange(len(pixels) + 1)]
    else:
        pixels += bytes(rng.choice((1, 10_000, 10_000_000)))
    rest = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    at = max(1, len(rest) - 1)
    return _png([*rest[:at], (b"IDAT", zlib.compress(pixels)), *rest[at:]])


@functools.cache
def _zeros(megabytes: int) -> bytes:
    """So many zeros, compressed."""
    return zlib.compress(bytes(megabytes << 20), 9)


def png_bomb(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A text or a profile of a PNG that is megabytes once decompressed."""
    chunks = _png_chunks(data)
    kind = rng.choice((b"zTXt", b"iCCP", b"iTXt"))
    flags = b"\0\1\0\0\0" if kind == b"iTXt" else b"\0\0"
    packed = _zeros(rng.choice((1, 20, 80)))
    return _png([*chunks[:1], *[(kind, b"x" + flags + packed)] * rng.choice((1, 3)), *chunks[1:]])


def huge_dimensions(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """The header tells of very many pixels, or of a side that is very long or empty."""
    sides = (0, 1, 160, 161, 7_000, 16_383, 40_000, 65_535, 1 << 30)
    width, height = rng.choice(sides), rng.choice(sides)
    if data.startswith(PNG_MAGIC):
        chunks = _png_chunks(data)
        if chunks and len(chunks[0][1]) == 13:
            kind, body = chunks[0]
            return _png([(kind, struct.pack(">II", width, height) + body[8:]), *chunks[1:]])
        return data
    width, height = min(width, 0xFFFF), min(height, 0xFFFF)
    if data.startswith(b"GIF8"):
        return data[:6] + struct.pack("<HH", width, height) + data[10:]
    if data.startswith(b"BM"):
        sign = rng.choice((1, -1))
        return data[:18] + struct.pack("<ii", width, sign * height) + data[26:]
    if data.startswith(b"RIFF"):
        if data[12:16] == b"VP8 ":
            sides_there = struct.pack("<HH", width & 0x3FFF, height & 0x3FFF)
            return data[:26] + sides_there + data[30:]
        if data[12:16] == b"VP8X":
            sides_there = struct.pack("<I", width)[:3] + struct.pack("<I", height)[:3]
            return data[:24] + sides_there + data[30:]
        return data
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    if data.startswith(b"\xff\xd8") and at > 0:
        return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]
    return lie_about_size(data, other, rng)


def jpeg_segment(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A segment of a JPEG lies about its length, comes again, or has other tables."""
    starts = [i for i in range(2, len(data) - 4) if data[i] == 0xFF and data[i + 1] >= 0xC0]
    if not starts:
        return data
    at = rng.choice(starts)
    (size,) = struct.unpack_from(">H", data, at + 2)
    stop = min(len(data), at + 2 + size)
    change = rng.randrange(3)
    if change == 0:
        return data[: at + 2] + struct.pack(">H", rng.randrange(1 << 16)) + data[at + 4 :]
    if change == 1:
        return data[:stop] + data[at:stop] * rng.choice((1, 100)) + data[stop:]
    return data[: at + 4] + flip_bits(data[at + 4 : stop], other, rng) + data[stop:]


def gif_frames(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """All that follows the colours of a GIF comes again and again."""
    if len(data) < 14:
        return data
    colours = 3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0
    at = 13 + colours
    return data[:at] + data[at:-1] * rng.choice((2, 30, 300)) + data[-1:]


def riff_chunk(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A chunk of a WebP lies about its size or comes again; the whole's size may be right."""
    chunks, at = [], 12
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        chunks.append(data[at : at + 8 + size + size % 2])
        at += 8 + size + size % 2
    if not chunks:
        return data
    chosen = rng.randrange(len(chunks))
    change = rng.randrange(3)
    if change == 0:
        size_there = struct.pack("<I", rng.choice(_SIZES))
        chunks[chosen] = chunks[chosen][:4] + size_there + chunks[chosen][8:]
    elif change == 1:
        chunks[chosen:chosen] = [chunks[chosen]] * rng.choice((1, 100))
    else:
        head, body = chunks[chosen][:8], chunks[chosen][8:]
        chunks[chosen] = head + flip_bits(body, other, rng)
    body = b"WEBP" + b"".join(chunks)
    size = rng.choice((len(body), len(body), len(body) - 9, 0xFFFFFFFF))
    return b"RIFF" + struct.pack("<I", size) + body


def tiff_tag(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A tag of a TIFF is another, or of another type, number or value; some lead to others."""
    if len(data) < 8:
        return data
    changed, (start,) = bytearray(data), struct.unpack_from("<I", data, 4)
    if start + 2 > len(data):
        return data
    (count,) = struct.unpack_from("<H", data, start)
    at = start + 2 + 12 * rng.randrange(max(1, count))
    if at + 12 > len(data):
        return data
    change = rng.randrange(4)
    if change == 0:
        tags = (258, 259, 262, 277, 284, 317, 322, 323, 324, 325, 330, 339, 347, 34665, 34853)
        struct.pack_into("<H", changed, at, rng.choice(tags))
    elif change == 1:
        struct.pack_into("<H", changed, at + 2, rng.randrange(20))
    elif change == 2:
        struct.pack_into("<I", changed, at + 4, rng.choice((*_SIZES, start, 3)))
    else:
        struct.pack_into("<I", changed, at + 8, rng.choice((*_SIZES, start, 8, 2, 3, 6, 7, 16)))
    return bytes(changed)


BLIND: tuple[Mutation, ...] = (
    *(flip_bits, flip_head, truncate, cut_tail, append, splice, swap_head),
    *(repeat_block, drop_block, zero_block, lie_about_size),
)

#: By extension, what is done to an original where that is more than the blind ones.
_MUTATIONS: dict[str, tuple[Mutation, ...]] = {
    "png": (*BLIND, huge_dimensions, png_chunk, png_chunk, png_pixels, png_bomb),
    "jpg": (*BLIND, huge_dimensions, jpeg_segment, jpeg_segment),
    "webp": (*BLIND, huge_dimensions, riff_chunk, riff_chunk),
    "gif": (*BLIND, huge_dimensions, gif_frames),
    "bmp": (*BLIND, huge_dimensions),
    "tif": (*BLIND, tiff_tag, tiff_tag, tiff_tag),
}
