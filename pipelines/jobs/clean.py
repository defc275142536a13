"""``clean``: write the clean and the poisoned part of a set, and say why."""

import functools
import json
from pathlib import Path
from typing import Any

from pipelines.judging.calibration import (
    DEFAULT_DETECTOR,
    ChosenCalibration,
    budget,
    load_detector,
)
from pipelines.judging.options import calibrate_apart, judging_options
from pipelines.judging.score import JudgeStep
from pipelines.report.page import write_report
from pipelines.report.validation import Validation, Validator
from pipelines.runs.cards import write_card
from pipelines.runs.job import Settings, run_job
from pipelines.runs.output import Output, Receipt
from pipelines.runs.shards import write_json
from pipelines.sources.base import Source
from sanitizer.errors import RunError
from sanitizer.records import CLEAN, POISONED, REJECTED
from sanitizer.summary import empty_summary, finish_summary, merge


def clean(
    input: str | Path,
    output: str | Path,
    *,
    detector: str = DEFAULT_DETECTOR,
    max_clean_loss: float = 0.01,
    trusted: str | Path | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Split an image set into clean, poisoned and rejected samples.

    Args:
        input: folder of images, Parquet, WebDataset tars, saved dataset or Hub id.
        output: a new or empty directory, or one that holds an unfinished run of the same.
        detector: name of a bundled detector, or directory of one.
        max_clean_loss: the share of clean images that may be lost, above 0, at most 0.5.
        trusted: clean images to calibrate on, any kind of input; None: the detector's own.
        settings: as in :class:`pipelines.runs.job.Settings`.

    Returns:
        The manifest, as written to ``output/manifest.json``.

    Raises:
        InputError: bad usage or input. What was not seen before the work began, such as a
            corrupt file, leaves an unfinished run behind, without a manifest.
        RunError: the run failed; what was finished is kept for the next run.
    """
    chosen, output = Settings(**settings), Path(output)
    policy = budget(max_clean_loss)
    loaded = load_detector(detector)
    source = chosen.open(input)
    calibration = calibrate_apart(loaded, policy, trusted, output, chosen)
    validator = Validator()
    try:
        return run_job(
            "clean",
            source,
            output,
            JudgeStep.of(source, detector, calibration, policy, chosen.workers, split=True),
            judging_options(loaded.identity, policy, trusted, calibration),
            functools.partial(
                _finish,
                source=source,
                identity=loaded.identity,
                calibration=calibration,
                max_clean_loss=max_clean_loss,
                validator=validator,
            ),
            what="cleaning",
            needed_bytes=source.nbytes,
            settings=chosen,
        )
    finally:
        validator.close()


def _finish(
    output: Output,
    receipts: list[Receipt],
    *,
    source: Source,
    identity: str,
    calibration: ChosenCalibration,
    max_clean_loss: float,
    validator: Validator,
) -> dict[str, Any]:
    """Validate what was written, then report on it; the manifest's facts are returned."""
    merged = functools.reduce(merge, (r.summary for r in receipts), empty_summary())
    summary = finish_summary(merged, source.class_names) | {
        "max_clean_loss": max_clean_loss,
        "calibration": calibration.facts(max_clean_loss).to_json(),
        "detector": identity,
        "source": {
            "location": source.location,
            "kind": source.kind,
            "image_column": source.image_column,
            "notes": list(source.notes),
        },
        "versions": output.plan["versions"],
    }
    write_json(output.path / "report" / "summary.json", summary)
    rows = [r.summary["rows"] for r in receipts]
    check_valid(output.path, validator.validate(output.path.absolute(), rows, summary))
    write_report(output.path, summary)
    counts = summary["counts"]
    write_card(
        output.path,
        receipts,
        # load_dataset fails on a split without a row, so an empty one is not announced.
        [split for split in (CLEAN, POISONED) if counts[split]],
        "Image set cleaned by freqsan",
        f"Of {counts['read']:,} images {counts[CLEAN]:,} passed, {counts[POISONED]:,} were "
        f"removed and {counts[REJECTED]:,} could not be judged (`rejected/`). "
        "`report/index.html` shows why.",
        source.schema,
        source.image_column,
    )
    return {
        "counts": counts,
        "rejected_by_reason": summary["rejected_by_reason"],
        "detector": identity,
        "policy": {"name": "budget", "max_clean_loss": max_clean_loss},
        "threshold": summary["calibration"]["thresholds"],
        "calibration": summary["calibration"],
        "seed": None,  # nothing in this job is drawn at random
    }


def check_valid(output: Path, validation: Validation) -> None:
    """Refuse a run whose validation failed.

    Raises:
        RunError: an expectation failed; ``report/validation.json`` has the whole list.
    """
    if not validation.success:
        raise RunError(
            f"validation failed: {'; '.join(validation.failures)} "
            f"(all in {output / 'report' / 'validation.json'}); do not use this output"
        )


def read_summary(output: Path) -> dict[str, Any]:
    """The summary of a finished run."""
    return dict(json.loads((output / "report" / "summary.json").read_text(encoding="utf-8")))
