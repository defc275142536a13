"""Summaries of runs that the tests make up."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from sanitizer.fit import CalibrationFit, ScoreShape
from sanitizer.policy import Decision
from sanitizer.records import REJECTED, ScoreRow
from sanitizer.summary import (
    CalibrationFacts,
    CalibrationGroupFacts,
    Counts,
    PolicyFacts,
    SourceFacts,
    Summary,
    Tally,
)

#: Of a calibration that fits.
FITS = CalibrationFit(False, 1, 0, 60, False, False, False, ScoreShape(0.5, 10, 50))


def tally_of(rows: Sequence[ScoreRow], label_type: pa.DataType | None = None) -> Tally:
    """The tally of score rows; every rejected one is corrupt."""
    return Tally.of(
        pa.array([row.verdict for row in rows], pa.string()),
        np.array([np.nan if row.score is None else row.score for row in rows]),
        pa.array([row.label for row in rows], label_type or pa.int64()),
        ["truncated or corrupt" for row in rows if row.verdict == REJECTED],
    )


def budget_decision(counts: Counts, limit: float = 0.01) -> Decision:
    """The decision of a run that accepts to lose ``limit`` of its clean images."""
    judged = counts.clean + counts.poisoned
    words = f"An image is removed at a p-value of at most {limit:g}."
    return Decision("budget", limit, judged, counts.poisoned, limit * judged, words)


def summary_of(tally: Tally, class_names: Sequence[str] | None = None, **changes: Any) -> Summary:
    """The summary of a run on 32 px images, with some fields changed."""
    counts = tally.counts()
    group = CalibrationGroupFacts("photographs", 5000, (1, 1), "1 part, lossless", 0.87)
    summary = Summary(
        counts=counts,
        rejected_by_reason=tally.rejected_by_reason(),
        per_class=tally.per_class(class_names),
        score_histogram=tally.score_histogram(),
        policy=PolicyFacts("budget", 0.01, None),
        decision=budget_decision(counts),
        calibration=CalibrationFacts(
            origin="stored",
            words="Of clean images like these 1.00% or less are expected to be removed.",
            thresholds={"1 part, lossless": 0.87},
            groups=(group,),
        ),
        fit=FITS,
        scan=None,
        detector="freqsan-small@0123abcd4567",
        source=SourceFacts("train", "image folder", ("one note",), "image"),
        versions={"freqsan": "0.1.0"},
    )
    return replace(summary, **changes)
