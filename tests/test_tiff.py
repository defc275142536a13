"""TIFF, which holds nearly anything: it is judged as training code sees it, or says why not."""

import io
import random
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from pictures import noise
from PIL import Image

from detector.kinds import ENCODINGS, encoding_of
from sanitizer.images import ImageError, decode, read_header
from sanitizer.tiff import MAX_ENTRIES, jpeg_quality

PICTURE = Image.fromarray(noise(40, 24, 3))


def tiff(image: Image.Image = PICTURE, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "TIFF", **options)
    return out.getvalue()


def by_hand(
    tags: dict[int, tuple[int, ...]], pixels: bytes = b"", order: str = "<", more: bytes = b""
) -> bytes:
    """A TIFF of tags that are each a few LONGs, its pixels behind the first eight bytes."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(pixels))
    directory = struct.pack(order + "H", len(tags))
    spare = 8 + len(pixels) + 2 + 12 * len(tags) + 4
    values = b""
    for tag, numbers in sorted(tags.items()):
        if len(numbers) == 1:
            content = struct.pack(order + "I", numbers[0])
        else:
            content = struct.pack(order + "I", spare + len(values))
            values += struct.pack(f"{order}{len(numbers)}I", *numbers)
        directory += struct.pack(order + "HHI", tag, 4, len(numbers)) + content
    return head + pixels + directory + bytes(4) + values + more


def plain(side: int = 4, **changes: tuple[int, ...]) -> bytes:
    """A grey TIFF of one strip, made by hand; tags are changed by ``t<number>``."""
    tags = {256: (side,), 257: (side,), 258: (8,), 259: (1,), 262: (1,), 273: (8,), 278: (side,)}
    tags |= {277: (1,), 279: (side * side,)} | {int(k[1:]): v for k, v in changes.items()}
    return by_hand(tags, bytes(range(side * side)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "RGBX", "CMYK"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_every_usual_kind_is_what_pillow_makes_of_it(mode: str, compression: str | None) -> None:
    data = tiff(PICTURE.convert(mode), **({"compression": compression} if compression else {}))
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB"))
    assert (decode(data) == expected).all()
    assert ENCODINGS[encoding_of(read_header(data))] == "lossless"


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_grey_keeps_its_high_byte(order: str) -> None:
    values = (np.arange(16) * 4000).astype(f"{order}u2")
    tags = {256: (4,), 257: (4,), 258: (16,), 259: (1,), 262: (1,), 273: (8,), 278: (4,)}
    data = by_hand(tags | {277: (1,), 279: (32,)}, values.tobytes(), order)
    assert (decode(data)[..., 0].ravel() == (np.arange(16) * 4000) >> 8).all()


def test_sixteen_bit_colours_keep_their_high_byte() -> None:
    values = noise(4, 4, 3).astype("<u2") * 256 + 17
    tags = {256: (4,), 257: (4,), 258: (16, 16, 16), 259: (1,), 262: (2,), 273: (8,), 278: (4,)}
    data = by_hand(tags | {277: (3,), 279: (96,)}, values.tobytes())
    assert (decode(data) == noise(4, 4, 3)).all()


@pytest.mark.parametrize("quality", [50, 90])
def test_a_jpeg_in_a_tiff_is_of_the_kind_of_its_quality(quality: int) -> None:
    data = tiff(compression="jpeg", quality=quality)
    header = read_header(data)
    assert (header.format, header.quality) == ("TIFF", quality)
    assert ENCODINGS[encoding_of(header)].startswith("JPEG")
    assert decode(data).shape == (40, 24, 3)


def test_tiles_are_read() -> None:
    data = plain(t322=(2,), t323=(2,), t324=(8, 12, 16, 20), t325=(4, 4, 4, 4))
    data = data.replace(struct.pack("<H", 273), struct.pack("<H", 299))  # it has no strips
    assert (
        decode(data)[..., 0] == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    ).all()


def test_what_is_made_by_hand_is_sound() -> None:
    assert (decode(plain())[..., 0].ravel() == np.arange(16)).all()


def refused() -> Iterator[tuple[str, bytes, str]]:
    pages = tiff(save_all=True, append_images=[PICTURE])
    yield "pages", pages, "several pages: more than one image in a TIFF"
    yield "float", tiff(Image.new("F", (8, 8))), "unsupported format: a TIFF of floating-point"
    yield "32 bits", tiff(Image.new("I", (8, 8))), "unsupported format: a TIFF of 32 bits"
    yield "12 bits", plain(t258=(12,)), "unsupported format: a TIFF of 12 bits"
    yield "lab", tiff(PICTURE.convert("LAB")), "unsupported format: a TIFF of colours in way 8"
    yield "bands", plain(t277=(60,)), "unsupported format: a TIFF of 60 bands"
    yield "codec", plain(t259=(34887,)), "unsupported format: a TIFF compressed in way 34887"
    yield "strange pixels", plain(t258=(2,), t262=(2,)), "unsupported format: a TIFF with pixels"
    yield "no strips", plain(t259=(5,)).replace(struct.pack("<HHI", 279, 4, 1), bytes(8)), "trunc"
    yield "strips", plain(t273=(8, 9)), "truncated or corrupt: a TIFF with other pieces"
    yield "few strips", plain(t278=(2,)), "truncated or corrupt: a TIFF of more or fewer pieces"
    yield "beyond", plain(t273=(1 << 30,)), "truncated or corrupt: a TIFF that ends before its pix"
    yield "many pieces", plain(t273=(8,) * 140_000, t279=(1,) * 140_000), "too much metadata"
    yield "bomb", plain(t256=(60_000,), t257=(60_000,)), "too many pixels: a bomb by Pillow's own"
    yield (
        "many pixels",
        plain(t256=(8_000,), t257=(8_000,)),
        "too many pixels: 8000x8000, the limit",
    )
    yield "tile", plain(t322=(65_535,), t323=(65_535,)), "too many pixels: a tile of 65535x65535"
    yield "both", plain(t322=(0,), t323=(0,), t324=(8,), t325=(0,)), "truncated or corrupt: a TIFF"
    yield "cut", tiff()[:-40], "truncated or corrupt: "
    yield "head", b"II*\0", "truncated or corrupt: a TIFF that ends within"
    yield "heads", b"MM\0+" + bytes(8), "truncated or corrupt: a TIFF that ends within"


@pytest.mark.parametrize(
    ("data", "reason"), [r[1:] for r in refused()], ids=[r[0] for r in refused()]
)
def test_what_cannot_be_judged_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg", "packbits", "group4"])
def test_a_tiff_that_was_cut_off_is_never_judged(compression: str) -> None:
    image = PICTURE.convert("1") if compression == "group4" else PICTURE
    data = tiff(image, compression=compression)
    for end in range(0, len(data), max(1, len(data) // 200)):
        with pytest.raises(ImageError):
            decode(data[:end])


def test_tags_that_point_at_the_same_megabytes_again_and_again_are_not_followed() -> None:
    """Else a reader copies them for each; nor is a directory that leads to itself."""
    many = dict.fromkeys(range(40_000, 40_100), (1,) * 60_000)
    one = by_hand(many)
    start = len(one) - 240_000
    shared = one[:8] + b"".join(
        (struct.pack("<H", len(many)), *(struct.pack("<HHII", t, 4, 60_000, start) for t in many))
    )
    with pytest.raises(ImageError, match="too much metadata: more than 16 MiB beside the pixels"):
        decode(shared.ljust(start, b"\0") + one[start:])
    with pytest.raises(ImageError, match=f"too much metadata: more than {MAX_ENTRIES:,} tags"):
        decode(plain(t34665=(8 + 16,)))


def test_changed_bytes_never_do_more_than_refuse() -> None:
    rng = random.Random(13)
    sources = [tiff(compression=c) for c in ("raw", "tiff_lzw", "jpeg", "tiff_adobe_deflate")]
    sources += [
        plain(),
        tiff(PICTURE.convert("P")),
        tiff(PICTURE.convert("1"), compression="group3"),
    ]
    judged = 0
    for _ in range(1_500):
        data = bytearray(rng.choice(sources))
        directory = struct.unpack_from("<I", data, 4)[0]
        for _ in range(rng.randint(1, 4)):
            start = rng.choice((0, directory, directory))
            at = min(len(data) - 1, start + rng.randrange(200))
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        try:
            judged += decode(bytes(data)).ndim == 3
        except ImageError:
            continue
    assert 50 < judged < 1_400


def test_only_what_begins_like_a_tiff_is_asked() -> None:
    assert jpeg_quality(plain()) is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC is not read; convert it to PNG or JPEG"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF is not read; convert it to PNG or JPEG"),
        (b"\xff\x0a\xfa\x7f\x01\x90\x08\x06", "JPEG XL is not read; convert it to PNG or JPEG"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000 is not read; convert it to PNG or JPEG"),
    ],
)
def test_formats_that_are_not_read_say_what_to_do(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=f"^unsupported format: {words}, such as with "):
        decode(data)
