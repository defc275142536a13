"""What the driver knows of a set once all of its images are scored, and once it is scanned."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from detector.bulk import OwnScale
from pipelines.judging.calibration import Size
from pipelines.judging.classes import Classes
from sanitizer.fit import CalibrationFit, ScoreShape, fit
from sanitizer.policy import ROUNDING, Decision, Policy
from sanitizer.scan.finding import Finding
from sanitizer.summary import ScanFacts, Tally


@dataclass(frozen=True)
class Scored:
    """The scores of all judged images."""

    scores: np.ndarray  #: (n,) float32
    p_values: np.ndarray  #: (n,) float64
    own: OwnScale  #: what judges those kinds of which there are enough
    smallest: float  #: the smallest p-value that the calibration can give
    sizes: tuple[Size, ...]  #: of the images
    per_class: Mapping[str, tuple[int, int]]  #: images, and those of them up to ``probed``
    probed: float  #: the p-value up to which images are counted there
    calibration_images: int  #: clean images in the smallest group that decides; 0: no detector

    def fit(self, infected: Set[str]) -> CalibrationFit:
        """Whether the calibration fits the set.

        Args:
            infected: labels of classes with a finding: what they have lost is no sign of a wrong
                calibration.
        """
        counts = [count for label, count in self.per_class.items() if label not in infected]
        judged, suspicious = np.array(counts or [(0, 0)], np.int64).T
        shape = ScoreShape.of(self.scores, self.p_values, self.probed)
        return fit(suspicious, judged, shape, self.probed, self.calibration_images)


@dataclass(frozen=True)
class Scanned:
    """What the scan of a set has found."""

    findings: tuple[Finding, ...] = ()
    packed: tuple[bytes, ...] = ()  #: the file of each
    #: of each, by the number of a shard: (n,) log odds of carrying it, of the images of its class
    log_odds: tuple[Mapping[int, np.ndarray], ...] = ()
    #: of each class, in words said of its images, why it was not searched; empty where it was
    why_not: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> frozenset[str]:
        """Of the classes that were searched."""
        return frozenset(label for label, words in self.why_not.items() if not words)

    def of_shard(self, shard: int, label: str) -> list[tuple[Finding, np.ndarray]]:
        """The findings in a class, each with the (n,) log odds of carrying it in a shard."""
        return [
            (finding, by_shard[shard])
            for finding, by_shard in zip(self.findings, self.log_odds, strict=True)
            if finding.label == label
        ]

    def facts(self, classes: Classes, tally: Tally) -> ScanFacts:
        """What is told of the scan.

        Args:
            classes: of the set.
            tally: of all its samples.
        """
        return ScanFacts(
            classes=len(classes.labels),
            searched=len(self.labels),
            images=sum(tally.findings.get(one.name, 0) for one in self.findings),
            findings=self.findings,
        )

    @property
    def innocents(self) -> float:
        """Innocent images expected among those that the findings name."""
        return sum(finding.innocents for finding in self.findings)


@dataclass(frozen=True)
class Decided:
    """What was decided of a whole set, and by what."""

    scored: Scored
    classes: Classes  #: empty where nothing is scanned
    scanned: Scanned
    decision: Decision
    fit: CalibrationFit | None  #: whether the calibration fits the set; None without a detector

    @classmethod
    def of(cls, scored: Scored, classes: Classes, scanned: Scanned, policy: Policy) -> Self:
        """Let the policy decide over all p-values and findings."""
        decision = policy.fit(scored.p_values, scored.smallest, scanned.innocents)
        if not scored.calibration_images:
            return cls(scored, classes, scanned, decision, None)
        fits = scored.fit({finding.label for finding in scanned.findings})
        suspicious = int(np.count_nonzero(scored.p_values <= scored.probed + ROUNDING))
        doubted = fits.wrong or fits.doubts(suspicious, scored.probed * len(scored.p_values))
        if policy.abstains and doubted and decision.removed:
            decision = decision.withheld()
        return cls(scored, classes, scanned, decision, fits)

    @property
    def known_fit(self) -> CalibrationFit:
        """Whether the calibration fits the set, where there is a detector."""
        assert self.fit is not None
        return self.fit

    def with_scan(self, scanned: Scanned, policy: Policy) -> "Decided":
        """The same set, decided anew with what the scan has found."""
        return self.of(self.scored, self.classes, scanned, policy)
