"""``score``: score rows for every image, nothing split."""

import functools
from pathlib import Path
from typing import Any

from pipelines.judging.calibration import DEFAULT_DETECTOR, budget, load_detector
from pipelines.judging.options import calibrate_apart, judging_options
from pipelines.judging.score import JudgeStep
from pipelines.runs.job import Settings, run_job
from pipelines.runs.output import Output, Receipt
from pipelines.runs.shards import write_json
from sanitizer.summary import empty_summary, finish_summary, merge


def score(
    input: str | Path,
    output: str | Path,
    *,
    detector: str = DEFAULT_DETECTOR,
    max_clean_loss: float = 0.01,
    trusted: str | Path | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Score an image set into ``output/scores/``; arguments and errors as for ``clean``."""
    chosen, output = Settings(**settings), Path(output)
    policy = budget(max_clean_loss)
    loaded = load_detector(detector)
    source = chosen.open(input)
    calibration = calibrate_apart(loaded, policy, trusted, output, chosen)

    def finish(written: Output, receipts: list[Receipt]) -> dict[str, Any]:
        merged = functools.reduce(merge, (r.summary for r in receipts), empty_summary())
        summary = finish_summary(merged, source.class_names)
        write_json(written.path / "scores" / "summary.json", summary)
        return {
            "counts": summary["counts"],
            "rejected_by_reason": summary["rejected_by_reason"],
            "detector": loaded.identity,
            "calibration": calibration.facts(max_clean_loss).to_json(),
        }

    return run_job(
        "score",
        source,
        output,
        JudgeStep.of(source, detector, calibration, policy, chosen.workers, split=False),
        judging_options(loaded.identity, policy, trusted, calibration),
        finish,
        what="scoring",
        settings=chosen,
    )
