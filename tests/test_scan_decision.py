"""What is taken for a trigger, by the figures of a group."""

from dataclasses import replace

import pytest

from sanitizer.scan.decision import Reason, accepted
from sanitizer.scan.evidence import Evidence

#: A blended picture in 250 images of a class of 2,700.
PLAIN = Evidence(
    images=250,
    pictures=200.0,
    share=0.09,
    strength=9.0,
    share_of_rest=0.0,
    beyond=8.0,
    spread=1.0,
    ways=1.1,
    foreign=0.9,
    foreign_error=0.05,
    variety=1.0,
    least_variety=0.9,
)


def test_what_stands_apart_and_is_in_no_other_class_is_a_trigger() -> None:
    assert accepted(replace(PLAIN, foreign=0.0)) is Reason.ABSENT


def test_a_faint_trigger_is_known_by_the_content_of_other_classes() -> None:
    faint = replace(PLAIN, strength=4.0)
    assert accepted(faint) is Reason.FOREIGN
    assert accepted(replace(faint, foreign=0.2)) is None
    assert accepted(replace(faint, foreign_error=0.4)) is None


@pytest.mark.parametrize(
    "natural",
    [
        replace(PLAIN, strength=2.0),
        replace(PLAIN, share_of_rest=0.09),
        replace(PLAIN, images=8, share=0.003),
        replace(PLAIN, images=2500, share=0.9),
        replace(PLAIN, variety=0.4),
        replace(PLAIN, least_variety=0.3),
        replace(PLAIN, ways=0.5),
    ],
    ids=["overlaps", "in all classes", "few", "nearly all", "one picture", "one part", "one way"],
)
def test_what_nature_makes_is_no_trigger(natural: Evidence) -> None:
    assert accepted(natural) is None


def test_reasons_are_words() -> None:
    assert all(" " in reason for reason in Reason)
