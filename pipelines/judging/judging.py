"""How a run judges: by which detector, against which clean images, with which policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from detector.model import Detector
from pipelines.judging.calibration import ChosenCalibration, calibrate, load_detector
from pipelines.judging.options import JudgingOptions
from pipelines.judging.scan import ScanPass
from pipelines.judging.score import ScorePass, Scorer
from pipelines.judging.signatures import KnownTrigger
from pipelines.judging.split import VerdictPass
from pipelines.runs.job import Settings
from pipelines.runs.passes import Pass
from pipelines.sources.base import Source
from sanitizer.policy import Policy
from sanitizer.summary import PolicyFacts


@dataclass(frozen=True)
class Judging:
    """What judges in a run of ``clean`` or ``score``."""

    detector: Detector
    address: str  #: what workers load the detector by
    calibration: ChosenCalibration
    policy: Policy
    trusted: str | None
    scans: bool  #: whether classes are searched for triggers
    known: tuple[KnownTrigger, ...]  #: triggers from other sets that are looked for

    @classmethod
    def begin(
        cls,
        address: str,
        policy: Policy,
        trusted: Source | None,
        settings: Settings,
        *,
        scan: bool,
        known: Sequence[KnownTrigger] = (),
    ) -> Self:
        """Load the detector and calibrate.

        Args:
            address: of the detector, from :func:`detector.bundled.address`.
            trusted: clean images; None: the detector's own calibration.
            scan: whether classes are searched for triggers.
            known: triggers from other sets that are looked for.

        Raises:
            InputError: no working detector, or trusted images that are unreadable or too few.
        """
        detector = load_detector(address)
        calibration = calibrate(
            detector, policy, trusted, workers=settings.workers, quiet=settings.quiet
        )
        location = None if trusted is None else trusted.location
        return cls(detector, address, calibration, policy, location, scan, tuple(known))

    def scorer(self) -> Scorer:
        """What scores, as workers are told."""
        chosen = self.calibration
        return Scorer(self.address, self.detector.device, chosen.calibration, chosen.adapts)

    def passes(self, source: Source, *, split: bool) -> Sequence[Pass[Any, Any, Any]]:
        """Score all samples, scan, then write the verdicts and, with ``split``, the samples."""
        score = ScorePass(source, self.scorer(), self.policy, self.scans or bool(self.known))
        scan = [ScanPass(source, self.policy, score.name)] if self.scans else []
        return [
            score,
            *scan,
            VerdictPass(source, self.detector.identity, split, self.known),
        ]

    def options(self) -> JudgingOptions:
        """What a run with other settings differs in."""
        policy = PolicyFacts.of(self.policy)
        return JudgingOptions(
            self.detector.identity,
            policy.name,
            policy.max_clean_loss,
            policy.fdr,
            self.trusted,
            self.calibration.calibration.digest(),
            self.detector.device,
            self.scans,
            tuple(one.sha256 for one in self.known),
        )
