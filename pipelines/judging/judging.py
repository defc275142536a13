"""How a run judges: by which detector, against which clean images, with which policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from detector.model import Detector
from pipelines.judging.calibration import ChosenCalibration, calibrate, load_detector
from pipelines.judging.score import ScorePass
from pipelines.judging.split import VerdictPass
from pipelines.runs.guards import check_apart
from pipelines.runs.job import Settings
from pipelines.runs.passes import Pass
from pipelines.runs.store import Store
from pipelines.sources.base import Source
from sanitizer.policy import Policy
from sanitizer.record import Record
from sanitizer.summary import PolicyFacts


@dataclass(frozen=True)
class JudgingOptions(Record):
    """What decides scores and verdicts."""

    detector: str  #: identity
    policy: str  #: its name
    max_clean_loss: float | None  #: of policy budget
    fdr: float | None  #: of policy fdr
    trusted: str | None  #: clean images to calibrate on
    calibration_sha256: str


@dataclass(frozen=True)
class Judging:
    """What judges in a run of ``clean`` or ``score``."""

    detector: Detector
    address: str  #: what workers load the detector by
    calibration: ChosenCalibration
    policy: Policy
    trusted: str | None

    @classmethod
    def begin(
        cls,
        address: str,
        policy: Policy,
        trusted: str | Path | None,
        store: Store,
        settings: Settings,
    ) -> Self:
        """Load the detector and calibrate.

        Args:
            address: of the detector, from :func:`detector.bundled.address`.
            trusted: clean images, which OUTPUT must neither hold nor lie in; None: the
                detector's own calibration.
            store: OUTPUT.

        Raises:
            InputError: no working detector, unreadable trusted images or too few of them, or
                trusted images that ``overwrite`` would delete.
        """
        detector = load_detector(address)
        calibration = calibrate(
            detector,
            policy,
            trusted,
            image_column=settings.image_column,
            workers=settings.workers,
            quiet=settings.quiet,
        )
        if trusted is not None:
            check_apart(calibration.root, f"--trusted {trusted}", str(trusted), store)
        return cls(
            detector, address, calibration, policy, None if trusted is None else str(trusted)
        )

    def passes(self, source: Source, *, split: bool) -> Sequence[Pass[Any, Any, Any]]:
        """Score all samples, then write the verdicts and, with ``split``, the samples."""
        return [
            ScorePass(source, self.address, self.calibration.calibration, self.policy),
            VerdictPass(source, self.detector.identity, split),
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
        )
