"""Numbers of a run in words, for the page."""

import math

from sanitizer.policy import Decision
from sanitizer.summary import Counts


def headline(counts: Counts) -> str:
    """What happened, in one sentence.

    >>> headline(Counts(60, 52, 7, 1))
    '7 of 60 images removed, 1 could not be judged.'
    """
    if not counts.read:
        return "There were no images to judge."
    images = "image" if counts.read == 1 else "images"
    start = (
        f"{counts.poisoned:,} of {counts.read:,} {images} removed"
        if counts.poisoned
        else f"No image of {counts.read:,} removed"
    )
    return f"{start}, {counts.rejected:,} could not be judged." if counts.rejected else f"{start}."


def innocents(decision: Decision) -> str:
    """How many innocent images are expected among the removed, and what that means."""
    removed, expected = decision.removed, decision.expected_innocents
    if not decision.judged:
        return "No image could be judged."
    if not removed:
        return "No image was removed; below it says why."
    at_most = math.ceil(expected - 1e-9)
    share = "fewer than one" if expected < 1 else f"up to {at_most:,}"
    if decision.policy == "budget" and removed <= at_most:
        return (
            f"On average {share} innocent image{'s' if at_most > 1 else ''} would be removed from "
            "a set of this size without any attack, and no more than that were removed: their "
            "number alone is no sign of an attack."
        )
    images, are = "images" if removed > 1 else "image", "are" if at_most > 1 else "is"
    return (
        f"On average {share} of the {removed:,} removed {images} {are} innocent: look through "
        "them below before you train without them."
    )


def percent(share: float) -> str:
    """A share as a percentage; almost none never reads as none, nor almost all as all.

    >>> percent(0.25), percent(0.00001), percent(0.9999)
    ('25.0%', '<0.01%', '>99.9%')
    """
    if 0 < share < 0.0001:
        return "<0.01%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{share:.1%}" if 0.1 <= share < 1 else f"{100 * share:.3g}%"
