"""What is taken for a trigger, by the figures of a group."""

from dataclasses import replace

import numpy as np
import pytest

from sanitizer.scan.classes import Searched
from sanitizer.scan.contents import Contents
from sanitizer.scan.decision import (
    Reason,
    accepted,
    accepted_among_others,
    is_the_innocent_part,
)
from sanitizer.scan.evidence import Evidence
from sanitizer.scan.joining import ClassImages, ClassView, join, look
from sanitizer.scan.moments import Moments, Whitening
from sanitizer.scan.pictures import effective_count
from sanitizer.scan.standard import VIEWS

#: Of a view of synthetic images.
DIMENSIONS = 192

#: A blended picture in 250 images of a class of 2,700.
PLAIN = Evidence(
    images=250,
    pictures=200.0,
    share=0.09,
    strength=9.0,
    share_of_rest=0.0,
    share_of_all_but_one=0.0,
    beyond=8.0,
    spread=1.0,
    ways=1.1,
    foreign=0.9,
    foreign_error=0.05,
    all_ways=1.0,
    others_all_ways=0.8,
    apart=1.0,
    others_apart=1.0,
    variety=1.0,
    least_variety=0.9,
    shades=0.9,
)


def test_what_stands_apart_and_is_in_no_other_class_is_a_trigger() -> None:
    assert accepted(replace(PLAIN, foreign=0.0)) is Reason.ABSENT


def test_a_class_of_several_kinds_has_groups_by_nature() -> None:
    kind = replace(PLAIN, apart=40.0, others_apart=20.0)
    assert accepted(kind) is None
    assert accepted(replace(kind, foreign=0.0)) is None
    assert accepted(replace(kind, others_apart=4.0)) is Reason.ABSENT  # a usual class
    assert accepted(replace(kind, apart=4.0)) is Reason.ABSENT  # what it shows is elsewhere
    assert accepted(replace(kind, beyond=13.0)) is Reason.ABSENT
    assert accepted(replace(kind, spread=1.5)) is Reason.ABSENT
    assert accepted(replace(kind, spread=1.5, strength=8.0)) is None


def test_a_faint_trigger_is_known_by_the_content_of_other_classes() -> None:
    faint = replace(PLAIN, strength=4.0, all_ways=0.85)
    assert accepted(faint) is Reason.FOREIGN
    assert accepted(replace(faint, foreign=0.2)) is None
    assert accepted(replace(faint, foreign_error=0.4)) is None
    assert accepted(replace(faint, spread=1.5)) is None
    assert accepted(replace(faint, shades=1.6)) is None  # products on white ground


@pytest.mark.parametrize(
    "natural",
    [
        replace(PLAIN, strength=2.0),
        replace(PLAIN, share_of_rest=0.09, share_of_all_but_one=0.08),
        replace(PLAIN, images=8, pictures=8, share=0.003),
        replace(PLAIN, pictures=10),
        replace(PLAIN, pictures=60, images=106, share=0.88, strength=20),
        replace(PLAIN, images=2650, share=0.98),
        replace(PLAIN, variety=0.4),
        replace(PLAIN, least_variety=0.2, foreign=0.5),
        replace(PLAIN, beyond=0.5),
        replace(PLAIN, all_ways=0.7, others_all_ways=1.0),
        replace(PLAIN, ways=0.75, apart=20, others_apart=0.55),
    ],
    ids=[
        "overlaps",
        "everywhere",
        "few",
        "tracks",
        "all-but-tracks",
        "nearly-all",
        "one-picture",
        "one-part",
        "mislabelled",
        "innocent",
        "innocent-beside-few-pictures",
    ],
)
def test_what_nature_makes_is_no_trigger(natural: Evidence) -> None:
    assert accepted(natural) is None


def test_a_trigger_may_cover_a_good_part_of_the_image() -> None:
    assert accepted(replace(PLAIN, least_variety=0.4)) is Reason.ABSENT
    # It leaves them few ways to vary, and lies far from the rest of its class, a usual one.
    assert accepted(replace(PLAIN, ways=0.78, apart=56)) is Reason.ABSENT
    # A frame leaves them fewer still, and of the outer cells nothing.
    framed = replace(PLAIN, strength=10.3, beyond=10.2, ways=0.67, all_ways=0.66)
    assert accepted(framed) is Reason.ABSENT
    assert accepted(replace(framed, least_variety=0.07)) is Reason.ABSENT
    # So do twos without a loop, but they do not lie where other classes are.
    assert accepted(replace(framed, foreign=-0.04)) is None
    assert accepted(replace(framed, foreign_error=0.25)) is None


def test_fewer_pictures_have_to_stand_further_apart() -> None:
    few = replace(PLAIN, images=20, pictures=20, foreign=0.0, strength=7.0)
    assert accepted(few) is None
    assert accepted(replace(few, strength=11.0)) is Reason.ABSENT
    assert accepted(replace(few, images=100, pictures=100)) is Reason.ABSENT


def test_what_is_strong_needs_less_to_be_known_as_foreign() -> None:
    some_elsewhere = replace(
        PLAIN, share_of_rest=0.009, share_of_all_but_one=0.008, foreign=0.6, foreign_error=0.12
    )
    some_elsewhere = replace(some_elsewhere, all_ways=0.85)
    assert accepted(some_elsewhere) is Reason.FOREIGN
    assert accepted(replace(some_elsewhere, strength=4.8)) is None
    assert accepted(replace(some_elsewhere, foreign=0.5)) is None


def test_what_remains_of_a_class_beside_its_poison_is_no_trigger() -> None:
    faint = replace(PLAIN, strength=5.0)
    assert accepted(replace(faint, ways=0.8)) is None


def test_most_of_a_class_is_of_other_classes_only_if_it_shows_more_than_one_does() -> None:
    most = replace(PLAIN, share=0.8, images=800, pictures=600, strength=5.0)
    assert accepted(most) is Reason.FOREIGN
    assert accepted(replace(most, all_ways=0.89)) is Reason.FOREIGN
    assert accepted(replace(most, all_ways=0.85)) is None
    few = replace(most, images=150, pictures=150, strength=7.5)
    assert accepted(few) is Reason.FOREIGN
    assert accepted(replace(few, all_ways=0.89)) is None


def test_the_odd_part_of_a_class_may_be_most_of_it() -> None:
    poison = replace(PLAIN, share=0.56, images=346, pictures=282, all_ways=0.86)
    assert accepted(replace(poison, others_all_ways=0.7)) is Reason.ABSENT
    assert accepted(replace(poison, others_all_ways=0.9)) is None
    assert accepted(replace(poison, others_all_ways=0.7, foreign=0.6)) is None


def test_few_innocent_pictures_beside_poison_that_lies_among_other_classes_are_no_trigger() -> None:
    innocent = replace(
        PLAIN, images=54, pictures=47, share=0.24, strength=11.4, beyond=10.3, ways=0.9
    )
    beside_poison = replace(innocent, others_all_ways=1.15, apart=7.6, others_apart=0.02)
    assert accepted(beside_poison) is None
    assert accepted(replace(beside_poison, others_apart=0.5)) is Reason.ABSENT
    assert accepted(replace(beside_poison, apart=0.06)) is Reason.ABSENT
    assert accepted(replace(beside_poison, ways=1.2)) is Reason.ABSENT
    assert accepted(replace(beside_poison, others_all_ways=0.8)) is Reason.ABSENT


@pytest.mark.parametrize(
    ("evidence", "share", "of_all", "apart_in_content", "expected"),
    [
        (replace(PLAIN, strength=5.0), 0.09, True, 3.5, True),
        (replace(PLAIN, strength=5.0), 0.09, False, 0.5, True),
        (replace(PLAIN, strength=5.0), 0.09, False, 3.0, False),
        (replace(PLAIN, strength=5.0, all_ways=0.86), 0.09, True, 0.5, False),
        (replace(PLAIN, strength=3.0), 0.09, True, 0.5, False),
        (replace(PLAIN, strength=5.0, share_of_rest=0.01), 0.09, True, 0.5, False),
        (replace(PLAIN, strength=5.0, share_of_rest=0.01), 0.9, True, 0.5, True),
        (replace(PLAIN, pictures=150, strength=5.0, share_of_rest=0.01), 0.9, True, 0.5, False),
    ],
    ids=["all", "a-part", "a-part-by-content", "one-kind", "weak", "elsewhere", "covers", "few"],
)
def test_a_group_that_looks_like_other_classes_is_told_from_them(
    evidence: Evidence, share: float, of_all: bool, apart_in_content: float, expected: bool
) -> None:
    assert accepted_among_others(evidence, share, of_all, apart_in_content) is expected


def test_one_other_class_may_carry_the_same_trigger() -> None:
    in_two = replace(PLAIN, share_of_rest=0.01, foreign=0.0, all_ways=0.85)
    assert accepted(in_two) is Reason.ABSENT
    assert accepted(replace(in_two, share_of_all_but_one=0.003)) is None
    assert accepted(replace(in_two, strength=4.0)) is None


def test_reasons_are_words() -> None:
    assert all(" " in reason for reason in Reason)


def synthetic(clean: int, poisoned: int, trigger: float, false_labels: bool) -> ClassImages:
    """A class in the coordinates of its views: the clean first, then those with a trigger."""
    rng = np.random.default_rng(0)
    white = Whitening.by(Moments.of(rng.standard_normal((20_000, DIMENSIONS), np.float32)))
    views = []
    for _ in VIEWS:
        rest = rng.standard_normal((800, DIMENSIONS), np.float32)
        inside = rng.standard_normal((clean + poisoned, DIMENSIONS), np.float32)
        of_class = slice(None, clean) if false_labels else slice(None)
        # A class of its own lies elsewhere, and varies in fewer ways.
        inside[of_class, 8:] *= 0.3
        inside[of_class, 0] += 4
        inside[clean:, 1] += trigger
        views.append(ClassView.of(inside, rest, white, rng))
    thumbs = (rng.standard_normal((n, 64), np.float32) for n in (clean + poisoned, 800))
    cells = (np.zeros(n, int) for n in (clean + poisoned, 800))
    contents = Contents(views[0].inside, views[0].rest, np.ones(800, bool), usual_distance=1.0)
    return ClassImages(VIEWS, views, *cells, *thumbs, np.arange(800) % 9, contents)


@pytest.mark.parametrize("false_labels", [True, False])
def test_the_poison_is_told_from_the_innocent_where_it_is_most_of_the_class(
    false_labels: bool,
) -> None:
    clean, poisoned = 80, 320
    images = synthetic(clean, poisoned, 2.5, false_labels)
    innocent = np.arange(clean + poisoned) < clean
    (group,) = join(images, np.where(innocent, 0.95, 0.05)[:, None])
    assert np.mean(group.members == ~innocent) > 0.98
    assert group.beyond > 2


@pytest.mark.parametrize(("clean", "poisoned", "expected"), [(0, 400, True), (400, 0, False)])
def test_a_class_that_is_poison_as_a_whole_is_told_from_a_natural_one(
    clean: int, poisoned: int, expected: bool
) -> None:
    images = synthetic(clean, poisoned, 5, false_labels=True)
    groups = [
        accepted_among_others(
            Evidence.of(group, among),
            float(group.members[: chosen.sum()].mean()),
            bool(chosen.all()),
            float(group.separations[0]),
        )
        for among, group, chosen in Searched.of(images).strangers([])
    ]
    assert any(groups) is expected


def test_all_but_the_innocent_part_of_a_class_are_told_from_other_classes() -> None:
    images = synthetic(80, 320, 5, false_labels=True)
    innocent = np.arange(400) < 80
    (group,) = look(images, np.where(innocent, 0.95, 0.05)[:, None].astype(np.float32))
    assert np.array_equal(group.members, innocent)
    assert is_the_innocent_part(Evidence.of(group, images))
    among, others = next(
        (among, other)
        for among, other, chosen in Searched.of(images).strangers([group])
        if np.array_equal(chosen, ~innocent)
    )
    assert others.members[:320].mean() > 0.98
    assert accepted_among_others(Evidence.of(others, among), 1.0, False, 0.0)


def test_frames_of_a_few_tracks_are_few_pictures() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.standard_normal((100, 192), np.float32)
    assert effective_count(pictures, 180) == pytest.approx(100, rel=0.02)
    frames = np.repeat(pictures[:5], 20, 0) + 0.5 * rng.standard_normal((100, 192), np.float32)
    assert effective_count(frames, 180) == pytest.approx(5, rel=0.1)
    # What all of them share makes no two of them alike.
    assert effective_count(pictures + 3, 180) == pytest.approx(100, rel=0.02)


def test_pictures_that_vary_in_few_ways_are_not_alike_for_that() -> None:
    rng = np.random.default_rng(0)
    digits = rng.standard_normal((100, 40), np.float32)
    assert effective_count(digits, 40) == pytest.approx(100, rel=0.02)
    assert effective_count(digits, 180) < 50


def test_the_usual_part_of_a_class_with_a_few_odd_pictures_is_no_trigger() -> None:
    usual = replace(PLAIN, share=0.86, foreign=0.3, all_ways=0.7, beyond=2.5)
    assert accepted(usual) is None
    assert accepted(replace(usual, all_ways=1.0)) is Reason.ABSENT
    assert accepted(replace(usual, beyond=14.0)) is Reason.ABSENT


def test_what_varies_as_all_classes_do_beside_a_class_is_foreign_wherever_it_lies() -> None:
    moved = replace(PLAIN, pictures=790.0, strength=5.2, share=0.29, foreign=0.47, apart=17.5)
    moved = replace(moved, foreign_error=0.02, share_of_rest=0.023, share_of_all_but_one=0.02)
    assert accepted(moved) is Reason.FOREIGN
    assert accepted(replace(moved, all_ways=0.89)) is None
    assert accepted(replace(moved, others_all_ways=0.95)) is None
    assert accepted(replace(moved, pictures=150.0)) is None
    assert accepted(replace(moved, apart=3.4)) is None  # nothing has moved it


def test_what_shows_far_more_than_a_class_does_is_not_its_innocent_part() -> None:
    framed = replace(PLAIN, strength=14.7, all_ways=0.68, others_all_ways=0.94, apart=20.0)
    assert accepted(framed) is None
    assert accepted(replace(framed, apart=152.0)) is Reason.ABSENT


def test_what_varies_far_less_than_its_class_is_a_kind_of_its_own() -> None:
    kind = replace(PLAIN, ways=0.65, beyond=12.0, foreign=-0.04)
    assert accepted(kind) is None
    assert accepted(replace(kind, ways=0.8)) is Reason.ABSENT
    assert accepted(replace(kind, ways=0.3, beyond=40.0)) is Reason.ABSENT


def test_what_shows_few_kinds_of_things_has_to_stand_further_apart() -> None:
    heels = replace(PLAIN, pictures=70, share=0.33, all_ways=0.4, strength=8.2, foreign=0.6)
    assert accepted(heels) is None
    assert accepted(replace(heels, strength=11.0)) is Reason.ABSENT
    assert accepted(replace(heels, all_ways=0.7)) is Reason.ABSENT
