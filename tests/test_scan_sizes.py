"""The scan of images of any size: what is kept of them, and what is seen in it."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from pictures import noise

import attacks
from sanitizer.resizing import Filter, resize
from sanitizer.scan import native
from sanitizer.scan.canonical import NBYTES, Compact
from sanitizer.scan.classes import Searched
from sanitizer.scan.pictures import different_pictures, thumbnails
from sanitizer.scan.population import Population
from sanitizer.scan.signature import Signature
from sanitizer.scan.standard import NATIVE_VIEWS, VIEWS
from sanitizer.scan.views import Batch

MIB = 1 << 20


def photographs(n: int, side: int, seed: int) -> list[np.ndarray]:
    """(side, side, 3) uint8, as different from each other as photographs are, with some grain."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (n, 5, 5, 3), np.uint8)
    grain = rng.integers(0, 3, (n, side, side, 3), np.uint8)
    return [
        resize(one, (side, side), Filter.BICUBIC) // 2 + 60 + own
        for one, own in zip(coarse, grain, strict=True)
    ]


def kept(images: list[np.ndarray]) -> Compact:
    return Compact.joined([Compact.of(image) for image in images])


@pytest.mark.parametrize(
    "shape",
    [
        *((1, 1), (5, 9), (32, 32), (31, 200), (32, 33), (33, 32), (39, 40), (224, 224)),
        *((500, 333), (1, 9000), (9000, 3), (32, 20_000), (1500, 2000)),
    ],
)
def test_an_image_of_any_shape_is_kept_in_at_most_4_kb(shape: tuple[int, int]) -> None:
    image = noise(*shape, 3)
    pixels, summary = Compact.of(image).to_bytes()
    assert len(pixels) == NBYTES
    assert len(pixels) + native.NBYTES <= 4096
    is_summed = min(shape) >= 32 and max(shape) > 32
    assert (None if summary is None else len(summary)) == (native.NBYTES if is_summed else None)
    again = Compact.of_bytes(pixels, [summary])
    assert again.to_bytes() == (pixels, summary)


def test_the_sums_of_a_copy_are_those_of_an_image_of_its_size() -> None:
    images = noise(3, 32, 32, 3)
    summed = Compact(images).summed()
    assert summed.native is not None
    assert summed.native.tolist() == [native.summary(image).tolist() for image in images]
    assert summed.summed() is summed


def test_small_images_are_seen_beside_large_ones() -> None:
    small, large = noise(20, 20, 3), noise(60, 70, 3)
    parts = [Compact.of(small), Compact.of(large)]
    images = Compact.joined(parts)
    columns = zip(*(part.to_bytes() for part in parts), strict=True)
    pixels, summaries = map(list, columns)
    read = Compact.of_bytes(b"".join(pixels), summaries)
    for one in (images, read):
        assert one.native is not None
        assert one.native[0].tolist() == native.summary(parts[0].pixels[0]).tolist()
        assert one.native[1].tolist() == native.summary(large).tolist()


def test_a_large_photograph_is_summed_in_little_memory() -> None:
    image = np.zeros((3000, 4000, 3), np.uint8)
    native.summary(image[:64, :64])
    tracemalloc.start()
    try:
        native.summary(image)
        assert tracemalloc.get_traced_memory()[1] < image.nbytes / 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("side", [33, 39, 90, 224, 500, 512, 1000])
def test_every_border_is_in_a_window(side: int) -> None:
    image = np.full((side, side, 3), 100, np.uint8)
    flat = native.energies(
        Batch.of(np.zeros((1, 32, 32, 3), np.uint8), native.summary(image)[None])
    )
    for rows, columns in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        marked = image.copy()
        marked[rows, columns] = 255
        summary = native.summary(marked)[None]
        seen = native.energies(Batch.of(np.zeros((1, 32, 32, 3), np.uint8), summary))
        assert (seen != flat).any()


def test_a_grey_image_has_no_pattern_in_its_colours() -> None:
    grey = np.repeat(noise(64, 64, 1), 3, axis=2)
    ((_, batch),) = Compact.of(grey).batches()
    pattern = native.pattern(batch).reshape(3, 64)
    assert np.abs(pattern[0]).max() > 0.1
    assert not pattern[1:].any()


def test_native_values_tell_a_gap_between_them() -> None:
    image = noise(100, 90, 3) // 8 * 8
    ((_, batch),) = Compact.of(image).batches()
    values = native.values(batch)[0]
    assert set(np.flatnonzero(values[:256])) == set(range(0, 256, 8))
    assert values[256] == 31


def test_a_set_of_small_images_has_no_native_views() -> None:
    images, labels = Compact(noise(80, 32, 32, 3)), np.arange(80) % 2
    rng = np.random.default_rng(0)
    assert [scale.view for scale in Population.of(images, labels, rng).scales] == list(VIEWS)
    summed = Population.of(images.summed(), labels, rng)
    assert [scale.view for scale in summed.scales] == [*VIEWS, *NATIVE_VIEWS]


def striped(image: np.ndarray) -> np.ndarray:
    """A pattern of two pixels, of which an area mean has nothing left."""
    up = np.indices(image.shape[:2]).sum(0)[..., None] % 2 == 0
    return np.where(up, image + 1, image - 1)


def warped(image: np.ndarray) -> np.ndarray:
    return attacks.get("wanet")(image[None])[0]


@pytest.mark.parametrize("trigger", [striped, warped])
def test_a_trigger_that_no_area_mean_shows_is_found(
    trigger: Callable[[np.ndarray], np.ndarray],
) -> None:
    images, labels = photographs(400, 96, 0), np.arange(400) % 2
    truth = np.zeros(400, bool)
    truth[:100:2] = True
    seen = kept([trigger(one) if has else one for one, has in zip(images, truth, strict=True)])
    population = Population.of(seen, labels, np.random.default_rng(0))
    of_class = seen[labels == 0]
    chosen = different_pictures(thumbnails(of_class.pixels))
    beside = population.beside(0, of_class[chosen], np.random.default_rng(0))
    found = max(Searched.of(beside).groups(), key=lambda group: group.strength)
    assert found.members.tolist() == truth[labels == 0][chosen].tolist()
    signature = Signature.of(found.trigger, beside.views, population.scales)
    again = Signature.of_tensors(signature.tensors())
    assert (again.log_odds(of_class) > 0).tolist() == truth[labels == 0].tolist()
    with pytest.raises(ValueError, match="'edges' has shape"):
        Signature.of_tensors(signature.tensors() | {"edges": signature.tensors()["edges"][:, :5]})
    # What is smaller than its copy can be judged all the same.
    small = kept([resize(one, (24, 24), Filter.BOX) for one in photographs(40, 96, 1)])
    assert np.isfinite(again.log_odds(small)).all()
