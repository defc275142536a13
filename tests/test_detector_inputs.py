"""What of an image the detector looks at, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import noise
from PIL import Image

from detector.inputs import Tiles, judgeable
from sanitizer.images import Header, ImageError
from sanitizer.png import encode as png

INPUTS = Tiles()


@given(st.integers(8, 160), st.integers(8, 160))
def test_tiles_cover_every_pixel_of_every_judged_size(height: int, width: int) -> None:
    pixels = noise(height, width, 3)
    tiles = INPUTS.cut(pixels)
    assert tiles.shape[1:] == (32, 32, 3)
    assert tiles.dtype == np.uint8
    if min(height, width) >= 32:
        # Every tile is a window of the image, and the borders belong to some tile.
        assert (tiles[0] == pixels[:32, :32]).all()
        assert (tiles[-1] == pixels[-32:, -32:]).all()
        assert len(tiles) == -(-height // 32) * -(-width // 32)


def test_a_small_image_is_enlarged_in_its_proportions() -> None:
    pixels = noise(16, 40, 3)
    enlarged = np.asarray(Image.fromarray(pixels).resize((80, 32), Image.Resampling.BILINEAR))
    assert (INPUTS.cut(pixels) == Tiles(smallest=32).cut(enlarged)).all()


@pytest.mark.parametrize(
    ("height", "width", "words"),
    [
        (161, 20, "too large to judge: 20x161, this detector judges images of up to 160 px"),
        (7, 32, "too small to judge: 32x7, this detector judges images of at least 8 px"),
    ],
)
def test_other_sizes_are_not_judged(height: int, width: int, words: str) -> None:
    for image in (noise(height, width, 3), png(noise(height, width, 3))):
        prepared = INPUTS.prepare(image)
        assert str(prepared.error).startswith(words)
        assert prepared.parts is None
    with pytest.raises(ImageError, match=words):
        INPUTS.cut(noise(height, width, 3))


def test_an_encoded_image_and_its_pixels_have_the_same_parts() -> None:
    pixels = noise(40, 50, 3)
    encoded = INPUTS.prepare(png(pixels))
    assert encoded.header == Header(50, 40, "PNG")
    assert (encoded.parts == INPUTS.prepare(pixels).parts).all()
    assert INPUTS.prepare(pixels).header is None


def test_the_size_is_checked_before_anything_is_decompressed() -> None:
    broken = png(noise(300, 200, 3))[:200]
    prepared = INPUTS.prepare(broken)
    assert prepared.header == Header(200, 300, "PNG")
    assert prepared.error.kind == "too large to judge"


def test_an_error_keeps_no_pixels_alive() -> None:
    error = INPUTS.prepare(png(noise(64, 64, 3))[:2000]).error
    assert error.kind == "truncated or corrupt"
    assert error.__traceback__ is error.__cause__ is error.__context__ is None


def test_only_what_can_be_judged_is_passed_on() -> None:
    prepared = [INPUTS.prepare(image) for image in (noise(32, 32, 3), None, b"x", noise(64, 32, 3))]
    assert [len(parts) for parts in judgeable(prepared)] == [1, 2]
    assert [image.error is None for image in prepared] == [True, False, False, True]


def test_inputs_survive_json_and_are_checked() -> None:
    assert INPUTS.to_json() == {"side": 32, "smallest": 8, "largest": 160}
    assert Tiles.from_json(INPUTS.to_json()) == INPUTS
    for wrong in ({"side": 33}, {"side": 10**9}, {"smallest": 0}, {"largest": 10**9}):
        with pytest.raises(ValueError, match="Expected `int`"):
            Tiles.from_json(INPUTS.to_json() | wrong)
    with pytest.raises(ValueError, match="smallest <= largest"):
        Tiles.from_json({"smallest": 161})


@pytest.mark.parametrize(
    "data",
    [None, b"", b"no image", png(noise(8, 161, 3)), png(noise(7, 32, 3)), png(noise(32, 32, 3))],
)
def test_a_header_tells_what_the_whole_image_would(data: bytes | None) -> None:
    expected, found = INPUTS.prepare(data).error, INPUTS.refusal(data)
    assert str(found) == str(expected)


def test_damage_behind_the_header_is_not_seen_by_a_look_at_the_header() -> None:
    data = png(noise(32, 32, 3))[:-100]
    assert INPUTS.refusal(data) is None
    assert INPUTS.prepare(data).error is not None
