"""What the jobs that judge share: their options and their calibration."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.judging.calibration import ChosenCalibration, calibrate
from pipelines.runs.guards import check_apart
from pipelines.runs.job import Settings
from sanitizer.policy import Policy

if TYPE_CHECKING:
    from detector.model import Detector


def judging_options(
    identity: str, policy: Policy, trusted: str | Path | None, calibration: ChosenCalibration
) -> dict[str, Any]:
    """The settings that decide scores and verdicts."""
    return {
        "detector": identity,
        "policy": policy.name,
        **policy.to_json(),
        "trusted": None if trusted is None else str(trusted),
        "calibration_sha256": calibration.calibration.digest(),
    }


def calibrate_apart(
    detector: "Detector",
    policy: Policy,
    trusted: str | Path | None,
    output: Path,
    settings: Settings,
) -> ChosenCalibration:
    """The calibration of a judging job, from images that OUTPUT neither holds nor lies in.

    Raises:
        InputError: as :func:`pipelines.judging.calibration.calibrate`, or ``trusted`` and
            ``output`` lie within each other: ``overwrite`` would delete it.
    """
    calibration = calibrate(
        detector,
        policy,
        trusted,
        image_column=settings.image_column,
        workers=settings.workers,
        quiet=settings.quiet,
    )
    check_apart(calibration.root, f"--trusted {trusted}", output)
    return calibration
