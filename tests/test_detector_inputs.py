"""What of an image the detector looks at, whatever its size."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pictures import noise
from PIL import Image

from detector.inputs import LEVELS, WINDOW, About, Prepared, Tiles, judgeable
from detector.kinds import ENCODINGS, LOSSLESS, OTHER, PART_RANGES, encoding_of
from detector.training.histories import jpeg, webp
from sanitizer.images import Header, ImageError, Opened
from sanitizer.png import encode as png

INPUTS = Tiles()


def prepared(image: bytes | np.ndarray | ImageError | None) -> Prepared:
    return INPUTS.prepare(Opened.of(image))


SIDES = st.one_of(st.integers(1, 60), st.integers(1, 1200))


@given(SIDES, SIDES)
@example(1, 1)
@example(8, 5000)
@example(5000, 33)
@example(4000, 3000)
def test_every_image_is_seen_in_64_tiles_at_most(height: int, width: int) -> None:
    parts = INPUTS.cut(np.zeros((height, width, 3), np.uint8))
    assert parts.tiles.shape[1:] == (32, 32, 3)
    assert parts.tiles.dtype == np.uint8
    assert 1 <= parts.about.native <= len(parts) <= 64
    assert (len(parts) == 1) == (parts.about.native == 1 == -(-max(height, width) // 32))
    assert sum(low <= len(parts) <= high for low, high in PART_RANGES) == 1


@given(st.integers(32, 224), st.integers(32, 224))
def test_all_of_an_image_of_up_to_224_px_is_seen_at_its_own_resolution(
    height: int, width: int
) -> None:
    pixels = noise(height, width, 3)
    parts = INPUTS.cut(pixels)
    rows, columns = -(-height // 32), -(-width // 32)
    assert parts.about.native == rows * columns
    # Every tile is a window of the image, and the borders belong to some tile.
    native = parts.tiles[: parts.about.native]
    assert (native[0] == pixels[:32, :32]).all()
    assert (native[-1] == pixels[-32:, -32:]).all()


def test_of_a_large_image_corners_edges_and_middle_are_seen_and_the_whole_shrunk() -> None:
    pixels = noise(1000, 1400, 3)
    parts = INPUTS.cut(pixels)
    tiles = {tile.tobytes() for tile in parts.tiles[: parts.about.native]}
    corners = [
        pixels[r, c] for r in (slice(32), slice(-32, None)) for c in (slice(32), slice(-32, None))
    ]
    middle = pixels[484:516, 684:716]
    for place in (*corners, middle):
        assert np.ascontiguousarray(place).tobytes() in tiles
    coarsest = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR))
    assert len(parts) - parts.about.native <= sum(LEVELS)
    # It is shrunk step by step, so it is nearly what one step gives.
    assert np.abs(parts.tiles[-1].astype(int) - coarsest).mean() < 8


def test_a_small_image_is_enlarged_in_its_proportions() -> None:
    pixels = noise(16, 40, 3)
    native = INPUTS.cut(pixels).tiles[:3]
    first = np.asarray(Image.fromarray(pixels[:, :16]).resize((32, 32), Image.Resampling.BILINEAR))
    assert (native[0] == first).all()


def test_an_encoded_image_and_its_pixels_have_the_same_parts() -> None:
    pixels = noise(40, 50, 3)
    encoded = prepared(png(pixels))
    assert encoded.header == Header(50, 40, "PNG")
    assert (encoded.parts.tiles == prepared(pixels).parts.tiles).all()
    assert encoded.parts.about == prepared(pixels).parts.about
    assert prepared(pixels).header is None


def test_an_error_keeps_no_pixels_alive() -> None:
    error = prepared(png(noise(64, 64, 3))[:2000]).error
    assert error.kind == "truncated or corrupt"
    assert error.__traceback__ is error.__cause__ is error.__context__ is None


def test_only_what_can_be_judged_is_passed_on() -> None:
    images = [prepared(image) for image in (noise(32, 32, 3), None, b"x", noise(64, 32, 3))]
    assert [len(parts) for parts in judgeable(images)] == [1, 3]
    assert [image.error is None for image in images] == [True, False, False, True]


def test_inputs_survive_json_and_are_checked() -> None:
    assert INPUTS.to_json() == {"side": 32, "most": 64}
    assert Tiles.from_json(INPUTS.to_json()) == INPUTS
    for wrong in ({"side": 33}, {"side": 10**9}, {"most": 14}, {"most": 10**9}):
        with pytest.raises(ValueError, match="Expected `int`"):
            Tiles.from_json(INPUTS.to_json() | wrong)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        (None, "lossless"),
        (Header(1, 1, "PNG"), "lossless"),
        (Header(1, 1, "GIF"), "lossless"),
        (Header(1, 1, "WEBP"), "otherwise lossy"),
        (Header(1, 1, "JPEG"), "otherwise lossy"),
        (Header(1, 1, "JPEG", 60), "JPEG to quality 60"),
        (Header(1, 1, "JPEG", 61), "JPEG of quality 61-84"),
        (Header(1, 1, "JPEG", 85), "JPEG of quality 85-94"),
        (Header(1, 1, "JPEG", 94), "JPEG of quality 85-94"),
        (Header(1, 1, "JPEG", 100), "JPEG from quality 95"),
    ],
)
def test_a_header_tells_the_encoding(header: Header | None, encoding: str) -> None:
    assert ENCODINGS[encoding_of(header)] == encoding


def test_the_encoding_of_a_file_is_read_from_it() -> None:
    pixels, buffers = noise(40, 40, 3), {}
    for name in ("JPEG", "WEBP", "BMP"):
        buffers[name] = BytesIO()
        Image.fromarray(pixels).save(buffers[name], name, quality=90)
    found = {name: prepared(b.getvalue()).parts.about.encoding for name, b in buffers.items()}
    assert found == {"JPEG": 3, "WEBP": OTHER, "BMP": LOSSLESS}


def stamped(side: int, square: int, colour: tuple[int, int, int], place: tuple[int, int]):
    pixels = noise(side, side, 3)
    top, left = place
    pixels[top : top + square, left : left + square] = colour
    return pixels


@pytest.mark.parametrize("side", [32, 100, 256, 257, 900])
@pytest.mark.parametrize("corner", [(1, 1), (-9, 2), (3, -12), (-9, -9)])
def test_a_flat_square_is_found_near_each_corner(side: int, corner: tuple[int, int]) -> None:
    place = tuple(start % side for start in corner)
    flat = INPUTS.cut(stamped(side, 6, (200, 30, 90), place)).about.flat
    assert flat == pytest.approx(6 * 20, rel=0.1)
    assert INPUTS.cut(noise(side, side, 3)).about.flat == 0


def test_what_is_no_flat_square_that_stands_alone_is_not_found() -> None:
    oblong = noise(40, 40, 3)
    oblong[5:10, 5:14] = 0
    nearly = stamped(40, 6, (9, 9, 9), (4, 4))
    nearly[6, 6, 1] = 10
    grown = stamped(40, 6, (9, 9, 9), (4, 4))
    grown[10, 7] = 9
    drawn = np.full((40, 40, 3), 255, np.uint8)
    drawn[5:11, 5:11] = 0
    for pixels in (oblong, nearly, grown, drawn):
        assert INPUTS.cut(pixels).about.flat == 0


def test_images_prepared_together_are_as_if_each_was_by_itself() -> None:
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(6)]
    pixels[1][5:9, 7:11] = 9
    pixels[2][:4, :4], pixels[2][20:29, 20:29] = 200, 7
    pixels[3][:] = 5
    pixels[4][:, :20] = 8  # drawn
    sets = [png(one) for one in pixels] + [jpeg(pixels[1], 90), b"junk", png(pixels[0][:20])]
    images = [Opened.of(image) for image in [*sets, *pixels, pixels[0].repeat(3, 0)]]
    together = INPUTS.prepare_all(images)
    assert INPUTS.prepare_all([]) == []
    assert sum(one.parts is not None and one.parts.about.flat > 0 for one in together) >= 4
    for image, prepared in zip(images, together, strict=True):
        alone = INPUTS.prepare(image)
        assert (alone.header, alone.error) == (prepared.header, prepared.error)
        assert (alone.parts is None) == (prepared.parts is None)
        if alone.parts is not None and prepared.parts is not None:
            assert alone.parts.about == prepared.parts.about
            assert (alone.parts.tiles == prepared.parts.tiles).all()


def test_lossy_images_have_no_flat_squares() -> None:
    pixels = stamped(40, 6, (0, 0, 0), (4, 4))
    header = Header(40, 40, "JPEG", 100)
    assert INPUTS.cut(pixels, header).about == About(4, encoding_of(header), 0.0)
    for encoded in (jpeg(pixels, 90), webp(pixels, 90)):
        assert INPUTS.cut(encoded).about.flat == 0
    assert WINDOW >= 64
