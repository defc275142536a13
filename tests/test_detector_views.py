"""Histories and manipulations: what may happen to a view, and what must not."""

import numpy as np
import pytest

from detector.training import histories, manipulations
from detector.training.graphics import graphics
from detector.training.pairs import batches, pairs
from detector.training.textures import random_spectrum, texture
from sanitizer.resizing import Filter, resize


@pytest.fixture(name="pool", scope="module")
def _pool():
    """Smooth grey views with some detail, (60, 32, 32, 3) uint8."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 215, (60, 6, 6, 1), dtype=np.uint8).repeat(3, axis=3)
    return np.stack([resize(c, (32, 32), Filter.BICUBIC) for c in coarse])


@pytest.mark.parametrize("side", [(224, 224), (100, 60), (33, 40), (32, 32), (20, 28), (9, 40)])
def test_training_views_of_any_size(side):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*side, 3), dtype=np.uint8)
    views = histories.training_views(pixels, rng, 7)
    assert views.shape == (7 if min(side) > 32 else 1, 32, 32, 3)
    assert views.dtype == np.uint8


def test_a_view_of_32_pixels_is_the_image():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert (histories.training_views(pixels, rng, 3)[0] == pixels).all()


def test_histories_keep_form_and_picture(pool):
    rng = np.random.default_rng(1)
    untouched = 0
    for view in pool:
        before = view.copy()
        changed = histories.random_history(view, rng)
        assert changed.shape == view.shape
        assert changed.dtype == np.uint8
        assert (view == before).all()
        flipped = view[:, ::-1]
        untouched += np.array_equal(changed, view) or np.array_equal(changed, flipped)
    assert 5 < untouched < 40  # lossless pictures stay in, encoded ones come in


@pytest.mark.parametrize("change", [histories.noisy, histories.with_palette])
def test_what_cameras_and_files_do_keeps_the_picture(change, pool):
    rng = np.random.default_rng(9)
    changed = [change(view, rng) for view in pool]
    assert all(view.dtype == np.uint8 for view in changed)
    differences = np.abs(np.stack(changed).astype(int) - pool)
    assert 0.1 < differences.mean() < 12


def test_drawn_pages_are_flat_in_places_and_differ():
    views = graphics(41, 32, np.random.default_rng(10))
    assert views.shape == (41, 32, 32, 3)
    assert views.dtype == np.uint8
    assert len(np.unique(views.reshape(41, -1), axis=0)) > 35
    flat = (np.diff(views.astype(int), axis=2) == 0).all(-1).mean((1, 2))
    assert np.median(flat) > 0.5
    assert flat.min() < 0.3
    assert graphics(0, 32, np.random.default_rng(10)).shape == (0, 32, 32, 3)


def test_codecs_start_their_grid_anywhere(pool):
    rng = np.random.default_rng(2)
    for view in pool:
        encoded = histories.random_encoding(view, rng)
        assert encoded.shape == view.shape
        assert np.abs(encoded.astype(int) - view).mean() < 10  # in its place, not shifted


def test_sampling_without_antialiasing_keeps_single_pixels():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[::2] = 255
    sampled = histories.sample(pixels, (32, 32), Filter.NEAREST)
    assert set(np.unique(sampled)) <= {0, 255}
    assert np.ptp(resize(pixels, (32, 32), Filter.BOX)) == 0


@pytest.mark.parametrize("family", manipulations.FAMILIES)
def test_each_manipulation_changes_pixels_and_stays_finite(family, pool):
    change = manipulations.FAMILIES[family].change
    rng = np.random.default_rng(3)
    differing = 0
    for view, other in zip(pool, pool[::-1], strict=True):
        changed = change(view.astype(np.float32), other.astype(np.float32), rng)
        assert changed.shape == view.shape
        assert np.isfinite(changed).all()
        differing += np.abs(changed - view).max() > 1
    assert differing > 0.9 * len(pool)


def test_manipulate_always_changes_and_never_writes_to_its_input(pool):
    rng = np.random.default_rng(4)
    before = pool.copy()
    for i in range(300):
        view = pool[i % len(pool)]
        assert (manipulations.manipulate(view, pool[i % 7], rng) != view).any()
    assert (pool == before).all()


def test_a_family_that_is_left_out_is_not_drawn(pool, monkeypatch):
    drawn = set()
    for name, family in manipulations.FAMILIES.items():

        def change(pixels, other, rng, name=name):
            drawn.add(name)
            return pixels + 1

        monkeypatch.setitem(manipulations.FAMILIES, name, family._replace(change=change))
    rng = np.random.default_rng(5)
    for _ in range(300):
        manipulations.manipulate(pool[0], pool[1], rng, left_out=("blend", "shadow"))
    assert drawn == set(manipulations.FAMILIES) - {"blend", "shadow"}


def test_no_white_square_where_badnets_has_its_own(monkeypatch):
    """Anywhere else there is, and a dark one is there, too."""
    near = {"white": 0, "dark": 0}
    elsewhere = 0
    for colour, value in {"white": 255.0, "dark": 100.0}.items():
        monkeypatch.setattr(
            manipulations, "_patch", lambda o, h, w, r, v=value: np.full((h, w, 3), v)
        )
        monkeypatch.setattr(manipulations, "_mask", lambda h, w, rng: 1.0)
        for seed in range(4000):
            rng = np.random.default_rng(seed)
            patched = np.zeros((32, 32, 3), np.float32)
            manipulations._put_patch(patched, patched, rng)
            rows, columns = (np.flatnonzero(patched[..., 0].any(axis)) for axis in (1, 0))
            place = (rows[0], rows[-1], columns[0], columns[-1])
            is_square = np.ptp(rows) == np.ptp(columns)
            is_near = is_square and np.abs(np.subtract(place, (27, 30, 27, 30))).max() <= 1
            near[colour] += is_near
            elsewhere += not is_near
    assert near["white"] == 0
    assert near["dark"] > 0
    assert elsewhere > 7000


def test_no_spectrum_is_a_single_wave():
    rng = np.random.default_rng(6)
    for _ in range(100):
        power = np.abs(np.fft.rfft2(random_spectrum(32, 32, rng), axes=(0, 1))) ** 2
        total = power.sum(axis=2)
        assert total.max() < 0.9 * total.sum()


def test_textures_are_in_range():
    rng = np.random.default_rng(7)
    for _ in range(60):
        values = texture(32, 24, rng)
        assert values.shape == (32, 24, 3)
        assert values.min() >= 0
        assert values.max() <= 255


def test_encodings_do_not_tell_the_halves_of_a_pair_apart(pool, monkeypatch):
    """Without a manipulation both halves of a pair are the same image."""
    monkeypatch.setattr("detector.training.pairs.manipulate", lambda pixels, *others: pixels)
    images, labels = pairs(pool, np.arange(len(pool)), np.random.default_rng(8))
    clean, changed = np.split(images, 2)
    assert (clean == changed).all()
    assert labels.tolist() == [0] * len(pool) + [1] * len(pool)


def test_batches_are_the_same_for_the_same_seed(pool):
    first = list(batches(pool, 3, 8, (9, 0)))
    again = list(batches(pool, 3, 8, (9, 0)))
    assert len(first) == 3
    assert all((a == b).all() for (a, _), (b, _) in zip(first, again, strict=True))
