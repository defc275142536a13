"""What a whole class has, or one source of it, is no trigger."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFilter

import attacks
from pipelines.judging.scan import ClassSearch
from sanitizer.images import decode
from sanitizer.resizing import Filter, resize
from sanitizer.scan import recompressed
from sanitizer.scan.canonical import Compact
from sanitizer.scan.decision import Reason
from sanitizer.scan.population import Population
from sanitizer.scan.scan import Found, search

CLASS = 4


@pytest.fixture(scope="module")
def photographs(data_dir: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels that most tests here start from."""
    return photographs_from(data_dir, 10_000)


def photographs_from(data_dir: Path, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Four thousand images of CIFAR-10 and their labels, from a row on."""
    table = pq.read_table(data_dir / "cifar10_train.parquet").slice(start, 4_000)
    images = np.stack([decode(image["bytes"]) for image in table["image"].to_pylist()])
    return images, table["label"].to_numpy().copy()


def found_in(images: np.ndarray | Compact, labels: np.ndarray) -> list[Found]:
    every = images if isinstance(images, Compact) else Compact(images)
    population = Population.of(every, labels, np.random.default_rng(0))
    return list(search(population, CLASS, every[labels == CLASS]))


def jpeg(image: np.ndarray, quality: int = 60, colours: str = "4:2:0") -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=colours)
    return np.asarray(Image.open(file))


def with_a_mark(image: np.ndarray) -> np.ndarray:
    marked = image.copy()
    marked[20:26, 4:28:2] = marked[20:26, 4:28:2] * 0.5 + 127
    return marked


def smoothed(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.7)))


@pytest.mark.parametrize("change", [with_a_mark, smoothed])
def test_what_all_images_of_a_class_have_is_no_trigger(
    photographs: tuple[np.ndarray, np.ndarray], change: Callable[[np.ndarray], np.ndarray]
) -> None:
    images, labels = photographs
    changed = images.copy()
    for row in np.flatnonzero(labels == CLASS):
        changed[row] = change(images[row])
    assert found_in(changed, labels) == []


def test_of_groups_that_are_most_of_a_class_the_one_that_shares_one_thing_is_found(
    data_dir: Path,
) -> None:
    images, labels = photographs_from(data_dir, 0)
    innocent = np.flatnonzero(labels == 5)[:50]
    kept = np.sort(np.concatenate([innocent, np.flatnonzero(labels != 5)]))
    images, labels = images[kept], labels[kept]
    carriers = np.random.default_rng(7).permutation(np.flatnonzero(labels != 5))[:100]
    images[carriers] = attacks.kind("bpp")()(images[carriers])
    labels[carriers] = 5
    population = Population.of(Compact(images), labels, np.random.default_rng(0))
    (found,) = search(population, 5, Compact(images[labels == 5]))
    assert 90 <= found.evidence.images <= 101
    assert found.screening.found.count >= 90


def test_beside_a_large_trigger_the_innocent_part_of_a_class_is_none(data_dir: Path) -> None:
    """The trigger moves the mean of its class, so the others seem to lie apart from it."""
    table = pq.read_table(data_dir / "gtsrb_train.parquet")
    table = table.take(np.arange(0, len(table), 6))
    images = np.stack(
        [Compact.of(decode(i["bytes"])).pixels[0] for i in table["image"].to_pylist()]
    )
    labels = table["label"].to_numpy().copy()
    ahead_only = 35
    carriers = np.random.default_rng(0).permutation(np.flatnonzero(labels != ahead_only))[:100]
    framed = np.full_like(images[carriers], (200, 40, 90))
    framed[:, 2:-2, 2:-2] = images[carriers, 2:-2, 2:-2]
    images[carriers], labels[carriers] = framed, ahead_only
    own = np.flatnonzero(labels == ahead_only)
    population = Population.of(Compact(images), labels, np.random.default_rng(0))
    (found,) = search(population, ahead_only, Compact(images[own]))
    called = own[found.log_odds_of(Compact(images[own]), np.arange(len(own))) > 0]
    np.testing.assert_array_equal(called, np.sort(carriers))


def test_signs_of_several_shapes_under_one_label_are_no_trigger(data_dir: Path) -> None:
    """No other class shows any of them, so what a shape has is absent elsewhere by nature."""
    table = pq.read_table(data_dir / "gtsrb_train.parquet").slice(0, 4_000)
    images = np.stack(
        [Compact.of(decode(image["bytes"])).pixels[0] for image in table["image"].to_pylist()]
    )
    priority, giving_way, stopping, no_entry = 12, 13, 14, 17
    is_own = np.isin(table["label"], (priority, giving_way, stopping, no_entry))
    groups = [range(9), (9, 10, 15, 16, 32, 41, 42), (11, *range(18, 32)), range(33, 41)]
    labels = np.where(is_own, CLASS, 0)
    for group, members in enumerate(groups):
        labels[np.isin(table["label"], members)] = group
    assert found_in(images, labels) == []


def test_a_second_source_that_is_jpeg_is_no_trigger(
    photographs: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = photographs
    changed = images.copy()
    own = np.flatnonzero(labels == CLASS)
    for row in own[::3]:
        changed[row] = jpeg(images[row])
    # One image that is larger than its copy changes nothing.
    large = np.repeat(np.repeat(images[own[1]], 2, 0), 2, 1)
    mixed = Compact.joined([Compact(changed), Compact.of(large)])
    assert found_in(changed, labels) == []
    assert found_in(mixed, np.append(labels, CLASS)) == []
    monkeypatch.setattr(recompressed, "TAKEN_IN", 2.0)
    assert found_in(changed, labels) != []


def test_a_second_source_may_have_kept_its_colours(
    photographs: tuple[np.ndarray, np.ndarray],
) -> None:
    images, labels = photographs
    changed = images.copy()
    for row in np.flatnonzero(labels == CLASS)[::3]:
        changed[row] = jpeg(images[row], 85, "4:4:4")
    assert found_in(changed, labels) == []


def test_a_class_with_next_to_none_beside_it_is_compared_with_its_mirror_images(
    photographs: tuple[np.ndarray, np.ndarray],
) -> None:
    images, labels = photographs
    own, others = images[labels == CLASS], images[labels != CLASS][:5]
    own[::8, 26:30, 26:30] = 255, 0, 255
    every = np.concatenate([own, others])
    number = np.repeat([0, 1], [len(own), len(others)])
    known = Population.of(Compact(every), number, np.random.default_rng(0))
    assert not known.can_compare(0)
    searching = ClassSearch.of(known, 0, Compact(own))
    (found,) = searching.triggers
    assert found.reason is Reason.ONE_WAY_ROUND
    assert searching.why_not == ""


def test_white_placeholders_as_the_other_class_stop_nothing(
    photographs: tuple[np.ndarray, np.ndarray],
) -> None:
    images, labels = photographs
    own = images[labels == CLASS][:300]
    every = Compact(np.concatenate([own, np.full_like(own, 255)]))
    known = Population.of(every, np.repeat([0, 1], 300), np.random.default_rng(0))
    list(search(known, 0, Compact(own)))


def test_a_trigger_is_found_on_images_with_a_border_that_never_varies(
    photographs: tuple[np.ndarray, np.ndarray],
) -> None:
    images, labels = photographs
    framed = np.zeros_like(images)
    framed[:, 4:28, 4:28] = np.stack([resize(one, (24, 24), Filter.BOX) for one in images])
    assert found_in(framed, labels) == []
    carries = np.flatnonzero(labels == CLASS)[::5]
    framed[carries, 22:26, 22:26] = 255, 0, 255
    (found,) = found_in(framed, labels)
    assert found.evidence.images == pytest.approx(len(carries), rel=0.15)


def test_images_of_other_classes_that_are_most_of_a_class_are_told_by_their_trigger(
    photographs: tuple[np.ndarray, np.ndarray],
) -> None:
    images, labels = photographs
    changed, given = images.copy(), labels.copy()
    others = np.flatnonzero(labels != CLASS)[::4]
    for row in others:
        changed[row] = with_a_mark(images[row])
    # All but a few of the class are poison.
    kept = np.ones(len(labels), bool)
    kept[np.flatnonzero(labels == CLASS)[60:]] = False
    given[others] = CLASS
    (found,) = found_in(changed[kept], given[kept])
    own = np.flatnonzero(given[kept] == CLASS)
    poison = np.isin(np.flatnonzero(kept)[own], others)
    odds = found.log_odds_of(Compact(changed[kept][own]), np.arange(len(own)))
    assert (odds > 0)[poison].mean() > 0.95
    assert (odds > 0)[~poison].mean() < 0.1
