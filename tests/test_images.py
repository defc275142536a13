"""Decoding what strangers send."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import noise
from PIL import Image

from sanitizer import images
from sanitizer.images import FORMATS, Header, ImageError, decode, refusal


def encoded(image: Image.Image, fmt: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, fmt, **options)
    return out.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds hardly any data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("fmt", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_the_pixels_back(fmt: str) -> None:
    pixels = noise(20, 30, 3)
    headers: list[Header] = []
    decoded = decode(encoded(Image.fromarray(pixels), fmt), headers.append)
    assert (decoded == pixels).all()
    assert headers == [Header(30, 20, fmt)]


def test_a_header_can_refuse_before_a_pixel_is_decoded() -> None:
    def refuse(header: Header) -> None:
        raise ImageError("too wide", f"{header.width}")

    with pytest.raises(ImageError, match="too wide: 30000"):
        decode(png_header(30_000, 1), refuse)


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_allowed_format_decodes_to_rgb(fmt: str) -> None:
    decoded = decode(encoded(Image.fromarray(noise(16, 16, 3)), fmt))
    assert decoded.shape == (16, 16, 3)
    assert decoded.dtype == np.uint8


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
def test_every_png_mode_decodes_to_rgb(mode: str) -> None:
    image = Image.fromarray(noise(16, 16, 3)).convert(mode)
    assert (decode(encoded(image)) == np.asarray(image.convert("RGB"))).all()


def test_cmyk_jpeg_decodes_to_rgb() -> None:
    data = encoded(Image.fromarray(noise(16, 16, 3)).convert("CMYK"), "JPEG")
    assert decode(data).shape == (16, 16, 3)


def test_sixteen_bit_grey_keeps_its_high_byte() -> None:
    image = Image.fromarray(np.full((8, 8), 40000, np.uint16))
    assert (decode(encoded(image)) == 40000 >> 8).all()


def test_exif_orientation_is_not_applied_as_training_code_does_not() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode(encoded(Image.fromarray(noise(20, 40, 3)), "JPEG", exif=exif.tobytes()))
    assert decoded.shape == (20, 40, 3)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (None, "no image"),
        (b"", "no bytes"),
        (b"just some text", "unsupported format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported format"),
        (encoded(Image.fromarray(noise(64, 64, 3)))[:2000], "truncated or corrupt"),
        (encoded(Image.fromarray(noise(64, 64, 3)), "JPEG")[:800], "truncated or corrupt"),
        (encoded(Image.fromarray(noise(8, 8, 3)), "PPM"), "unsupported format"),
        (encoded(Image.fromarray(noise(8, 8, 3)))[:12], "truncated or corrupt"),
        (encoded(Image.fromarray(noise(8, 8, 3)), "JPEG")[:8], "truncated or corrupt"),
        (encoded(Image.fromarray(noise(8, 8, 3)), "WEBP")[:14], "truncated or corrupt"),
        (encoded(Image.fromarray(noise(8, 8, 3)), "GIF")[:8], "truncated or corrupt"),
        (encoded(Image.fromarray(noise(8, 8, 3)), "BMP")[:14], "truncated or corrupt"),
        (png_header(14_000, 14_000), "too many pixels"),
        (png_header(11_000, 11_000), "too many pixels"),
        (png_header(8_000, 8_000), "too many pixels"),
    ],
)
def test_what_cannot_be_judged_says_why(data: bytes | None, kind: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.kind == kind
    assert str(caught.value).startswith(f"{kind}: ")
    # A look at the header says the same, or nothing.
    assert str(refusal(data)) in (str(caught.value), "None")


@pytest.mark.parametrize(
    "data",
    [None, b"", b"no image", png_header(8_000, 8_000), encoded(Image.new("RGB", (8, 8)))[:12]],
)
def test_a_header_tells_what_the_whole_image_would(data: bytes | None) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert str(refusal(data)) == str(caught.value)


def test_damage_behind_the_header_is_not_seen_by_a_look_at_the_header() -> None:
    whole = encoded(Image.fromarray(noise(64, 64, 3)))
    assert refusal(whole) is refusal(whole[:-100]) is None
    with pytest.raises(ImageError, match="truncated or corrupt"):
        decode(whole[:-100])


@pytest.mark.parametrize("fmt", ["GIF", "PNG", "WEBP"])
def test_animations_are_not_judged_by_their_first_frame(fmt: str) -> None:
    frames = [Image.fromarray(noise(8, 8, 3)), Image.fromarray(255 - noise(8, 8, 3))]
    data = encoded(frames[0], fmt, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match=f"several frames in one {fmt}"):
        decode(data)


def gif(*blocks: bytes) -> bytes:
    """A GIF of blocks, 8x8 px with two colours."""
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0)
        + bytes(3)
        + b"\xff" * 3
        + (b"".join(blocks) + b";")
    )


def gif_frame() -> bytes:
    """A frame of a GIF: its descriptor and compressed pixels."""
    image = encoded(Image.new("P", (8, 8)), "GIF")
    return image[image.index(b"," + bytes(4)) : -1]


GIF_COMMENT = b"!\xfe" + (b"\xff" + b"x" * 255) * (4 << 12) + b"\0"  # 4 MiB


@pytest.mark.parametrize(
    ("behind", "kind"),
    [
        ([], None),
        ([b"!\xfe\x02hi\0"], None),
        ([b"!\xfe\x02,,\0", b"junk"], None),
        ([GIF_COMMENT], None),
        ([b"!\xfe\x02hi\0", b"junk", gif_frame()], "animated"),
        ([gif_frame()] * 100_000, "animated"),
    ],
    ids=["nothing", "comment", "commas", "long comment", "frame", "many frames"],
)
def test_only_a_second_frame_is_looked_for(behind: list[bytes], kind: str | None) -> None:
    data = gif(gif_frame(), *behind)
    reads = 0

    class Counted(images._Encoded):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal reads
            reads += 1
            return super().read(size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "_Encoded", Counted)
        if kind is None:
            assert decode(data).shape == (8, 8, 3)
        else:
            with pytest.raises(ImageError, match=kind):
                decode(data)
    assert reads < 50


#: A PNG, of which the last chunk has 12 bytes, and an empty chunk to put into it.
PNG = encoded(Image.fromarray(noise(8, 8, 3)))
PRIVATE_CHUNK = bytes(4) + b"prVt" + struct.pack(">I", zlib.crc32(b"prVt"))


def jpeg_with(segment: bytes, count: int) -> bytes:
    image = encoded(Image.fromarray(noise(8, 8, 3)), "JPEG")
    return (
        image[:2]
        + (b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment) * count
        + (image[2:])
    )


@pytest.mark.parametrize(
    "data",
    [
        gif(GIF_COMMENT, gif_frame()),
        gif(*[b"!\xfe\xff" + b"x" * 255 + b"\0"] * 20_000, gif_frame()),
        jpeg_with(b"Exif\0\0" + bytes(65_000), 300),
        png_header(8, 8)[:33] + PRIVATE_CHUNK * 20_000 + png_header(8, 8)[33:],
        PNG[:-12] + PRIVATE_CHUNK * 20_000 + PNG[-12:],
    ],
    ids=["gif comment", "gif comments", "jpeg exif", "png chunks", "png chunks behind"],
)
def test_endless_metadata_is_not_put_together(data: bytes) -> None:
    with pytest.raises(ImageError, match="too much metadata: "):
        decode(data)


def test_metadata_of_a_camera_is_no_obstacle() -> None:
    assert decode(jpeg_with(b"Exif\0\0" + bytes(65_000), 100)).shape == (8, 8, 3)


def progressive(scans: int) -> bytes:
    """A progressive JPEG of which the last scan comes so many times again."""
    image = encoded(Image.fromarray(noise(8, 8, 3)), "JPEG", progressive=True)
    last = image[image.rindex(b"\xff\xda") : -2]
    return image[:-2] + last * scans + image[-2:]


def test_a_jpeg_is_not_gone_over_again_and_again() -> None:
    with pytest.raises(ImageError, match="too many scans: "):
        decode(progressive(100))
    # A phone's preview is within a segment, its video behind the end: neither counts.
    preview, video = b"\xff\xda" * 100, b"\xff\xda\0\2" * 100
    assert decode(jpeg_with(preview, 1) + video).shape == (8, 8, 3)
    assert decode(progressive(10)).shape == (8, 8, 3)


def test_the_pixel_limit_counts_pixels_before_decoding() -> None:
    with pytest.raises(ImageError, match="limit is 99"):
        decode(encoded(Image.fromarray(noise(10, 10, 3))), max_pixels=99)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(FORMATS), st.integers(0, 400))
def test_no_bytes_whatever_raise_anything_else(junk: bytes, fmt: str, at: int) -> None:
    data = bytearray(encoded(Image.fromarray(noise(12, 12, 3)), fmt))
    data[at : at + len(junk)] = junk
    for hostile in (bytes(junk), bytes(data)):
        with contextlib.suppress(ImageError):
            assert decode(hostile).ndim == 3


def outcome(data: bytes) -> tuple[object, ...]:
    """What decoding comes to, with the headers that were shown on the way."""
    headers: list[Header] = []
    try:
        pixels = decode(data, headers.append)
    except ImageError as error:
        return error.kind, str(error), headers[-1:]
    return pixels.shape, pixels.tobytes(), headers[-1:]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def damaged(draw: st.DrawFn) -> bytes:
    """A small PNG, most of the time not quite whole."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    pixels = noise(height, width, 3)
    if draw(st.booleans()):
        pixels[:, 1:] = pixels[:, :1]  # as other filters are chosen for
    whole = encoded(Image.fromarray(pixels), compress_level=draw(st.sampled_from([0, 1, 6, 9])))
    length = int.from_bytes(whole[33:37], "big")
    compressed = whole[41 : 41 + length]
    cut = draw(st.integers(0, length))
    several = [png_chunk(b"IDAT", part) for part in (compressed[:cut], compressed[cut:])]
    forms = {
        "whole": whole,
        "two pieces": whole[:33] + b"".join(several) + whole[-12:],
        "half of the pixels": whole[:33] + several[0] + whole[-12:],
        "more behind the pixels": whole[:33] + several[0] + several[1] * 2 + whole[-12:],
        "no end": whole[:-12],
        "more behind the end": whole + b"more",
        "a word": whole[:33] + png_chunk(b"tEXt", b"Title\0a") + whole[33:],
        "a word at the end": whole[:-12] + png_chunk(b"tEXt", b"Title\0a") + whole[-12:],
        "a gap": whole[:33] + several[0] + png_chunk(b"tIME", bytes(7)) + several[1] + whole[-12:],
    }
    data = bytearray(draw(st.sampled_from(sorted(forms.items())))[1])
    for _ in range(draw(st.integers(0, 2))):
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


@settings(max_examples=600, deadline=None)
@given(st.composite(damaged)())
def test_the_short_way_to_a_small_png_comes_to_what_pillow_does(data: bytes) -> None:
    short = outcome(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "_plain_png", lambda data: None)
        assert short == outcome(data)


def test_most_small_pngs_go_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    data, pixels = encoded(Image.fromarray(noise(32, 32, 3))), noise(32, 32, 3)
    monkeypatch.setattr(images, "_opened", None)  # Pillow's own way
    assert (decode(data) == pixels).all()
