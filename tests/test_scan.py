"""The mathematics of the set-level scan, part by part, on vectors and small images."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from samples import with_one_trigger

from sanitizer.images import decode
from sanitizer.resizing import Filter, resize
from sanitizer.scan.canonical import Compact
from sanitizer.scan.classes import Searched, are_new
from sanitizer.scan.contents import Contents, squared_distance, usual_distance
from sanitizer.scan.evidence import Evidence
from sanitizer.scan.extremes import ExtremeTable, extreme_cells
from sanitizer.scan.joining import ClassImages, ClassView, join
from sanitizer.scan.kept import Kept
from sanitizer.scan.matched import Filtered, Suspects, matched_filters
from sanitizer.scan.mixture import Mixture, sigmoid
from sanitizer.scan.moments import LEAST_RIDGE, Moments, Whitening
from sanitizer.scan.pictures import different_pictures, thumbnails, ways_against
from sanitizer.scan.population import Population
from sanitizer.scan.portrait import Likeness, Portrait
from sanitizer.scan.robust import LEAST_DEVIATION, MAD_OF_NORMAL, deviation, middle
from sanitizer.scan.scan import search
from sanitizer.scan.signature import Signature
from sanitizer.scan.stacked import Stacked
from sanitizer.scan.standard import NATIVE_VIEWS, VIEWS, Scale, View


def vectors(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + rng.standard_normal(d)
    return mixed.astype(np.float32)


def noise_images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), np.uint8)


@given(st.permutations(range(6)), st.lists(st.integers(1, 299), max_size=5))
def test_moments_of_parts_are_those_of_the_whole_in_any_order(
    order: list[int], cuts: list[int]
) -> None:
    whole = vectors(300, 7)
    parts = np.split(whole, sorted(set(cuts)))
    merged = Moments.of(np.empty((0, 7), np.float32))
    for i in order:
        if i < len(parts):
            merged = merged + Moments.of(parts[i])
    for part in parts[6:]:
        merged = merged + Moments.of(part)
    expected = whole.astype(np.float64)
    assert merged.count == 300
    np.testing.assert_allclose(merged.mean, expected.mean(0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        merged.covariance, np.cov(expected.T, bias=True), rtol=1e-4, atol=1e-4
    )


def test_moments_of_a_class_come_off_those_of_the_set() -> None:
    whole = vectors(400, 5)
    left = Moments.of(whole) - Moments.of(whole[:150])
    assert left.count == 250
    np.testing.assert_allclose(left.covariance, Moments.of(whole[150:]).covariance, rtol=1e-4)


def test_whitened_vectors_are_white_but_for_the_ridge() -> None:
    moments = Moments.of(vectors(5000, 20))
    matrix = Whitening.by(moments).matrix
    ridge = LEAST_RIDGE * np.trace(moments.covariance) / 20 * np.eye(20)
    white = matrix.T @ (moments.covariance + ridge) @ matrix
    np.testing.assert_allclose(white, np.eye(20), atol=1e-3)


@pytest.mark.parametrize("view", VIEWS + NATIVE_VIEWS, ids=lambda view: view.name)
def test_what_a_view_says_of_an_image_does_not_depend_on_the_others(view: View) -> None:
    images = Compact(noise_images(9)).summed()
    (_, batch), (_, one) = *images.batches(), *images[4:5].batches()
    scale = Scale.of(view, view.raw(batch))
    together, alone = scale(batch), scale(one)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    np.testing.assert_allclose(together[4], alone[0], atol=1e-4)


def test_a_mixture_finds_the_few() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 950), rng.normal(5, 0.7, 50)])
    truth = np.arange(1000) >= 950
    mixture = Mixture.fit(values, (values > 3).astype(float), steps=20)
    assert mixture is not None
    assert mixture.share == pytest.approx(0.05, abs=0.01)
    assert mixture.separation == pytest.approx(5.8, abs=0.5)
    assert np.mean((mixture.log_odds(values) > 0) == truth) > 0.99


@given(st.floats(0.01, 0.5), st.floats(0.5, 2.0), st.floats(1.0, 9.0))
def test_nothing_is_the_less_suspect_for_being_more_extreme(
    share: float, few_sd: float, few: float
) -> None:
    mixture = Mixture(share, 0.0, 1.0, few, few_sd)
    beyond = mixture.log_odds(np.linspace(few, few + 50, 20))
    assert (np.diff(beyond) >= 0).all()
    below = mixture.log_odds(np.linspace(-50, 0, 20))
    assert (np.diff(below) >= 0).all()


def test_a_mixture_of_one_is_none() -> None:
    values = np.random.default_rng(0).normal(size=100)
    assert Mixture.fit(values, np.zeros(100), steps=3) is None


def test_the_table_of_extremes_leaves_an_image_out_of_its_own_odds() -> None:
    rng = np.random.default_rng(0)
    cells, rest = rng.integers(0, 36, 60), rng.integers(0, 36, 80)
    suspects = rng.random(60)
    table = ExtremeTable.of(cells, rest, suspects)
    others = np.arange(60) != 7
    without = ExtremeTable(
        np.bincount(cells[others], suspects[others], 36),
        np.bincount(cells[others], 1 - suspects[others], 36),
        table.base,
    )
    assert table.within(cells, suspects)[7] == pytest.approx(without.outside(cells)[7])


def test_the_table_of_extremes_says_nothing_by_what_other_classes_have_as_often() -> None:
    cells, suspects = np.repeat([3, 0], 100), np.repeat([1.0, 0.0], 100)
    natural = ExtremeTable.of(cells, np.repeat([3, 0], [95, 5]), suspects)
    assert abs(natural.outside(np.array([3]))[0]) < 0.3
    own = ExtremeTable.of(cells, np.repeat([3, 0], [5, 95]), suspects)
    assert own.outside(np.array([3]))[0] > 2


def test_extreme_cells_count_black_and_white() -> None:
    images = np.full((3, 32, 32, 3), 100, np.uint8)
    images[1].flat[:3] = 0
    images[2].flat[:100] = 255
    assert extreme_cells(images).tolist() == [0, 2 * 6, 5]


def test_the_matched_filter_scores_an_image_by_the_others() -> None:
    rng = np.random.default_rng(0)
    inside = rng.standard_normal((120, 40), np.float32)
    rest = rng.standard_normal((50, 40), np.float32)
    noise = rng.standard_normal((5000, 40), np.float32)
    view = ClassView.of(inside, rest, Whitening.by(Moments.of(noise)), rng)
    suspects = rng.random((3, 120)).astype(np.float32)

    def seen_along(members: np.ndarray) -> Filtered:
        known = Suspects.of(members)
        return matched_filters(view.vectors, view.projected, view.squares, known, view.subspace)

    together = seen_along(suspects)
    for k in range(3):
        one = suspects[k]
        # In whitened noise of 40 dimensions any group would be told apart by its own mean.
        own = one @ view.inside / one.sum() - (1 - one) @ view.inside / (1 - one).sum()
        assert np.corrcoef(view.inside @ own, one)[0, 1] > 0.3
        assert abs(np.corrcoef(together.scores[k], one)[0, 1]) < 0.3
        alone = seen_along(suspects[k : k + 1])
        np.testing.assert_allclose(together.scores[k], alone.scores[0], atol=1e-4)
        np.testing.assert_allclose(together.directions[k], alone.directions[0], atol=1e-5)


def test_vectors_one_behind_the_other_are_those_of_one_array() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((n, 7), np.float32) + 2 for n in (30, 41)]
    together = np.concatenate(parts) - np.concatenate(parts).mean(0)
    stacked = Stacked.about_mean([parts[0], np.repeat(parts[1], 2, 0)[::2]])
    weights, directions = rng.random((3, 71), np.float32), rng.random((4, 7), np.float32)
    chosen = rng.random(71) < 0.3
    assert len(stacked) == 71
    for one, other in (
        (stacked.array(), together),
        (stacked[chosen], together[chosen]),
        (stacked.weighted(weights), weights @ together),
        (stacked.along(directions), directions @ together.T),
        (stacked.squares(), (together**2).sum(1)),
    ):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_rows_that_are_kept_are_found_again() -> None:
    rng = np.random.default_rng(0)
    views = [rng.random((2500, d)).astype(np.float16) for d in (3, 5)]
    kept = Kept([3, 5])
    for start in range(0, 2500, 700):
        kept.add([view[start : start + 700] for view in views])
    rows = np.sort(rng.permutation(2500)[:1500])
    read = zip(*kept.read(rows), strict=True)
    for parts, view in zip(read, views, strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), view[rows])


def shown_by(view: ClassView) -> Contents:
    """What images show, where that is what a view sees of them."""
    return Contents(view.inside, view.rest, np.ones(len(view.rest), bool), usual_distance=1.0)


def test_no_view_alone_brings_an_image_into_a_group() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4000, 12), np.float32)
    inside, rest = (rng.standard_normal((2, n, 12), np.float32) for n in (1000, 1500))
    carries = np.arange(1000) < 100
    inside[0][carries, :2] += 4
    # Half of those who carry the trigger are rare in another view, as are some innocent images.
    rare = np.arange(1000) % 40 == 39
    rare[:100:2] = True
    inside[1][rare, 0] += 12
    rest[1][::60, 0] += 12
    whitening = Whitening.by(Moments.of(noise))
    views = [
        ClassView.of(one, whitening(other), whitening, rng)
        for one, other in zip(inside, rest, strict=True)
    ]
    cells = np.zeros(1000, int), np.zeros(1500, int)
    thumbs = rng.random((1000, 64)), rng.random((1500, 64))
    images = ClassImages(
        VIEWS[:2], views, *cells, *thumbs, np.zeros(len(cells[1])), shown_by(views[0])
    )
    (group,) = join(images, rare[:, None].astype(float))
    assert group.members[carries & rare].all()
    assert group.members[~carries].mean() < rare[~carries].mean() / 2


def test_a_small_group_of_its_own_is_found_among_large_ones_that_others_have_too() -> None:
    rng = np.random.default_rng(0)
    inside, rest, noise = (rng.standard_normal((n, 40), np.float32) for n in (1500, 2000, 4000))
    for axis in range(12):
        inside[rng.random(1500) < 0.1, axis] += 4
        rest[rng.random(2000) < 0.02, axis] += 4
    carries = np.arange(1500) < 45
    inside[carries, 12:] += 1
    whitening = Whitening.by(Moments.of(noise))
    view = ClassView.of(inside, whitening(rest), whitening, rng)
    cells = np.zeros(1500, int), np.zeros(2000, int)
    thumbs = rng.random((1500, 64)), rng.random((2000, 64))
    images = ClassImages(
        VIEWS[:1], [view], *cells, *thumbs, np.zeros(len(cells[1])), shown_by(view)
    )
    strongest = Searched.of(images).groups()[0].members
    assert strongest[carries].mean() > 0.9
    assert strongest[~carries].mean() < 0.01


def beside_noise(
    inside: list[np.ndarray], cells: np.ndarray, rng: np.random.Generator
) -> ClassImages:
    """A class in some views, beside 2,000 images of other classes that are noise in all of them."""
    views = []
    for one in inside:
        rest, noise = (rng.standard_normal((n, one.shape[1]), np.float32) for n in (2000, 8000))
        whitening = Whitening.by(Moments.of(noise))
        views.append(ClassView.of(one, whitening(rest), whitening, rng))
    thumbs = rng.random((len(cells), 64)), rng.random((2000, 64))
    rest_cells = rng.permutation(2000) % 2 * 35
    contents = shown_by(views[0])
    return ClassImages(
        VIEWS[: len(views)], views, cells, rest_cells, *thumbs, np.zeros(2000), contents
    )


def test_a_trigger_of_which_each_view_sees_a_little_is_found_in_all_together() -> None:
    rng = np.random.default_rng(0)
    carries = np.arange(1500) < 500
    inside = [rng.standard_normal((1500, 40), np.float32) for _ in range(6)]
    for view in inside:
        view[carries, 0] += 1.8
        view[:, 1:21] += 2 * (rng.random((1500, 20)) < 0.5)  # what the class has by nature
    images = beside_noise(inside, np.zeros(1500, int), rng)
    found = [group.members for group in Searched.of(images).groups()]
    assert max(np.mean(members == carries) for members in found) > 0.95


def test_extremes_tell_a_trigger_of_which_the_views_see_little() -> None:
    rng = np.random.default_rng(0)
    carries = np.arange(1500) < 150
    inside = [rng.standard_normal((1500, 40), np.float32) for _ in range(2)]
    for view in inside:
        view[carries, :2] += 1.2
    cells = np.where(carries, rng.integers(7, 11, 1500), rng.integers(0, 2, 1500) * 35)
    images = beside_noise(inside, cells, rng)
    strongest = Searched.of(images).groups()[0]
    assert np.mean(strongest.members == carries) > 0.99
    assert strongest.strength > np.hypot(strongest.trigger.mixture.separation, 2)


def of_random_images(rng: np.random.Generator, images: int) -> Contents:
    """A class of random images of a small set, as the set shows it."""
    labels = rng.integers(8, size=images)
    population = Population.of(Compact(noise_images(images, 1)), labels, rng)
    own = Compact(noise_images(400, 2))
    return population.beside(0, own, rng).contents


def test_random_images_vary_in_all_ways_however_small_the_set_is() -> None:
    rng = np.random.default_rng(0)
    for images in (800, 3000):
        contents = of_random_images(rng, images)
        assert 0.95 < ways_against(contents.own, contents.fresh_others) < 1.06


def test_the_usual_distance_is_that_of_the_median_class() -> None:
    rng = np.random.default_rng(0)
    shown = rng.standard_normal((4000, 20), np.float32)
    labels = np.arange(4000) % 5
    shown[labels == 1] += 1
    shown[labels == 2] -= 1
    distances = [squared_distance(shown[labels == label], shown) for label in range(5)]
    assert usual_distance(shown, labels) == np.median(distances) < 0.1
    assert min(distances[1:3]) > 15
    assert usual_distance(shown[:20], labels[:20]) < 0.1  # no class is large enough


def test_of_a_trigger_and_a_part_of_its_images_the_whole_is_reported() -> None:
    rng = np.random.default_rng(0)
    carries = np.arange(1000) < 300
    inside = rng.standard_normal((1000, 40), np.float32)
    inside[carries, :8] += 2
    images = beside_noise([inside], np.zeros(1000, int), rng)
    (whole,) = join(images, carries[:, None].astype(float))
    part = replace(whole, log_odds=np.where(np.arange(1000) < 200, whole.log_odds, -5.0))
    other = replace(whole, log_odds=-whole.log_odds)
    assert are_new([part, whole, other]) == [False, True, True]


def test_one_of_each_picture_is_kept() -> None:
    images = noise_images(40)
    thumbs = thumbnails(np.concatenate([images, images[:15] ^ 1]))
    assert different_pictures(thumbs).tolist() == list(range(40))


def test_pictures_that_are_all_of_one_shade_are_one_picture() -> None:
    assert len(different_pictures(np.full((60, 64), 255, np.float32))) == 1


@pytest.fixture(scope="module")
def sample() -> tuple[Compact, np.ndarray, np.ndarray]:
    """The sample with one trigger: images, labels, and which images carry it."""
    table = with_one_trigger()
    pixels = np.stack([decode(image["bytes"]) for image in table["image"].to_pylist()])
    return Compact(pixels), table["label"].to_numpy(), table["is_poisoned"].to_numpy()


def test_the_shared_trigger_of_a_class_is_found(
    sample: tuple[Compact, np.ndarray, np.ndarray],
) -> None:
    images, labels, poisoned = sample
    rng = np.random.default_rng(0)
    population = Population.of(images, labels, rng)
    target = labels[poisoned][0]
    of_class = images[labels == target]
    truth = poisoned[labels == target]
    kept = different_pictures(thumbnails(of_class.pixels))
    beside = population.beside(target, of_class[kept], rng)
    found = max(Searched.of(beside).groups(), key=lambda group: group.strength)
    evidence = Evidence.of(found, beside)
    assert found.members.tolist() == truth[kept].tolist()
    assert evidence.strength > 6
    assert evidence.share_of_rest == 0
    assert evidence.foreign > 0.5
    signature = Signature.of(found.trigger, beside.views, population.scales)
    np.testing.assert_array_equal(signature.log_odds(of_class) > 0, truth)
    others = images[labels != target]
    assert (signature.log_odds(others) < 0).all()


def test_a_class_without_a_trigger_has_no_such_group(
    sample: tuple[Compact, np.ndarray, np.ndarray],
) -> None:
    images, labels, poisoned = sample
    images, labels = images[~poisoned], labels[~poisoned]
    rng = np.random.default_rng(0)
    population = Population.of(images, labels, rng)
    names, counts = np.unique(labels, return_counts=True)
    label = names[np.argmax(counts)]
    of_class = images[labels == label]
    beside = population.beside(
        label, of_class[different_pictures(thumbnails(of_class.pixels))], rng
    )
    for group in Searched.of(beside).groups():
        evidence = Evidence.of(group, beside)
        assert evidence.strength < 6 or evidence.foreign < 0.5


def test_some_of_a_class_are_seen_as_if_they_were_all_of_it(
    sample: tuple[Compact, np.ndarray, np.ndarray],
) -> None:
    images, labels, poisoned = sample
    target = labels[poisoned][0]
    population = Population.of(images, labels, np.random.default_rng(0))
    innocent = ~poisoned[labels == target]
    of_class = images[labels == target]
    some = population.beside(target, of_class, np.random.default_rng(1))
    some = some.only(innocent, np.random.default_rng(2))
    alone = population.beside(target, of_class[innocent], np.random.default_rng(2))
    np.testing.assert_array_equal(some.cells, alone.cells)
    np.testing.assert_array_equal(some.thumbnails, alone.thumbnails)
    for one, other in zip(some.views, alone.views, strict=True):
        for name in ("mean", "inside", "rest", "squares"):
            np.testing.assert_allclose(
                getattr(one, name), getattr(other, name), rtol=1e-3, atol=2e-3
            )
        np.testing.assert_allclose(one.subspace.variances, other.subspace.variances, rtol=1e-2)


@given(arrays(np.float32, (7, 12), elements=st.floats(-1e3, 1e3, width=32)))
def test_middle_and_deviation_are_those_of_numpy_for_odd_counts(values: np.ndarray) -> None:
    centre = middle(values, 0)
    np.testing.assert_array_equal(centre, np.median(values, 0, keepdims=True))
    expected = MAD_OF_NORMAL * np.median(np.abs(values - centre), 0, keepdims=True)
    np.testing.assert_allclose(
        deviation(values, centre, 0), expected, rtol=1e-6, atol=LEAST_DEVIATION
    )


def test_the_sigmoid_does_not_overflow() -> None:
    assert sigmoid(np.array([-1e9, 0.0, 1e9])).tolist() == pytest.approx([0, 0.5, 1])


def smooth_images(n: int, seed: int) -> np.ndarray:
    """(n, 32, 32, 3) uint8, as different from each other as photographs are."""
    coarse = np.random.default_rng(seed).integers(40, 216, (n, 4, 4, 3), np.uint8)
    return np.stack([resize(one, (32, 32), Filter.BICUBIC) for one in coarse])


def portrait(carriers: np.ndarray, expected: np.ndarray | None = None) -> Portrait:
    others = smooth_images(300, 1)
    beside = others, others if expected is None else expected
    return Portrait.of(*(Likeness.of(Compact(some)) for some in (carriers, *beside)))


def test_likenesses_of_parts_are_those_of_the_whole() -> None:
    images = smooth_images(250, 0)
    whole = Likeness.of(Compact(images))
    parts = Likeness.none()
    for some in (images[200:], images[:7], images[7:200]):
        parts += Likeness.of(Compact(some))
    for name, value in vars(whole).items():
        np.testing.assert_allclose(vars(parts)[name], value, rtol=1e-6, err_msg=name)
    beside = Likeness.of(Compact(smooth_images(100, 1)))
    one, other = (Portrait.of(sums, beside, beside).tensors() for sums in (whole, parts))
    for name, tensor in one.items():
        np.testing.assert_array_equal(tensor, other[name], name)
    np.testing.assert_allclose(whole.mean.pixels, images.mean(0), atol=1e-3)
    np.testing.assert_allclose(
        whole.mean.spread, np.sqrt(images.astype(float).var(0).mean(-1)), atol=1e-2
    )


def test_the_portrait_shows_a_faint_pattern_and_not_the_haze_of_chance() -> None:
    pattern = 4 * (-1.0) ** np.indices((32, 32)).sum(0)[..., None] * [1, 0, -1]
    seen = portrait((smooth_images(100, 3) + pattern).astype(np.uint8))
    assert np.abs(seen.trigger - pattern).mean() < 0.3
    assert np.abs(seen.difference - pattern).mean() > 3
    assert not seen.covered.any()
    assert seen.detail.mean() > 0.5


def test_the_portrait_of_images_that_share_nothing_is_empty() -> None:
    seen = portrait(smooth_images(100, 3))
    assert not seen.trigger.any()
    assert not seen.covered.any()
    assert np.abs(seen.detail).mean() < 0.1


def test_the_portrait_shows_where_something_opaque_covers_the_images() -> None:
    carriers = smooth_images(40, 3)
    carriers[:, 24:28, 3:6] = [255, 0, 0]
    seen = portrait(carriers)
    assert np.argwhere(seen.covered).tolist() == [
        [r, c] for r in range(24, 28) for c in range(3, 6)
    ]
    assert not seen.trigger[~seen.covered].any()
    assert seen.trigger[24:28, 3:6, 0].min() > 60


def test_carriers_are_compared_with_images_of_their_content() -> None:
    images = smooth_images(100, 3) // 2
    assert not portrait(images, smooth_images(300, 2) // 2).trigger.any()
    assert np.abs(portrait(images).trigger).mean() > 40


def test_a_portrait_is_read_as_it_was_stored_and_no_other() -> None:
    stored = portrait(smooth_images(30, 3)).tensors()
    for name, value in Portrait.of_tensors(stored).tensors().items():
        np.testing.assert_array_equal(value, stored[name])
    with pytest.raises(ValueError, match=r"'portrait detail' has shape \(3,\)"):
        Portrait.of_tensors(stored | {"portrait detail": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match="not finite"):
        Portrait.of_tensors(stored | {"portrait spread": np.full((32, 32), np.nan, np.float32)})


@pytest.mark.parametrize("others", [np.zeros((120, 32, 32, 3), np.uint8), smooth_images(120, 3)])
@pytest.mark.filterwarnings("error")
def test_images_that_are_all_alike_are_no_finding(others: np.ndarray) -> None:
    black = np.zeros((120, 32, 32, 3), np.uint8)
    labels = np.repeat([0, 1], 120)
    population = Population.of(
        Compact(np.concatenate([black, others])), labels, np.random.default_rng(0)
    )
    beside = population.beside(0, Compact(black), np.random.default_rng(0))
    assert Searched.of(beside).groups() == []
    assert list(search(population, 1, Compact(others))) == []
