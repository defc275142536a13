"""``report``: rebuild the report of a finished run."""

from pathlib import Path

from pipelines.jobs.clean import CleanManifest, score_rows
from pipelines.runs import layout
from pipelines.runs.output import read_manifest
from pipelines.runs.public import public
from pipelines.runs.store import Store
from sanitizer.errors import InputError
from sanitizer.summary import Summary


@public
def report(output: str | Path) -> str:
    """Validate a finished ``clean`` run again and rewrite ``output/report/``.

    Returns:
        The address of ``index.html``.

    Raises:
        InputError: ``output`` holds no finished run of ``clean``.
        RunError: what is on disk is no longer what was written.
    """
    store = Store.at(output)
    stored = read_manifest(store)
    if stored is None or stored["job"] != "clean":
        raise InputError(
            f"{store.address} holds no finished run of freqsan clean (no {layout.MANIFEST} of it)"
        )
    from pipelines.report.page import write_page
    from pipelines.report.validation import Validator, check_valid

    try:
        manifest = CleanManifest.from_json(stored)
        summary = Summary.from_json(store.read_json(layout.SUMMARY))
        with Validator() as validator:  # Great Expectations changes the process it is in
            check_valid(store, validator.validate(store, score_rows(manifest), summary))
        write_page(store, summary)
    except (OSError, ValueError) as error:
        # ValueError is also what Arrow says of a damaged Parquet file.
        raise InputError(
            f"{store.address} is damaged ({type(error).__name__}: {error}); clean again with "
            "--overwrite"
        ) from error
    return store.locate(layout.PAGE)
