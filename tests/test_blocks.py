"""Square blocks: every pixel of the image, or an even spread over one of any size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import noise

from sanitizer.blocks import blocks


@given(st.integers(32, 170), st.integers(32, 170))
def test_blocks_are_windows_that_cover_every_pixel(height: int, width: int) -> None:
    pixels = np.arange(height * width).reshape(height, width, 1).repeat(3, axis=2)
    cut = blocks(pixels, 32)
    assert len(cut) == -(-height // 32) * -(-width // 32)
    assert (cut[0] == pixels[:32, :32]).all()
    assert (cut[-1] == pixels[-32:, -32:]).all()
    assert len(np.unique(cut)) == height * width


def test_an_image_of_the_size_of_a_block_is_its_one_block() -> None:
    assert (blocks(noise(16, 16, 3), 16) == noise(16, 16, 3)[None]).all()


@pytest.mark.parametrize(
    ("size", "count"),
    [((9, 32), 4), ((1, 1), 1), ((1, 5_000_000), 8), ((3000, 1), 8), ((2000, 3000), 64)],
)
def test_an_image_of_any_size_has_few_blocks(size: tuple[int, int], count: int) -> None:
    cut = blocks(np.zeros((*size, 3), np.uint8), 32, most=8)
    assert cut.shape == (count, 32, 32, 3)


def test_few_blocks_are_spread_from_border_to_border() -> None:
    pixels = noise(40, 400, 3)
    cut = blocks(pixels, 40, most=3)
    for block, left in zip(cut, (0, 180, 360), strict=True):
        assert (block == pixels[:, left : left + 40]).all()
