"""What the jobs that judge share: their options and their calibration."""

from pathlib import Path
from typing import Any

from detector.model import Detector
from pipelines.judging.calibration import Calibration, calibrate
from pipelines.runs.guards import check_apart
from pipelines.runs.job import Settings


def judging_options(
    identity: str, max_clean_loss: float, trusted: str | Path | None, calibration: Calibration
) -> dict[str, Any]:
    """The settings that decide scores and verdicts."""
    return {
        "detector": identity,
        "policy": "budget",
        "max_clean_loss": max_clean_loss,
        "trusted": None if trusted is None else str(trusted),
        "calibration_sha256": calibration.digest(),
    }


def calibrate_apart(
    detector: Detector,
    max_clean_loss: float,
    trusted: str | Path | None,
    output: Path,
    settings: Settings,
) -> Calibration:
    """The calibration of a judging job, from images that OUTPUT neither holds nor lies in.

    Raises:
        InputError: as :func:`pipelines.judging.calibration.calibrate`, or ``trusted`` and
            ``output`` lie within each other: ``overwrite`` would delete it.
    """
    calibration = calibrate(
        detector,
        max_clean_loss,
        trusted,
        image_column=settings.image_column,
        workers=settings.workers,
        quiet=settings.quiet,
    )
    check_apart(calibration.root, f"--trusted {trusted}", output)
    return calibration
