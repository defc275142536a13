"""``report``: rebuild the report of a finished run."""

from pathlib import Path

from pipelines.jobs.clean import check_valid, read_summary
from pipelines.report.page import write_report
from pipelines.report.validation import validate_run
from pipelines.runs.output import read_manifest
from sanitizer.errors import InputError


def report(output: str | Path) -> Path:
    """Validate a finished ``clean`` run again and rewrite ``output/report/``.

    Returns:
        The path of ``index.html``.

    Raises:
        InputError: ``output`` holds no finished run of ``clean``.
        RunError: what is on disk is no longer what was written.
    """
    output = Path(output)
    manifest = read_manifest(output)
    if manifest is None or manifest["job"] != "clean":
        raise InputError(
            f"{output} holds no finished run of freqsan clean (no manifest.json of it)"
        )
    try:
        summary = read_summary(output)
        rows = [
            shard["files"][name]["rows"]
            for shard in manifest["shards"]
            for name in shard["files"]
            if name.startswith("scores/")
        ]
        check_valid(output, validate_run(output, rows, summary))
        return write_report(output, summary)
    except (OSError, ValueError, KeyError, TypeError) as error:
        # ValueError is also what Arrow says of a damaged Parquet file.
        raise InputError(
            f"{output} is damaged ({type(error).__name__}: {error}); clean again with --overwrite"
        ) from error
