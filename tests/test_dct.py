"""The DCT against its definition, and tiles against the image they are cut from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import fft

from sanitizer.dct import dct2, dct_matrix
from sanitizer.images import ImageError
from sanitizer.tiles import MAX_SIDE, MIN_SIDE, TILE, tiles


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("size", [8, 32, 33])
def test_dct2_is_the_orthonormal_dct_of_each_channel(size: int) -> None:
    images = noise(4, size, size, 3)
    expected = fft.dctn(images.transpose(0, 3, 1, 2).astype(float), axes=(2, 3), norm="ortho")
    np.testing.assert_allclose(dct2(images), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_matrix_form_is_the_same_transform() -> None:
    images, matrix = noise(4, 32, 32, 3), dct_matrix(32)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(32), atol=1e-12)
    expected = matrix @ images.transpose(0, 3, 1, 2).astype(float) @ matrix.T
    np.testing.assert_allclose(dct2(images), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_a_batch_equals_its_parts_and_keeps_energy_and_input() -> None:
    images = noise(5, 32, 32, 3)
    before = images.copy()
    whole = dct2(images)
    assert whole.dtype == np.float32
    for i in range(5):
        assert (dct2(images[i : i + 1])[0] == whole[i]).all()
    np.testing.assert_allclose((whole**2).sum(), (images.astype(float) ** 2).sum(), rtol=1e-5)
    assert (images == before).all()


@given(st.integers(MIN_SIDE, MAX_SIDE), st.integers(MIN_SIDE, MAX_SIDE))
def test_tiles_cover_every_pixel_of_every_judged_size(height: int, width: int) -> None:
    pixels = noise(height, width, 3)
    found = tiles(pixels)
    assert found.shape[1:] == (TILE, TILE, 3)
    assert 1 <= len(found) <= 25
    if min(height, width) >= TILE:
        # Every tile is a window of the image, and the borders belong to some tile.
        assert (found[0] == pixels[:TILE, :TILE]).all()
        assert (found[-1] == pixels[-TILE:, -TILE:]).all()
        assert len(found) == -(-height // TILE) * -(-width // TILE)


def test_a_tile_sized_image_is_its_one_tile() -> None:
    pixels = noise(TILE, TILE, 3)
    assert (tiles(pixels) == pixels[None]).all()


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((161, 20), "too large to judge"),
        ((500, 375), "too large to judge"),
        ((7, 32), "too small to judge"),
    ],
)
def test_other_sizes_are_not_judged(shape: tuple[int, int], kind: str) -> None:
    with pytest.raises(ImageError) as caught:
        tiles(noise(*shape, 3))
    assert caught.value.kind == kind
