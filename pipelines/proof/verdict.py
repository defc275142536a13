"""What a proof comes to, in plain words."""

from collections.abc import Sequence

from pipelines.proof.columns import (
    CLEANED,
    POISONED,
    REJECTING,
    WITHOUT_POISON,
    Figure,
    over,
)
from pipelines.proof.records import Run
from sanitizer.tables import percent, with_interval

#: An attack that raises the ASR by less does not work.
LEAST_GAIN = 0.1

#: An attack of a lower ASR works in part only.
WORKS = 0.5

#: An attack fails when so much of what poison added to the ASR is left, or less; up to the
#: second share it is weakened.
FAILS, WEAKENED = 0.1, 0.5

#: A detector that flags a smaller share of the poisoned images has not found the trigger.
FOUND = 0.5


def verdict(runs: Sequence[Run]) -> str:
    """In plain words, whether the attack works and whether cleaning stops it."""
    detected = over(runs, lambda run: run.detection.bdr).value
    lost = over(runs, lambda run: run.detection.fpr).value
    removed = f"{percent(detected)} of the poisoned images and {percent(lost)} of the clean ones"
    for run in runs:
        if not _learned(run):
            return f"{_learned_nothing(run)} freqsan removed {removed}."
    before, base = _mean(runs, POISONED.asr), _mean(runs, WITHOUT_POISON.asr)
    if before - base < LEAST_GAIN:
        return (
            f"The attack does not work on this victim: ASR {percent(before)}, and "
            f"{percent(base)} without poison, so there is nothing to prove. "
            f"freqsan removed {removed}."
        )
    works = "works" if before >= WORKS else "works in part"
    missed = "" if (detected or 0) >= FOUND else "did not find this trigger: it "
    return (
        f"The attack {works} (ASR {percent(before)}, {percent(base)} without poison). "
        f"freqsan {missed}removed {removed}; after cleaning the attack "
        f"{_outcome(_mean(runs, CLEANED.asr), before, base)}, at a clean accuracy of "
        f"{percent(_mean(runs, CLEANED.accuracy))} "
        f"({percent(_mean(runs, WITHOUT_POISON.accuracy))} without poison). "
        "With rejection before the poisoned model it "
        f"{_outcome(_mean(runs, REJECTING.asr), before, base)}."
    )


def _mean(runs: Sequence[Run], figure: Figure) -> float:
    """The mean of a figure that every run has."""
    value = over(runs, figure).value
    if value is None:
        raise ValueError("a run without test images")
    return value


def _outcome(asr: float, before: float, base: float) -> str:
    """What is left of an attack whose ASR was ``before``, and ``base`` without poison."""
    left = (asr - base) / (before - base)
    words = "fails" if left <= FAILS else "is weakened" if left <= WEAKENED else "still works"
    return f"{words} (ASR {percent(asr)})"


def _learned(run: Run) -> bool:
    """Whether the victim without poison does better than one that knows a single class."""
    interval = WITHOUT_POISON.accuracy(run).interval
    return interval is not None and interval[0] > run.largest_class


def _learned_nothing(run: Run) -> str:
    reference = run.victims.reference
    return (
        f"The victim has learned nothing from its {reference.trained_on:,} images without "
        f"poison: clean accuracy {with_interval(reference.accuracy)}, and "
        f"{percent(run.largest_class)} of the test images are of one class. So the proof says "
        "nothing about the attack; give more images or --victim standard."
    )
