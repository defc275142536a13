"""The mean spectrum takes images of any size, and shows what a trigger adds."""

import io
import tracemalloc
import warnings

import matplotlib
import numpy as np
import pytest
from PIL import Image
from scipy import fft

from pipelines.report.plots import spectra_png
from sanitizer.blocks import blocks
from sanitizer.spectrum import BLOCK, MAX_BLOCKS, MeanSpectrum, block_spectrum, log_spectra


def random_pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_spectrum_is_the_channel_mean_of_the_log_magnitude() -> None:
    image = random_pixels(32, 24)
    planes = image.astype(float).transpose(2, 0, 1)
    expected = np.mean([np.log1p(np.abs(fft.dctn(p, norm="ortho"))) for p in planes], axis=0)
    np.testing.assert_allclose(log_spectra(image[None])[0], expected, rtol=1e-4, atol=1e-4)


def test_an_image_of_one_block_has_the_spectrum_of_that_block() -> None:
    image = random_pixels(BLOCK, BLOCK)
    np.testing.assert_allclose(block_spectrum(image), log_spectra(image[None])[0])


def test_the_mean_weighs_images_alike_however_many_blocks_they_have() -> None:
    small, large = random_pixels(32, 32, 0), random_pixels(70, 100, 1)
    mean = MeanSpectrum.of(iter([small, large]))
    assert mean.images == 2
    assert mean.values.shape == (BLOCK, BLOCK)
    assert mean.values.dtype == np.float64
    expected = (block_spectrum(small) + log_spectra(blocks(large, BLOCK)).mean(axis=0)) / 2
    np.testing.assert_allclose(mean.values, expected, rtol=1e-6)


def test_the_mean_of_no_images_says_so() -> None:
    mean = MeanSpectrum.of([])
    assert mean.images == 0
    assert not mean.values.any()


@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (1, 3000), (3000, 1), (31, 33), (161, 40), (600, 900)]
)
def test_images_of_any_size_have_a_spectrum(size: tuple[int, int]) -> None:
    spectrum = block_spectrum(random_pixels(*size))
    assert spectrum.shape == (BLOCK, BLOCK)
    assert np.isfinite(spectrum).all()
    assert spectrum[0, 0] > 3


def test_of_a_large_image_a_limited_number_of_blocks_is_looked_at(monkeypatch) -> None:
    sizes = []

    def counting(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return log_spectra(images)

    monkeypatch.setattr("sanitizer.spectrum.log_spectra", counting)
    block_spectrum(random_pixels(600, 900))
    block_spectrum(random_pixels(40, 900))
    assert sizes == [MAX_BLOCKS**2, 2 * MAX_BLOCKS]


def test_a_long_thin_strip_is_not_enlarged_as_a_whole() -> None:
    strip = np.full((1, 1_000_000, 3), 128, np.uint8)  # 3 GB if it were
    tracemalloc.start()
    spectrum = block_spectrum(strip)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spectrum[0, 0] == pytest.approx(np.log1p(128 * BLOCK))
    assert peak < 50_000_000


def test_a_flat_image_has_its_lowest_frequency_only() -> None:
    spectrum = MeanSpectrum.of([np.full((40, 50, 3), 128, np.uint8)]).values
    assert spectrum[0, 0] == pytest.approx(np.log1p(128 * 32))
    assert spectrum.ravel()[1:].max() < 1e-2


def test_a_chequered_trigger_shows_in_the_highest_frequencies() -> None:
    smooth = np.broadcast_to(np.linspace(40, 200, 64)[None, :, None], (48, 64, 3))
    trigger = 20 * (np.indices((48, 64)).sum(axis=0) % 2)[..., None]
    with_trigger, without = (
        MeanSpectrum.of([pixels.astype(np.uint8)]).values for pixels in (smooth + trigger, smooth)
    )
    difference = with_trigger - without
    assert np.unravel_index(difference.argmax(), difference.shape) == (31, 31)


def test_a_heat_map_is_a_png_that_depends_on_the_spectra_alone() -> None:
    image = random_pixels(32, 32)
    spectra = {"clean": block_spectrum(image), "$ poisoned_^": block_spectrum(image // 2)}
    drawn = spectra_png(spectra)
    assert drawn == spectra_png(spectra)
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30}):  # as of a matplotlibrc
        assert drawn == spectra_png(spectra)
    with Image.open(io.BytesIO(drawn)) as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height > 300


def test_a_title_may_hold_letters_that_no_font_has() -> None:
    spectra = {"cats \x1b[31m 猫": block_spectrum(random_pixels(BLOCK, BLOCK))}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert spectra_png(spectra).startswith(b"\x89PNG")
