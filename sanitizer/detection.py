"""How well verdicts agree with the truth, where the truth is known."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from sanitizer.metrics import (
    Estimate,
    Share,
    auroc,
    auroc_interval,
    balanced_accuracy,
    threshold_at_fpr,
)
from sanitizer.record import Record

#: What a sample of a poisoned set can be: left alone, poisoned, or a cover sample, which bears
#: the trigger under its true label.
KINDS = ("clean", "poisoned", "cover")

#: Thresholds that BDR is also given at: so many of the set's own clean samples are flagged.
FPRS = (0.01, 0.001)

#: Redraws of the AUROC's bootstrap.
ROUNDS = 300


@dataclass(frozen=True)
class Flagged(Record):
    """How many samples of a poisoned set are flagged, by what they are."""

    bdr: Share  #: of the judged poisoned samples, those that are flagged
    fpr: Share  #: of the judged clean samples, those that are flagged
    cover: Share  #: of the judged cover samples, those that are flagged
    not_judged: dict[str, int]  #: samples by each of ``KINDS``

    @property
    def judged(self) -> Share:
        """Of all samples, those that the other figures are of."""
        judged = self.bdr.of + self.fpr.of + self.cover.of
        return Share.from_counts(judged, judged + sum(self.not_judged.values()))

    @property
    def accuracy(self) -> Estimate:
        """ACC, over as many clean as poisoned samples; no value where one kind is missing."""
        return balanced_accuracy(self.bdr, self.fpr)

    @classmethod
    def counted(cls, kinds: np.ndarray, judged: np.ndarray, flagged: np.ndarray) -> "Flagged":
        """Compare the verdicts on n samples with what they are.

        Args:
            kinds: (n,) each one of ``KINDS``.
            judged: (n,) bool, whether there is a verdict.
            flagged: (n,) bool, the verdict.
        """
        shares = {kind: Share.counted(flagged[(kinds == kind) & judged]) for kind in KINDS}
        return Flagged(
            bdr=shares["poisoned"],
            fpr=shares["clean"],
            cover=shares["cover"],
            not_judged={kind: int(((kinds == kind) & ~judged).sum()) for kind in KINDS},
        )


@dataclass(frozen=True)
class Detection(Flagged):
    """Detection figures of the samples of a poisoned set."""

    auroc: Estimate | None  #: poisoned against clean; None without judged samples of both
    #: BDR at thresholds from the set itself, by FPR as text; None likewise
    bdr_at_fpr: dict[str, Share] | None

    def bdr_at(self, fpr: float) -> Share | None:
        """BDR at a threshold that flags so many clean samples, one of ``FPRS``."""
        return None if self.bdr_at_fpr is None else self.bdr_at_fpr[_key(fpr)]

    @classmethod
    def of(cls, kinds: np.ndarray, scores: np.ndarray, flagged: np.ndarray) -> Self:
        """Compare the verdicts on n samples with what they are.

        Args:
            kinds: (n,) each one of ``KINDS``.
            scores: (n,) float, higher is more suspicious; NaN for a sample that was not judged.
            flagged: (n,) bool, the verdict.
        """
        judged = np.isfinite(scores)
        low, high = (scores[(kinds == kind) & judged] for kind in ("clean", "poisoned"))
        area, bdr_at_fpr = None, None
        if len(low) and len(high):
            area = Estimate(auroc(low, high), auroc_interval(low, high, ROUNDS))
            bdr_at_fpr = {
                _key(fpr): Share.counted(high > threshold_at_fpr(low, fpr)) for fpr in FPRS
            }
        counted = Flagged.counted(kinds, judged, flagged)
        return cls(**vars(counted), auroc=area, bdr_at_fpr=bdr_at_fpr)


def _key(fpr: float) -> str:
    return f"{fpr:g}"
