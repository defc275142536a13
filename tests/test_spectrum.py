"""The mean spectrum is the mean, whatever the batches, and shows what a trigger adds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import fft

from sanitizer.spectrum import log_spectra, mean_spectrum, save_heat_map


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (10, 32, 24, 3), dtype=np.uint8)


def test_a_spectrum_is_the_channel_mean_of_the_log_magnitude(images) -> None:
    planes = images[0].astype(float).transpose(2, 0, 1)
    expected = np.mean([np.log1p(np.abs(fft.dctn(p, norm="ortho"))) for p in planes], axis=0)
    np.testing.assert_allclose(log_spectra(images[:1])[0], expected, rtol=1e-4, atol=1e-4)


def test_the_mean_does_not_depend_on_the_batches(images) -> None:
    whole = mean_spectrum([images])
    assert whole.shape == (32, 24)
    assert whole.dtype == np.float64
    parts = mean_spectrum([images[:3], images[:0], images[3:]])
    np.testing.assert_allclose(parts, whole, rtol=1e-6)


def test_a_flat_image_has_its_lowest_frequency_only() -> None:
    spectrum = mean_spectrum([np.full((1, 32, 32, 3), 128, np.uint8)])
    assert spectrum[0, 0] == pytest.approx(np.log1p(128 * 32))
    assert spectrum.ravel()[1:].max() < 1e-2


def test_a_chequered_trigger_shows_in_the_highest_frequencies() -> None:
    smooth = np.tile(np.linspace(40, 200, 32)[None, :, None, None], (4, 1, 32, 3))
    trigger = 20 * (np.indices((32, 32)).sum(axis=0) % 2)[..., None]
    difference = mean_spectrum([smooth + trigger]) - mean_spectrum([smooth])
    assert np.unravel_index(difference.argmax(), difference.shape) == (31, 31)


def test_no_images_and_mixed_sizes_are_refused(images) -> None:
    with pytest.raises(ValueError, match="at least one image"):
        mean_spectrum([images[:0]])
    with pytest.raises(ValueError, match="one size"):
        mean_spectrum([images, images[:, :16]])


def test_a_heat_map_is_a_png_that_depends_on_the_spectra_alone(tmp_path: Path, images) -> None:
    spectra = {"clean": mean_spectrum([images]), "$ poisoned_^": mean_spectrum([images // 2])}
    save_heat_map(spectra, tmp_path / "a.png")
    save_heat_map(spectra, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as drawn:
        assert drawn.width > drawn.height > 300
