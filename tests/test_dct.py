"""The DCT against its definition."""

import numpy as np
import pytest
from pictures import noise
from scipy import fft

from sanitizer.dct import dct2, dct_matrix


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
