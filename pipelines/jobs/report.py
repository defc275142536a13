"""``report``: check a finished run and rebuild its report."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.jobs.clean import CleanManifest, score_rows
from pipelines.runs import layout
from pipelines.runs.checksums import described, vouch_for_report
from pipelines.runs.earlier import Earlier, Finished
from pipelines.runs.guards import check_folders
from pipelines.runs.lock import locked
from pipelines.runs.output import not_what_was_written
from pipelines.runs.public import public
from pipelines.runs.store import Store
from sanitizer.errors import InputError, RunError
from sanitizer.record import Record
from sanitizer.summary import Summary


@dataclass(frozen=True)
class Checked(Record):
    """A finished run whose results are, to the last bit, what was written."""

    page: str  #: address of ``index.html``
    files: int  #: of the result, that were compared with their checksums
    bytes: int  #: in them
    sha256: str  #: of the manifest, which holds the checksums


@public
def report(output: str | Path) -> Checked:
    """Compare a finished ``clean`` run with its checksums and rewrite ``output/report/``.

    Returns:
        What was checked.

    Raises:
        InputError: ``output`` holds no finished run of ``clean``.
        RunError: what is on disk is no longer what was written. Where that is only the report
            itself, it is rewritten before.
    """
    store = Store.at(output)
    nothing = InputError(
        f"{store.address} holds no finished run of freqsan clean (no {layout.MANIFEST} of it)"
    )
    if not store.exists(layout.MANIFEST):
        raise nothing
    check_folders(store)
    try:
        with locked(store):
            earlier = Earlier.read(store)
            if earlier.broken is not None:
                raise InputError(f"{earlier.broken}; clean again with --overwrite")
            if earlier.finished is None:
                raise nothing
            if (job := earlier.finished.manifest.job) != "clean":
                raise InputError(
                    f"{store.address} holds a run of freqsan {job}, which has no report; "
                    "freqsan clean makes one"
                )
            if earlier.plan is not None and earlier.plan.replaces is not None:
                raise InputError(f"{store.address} is being replaced; clean again with --overwrite")
            return _report(store, earlier.finished)
    except OSError as error:
        raise RunError(f"{error.strerror or error} ({error.filename or store.address})") from error


def _report(store: Store, finished: Finished) -> Checked:
    if changed := finished.changes(store):
        raise RunError(not_what_was_written(store, changed))
    altered = finished.report_changes(store)
    _rebuild(store, finished)
    if altered:
        raise RunError(
            f"{store.address}: {described(altered)} since it was written, and is made anew now; "
            "the results are what freqsan wrote"
        )
    files = finished.results.values()
    return Checked(
        store.locate(layout.PAGE), len(files), sum(f.bytes for f in files), finished.json["sha256"]
    )


def _rebuild(store: Store, finished: Finished) -> None:
    from pipelines.report.page import write_pages
    from pipelines.report.validation import Validator, check_valid

    # Until all is written nobody vouches for any of it.
    store.remove(layout.REPORT_CHECKSUMS)
    try:
        manifest = CleanManifest.from_json(finished.json)
        summary = Summary.from_json(store.read_json(layout.SUMMARY))
        with Validator() as validator:  # Great Expectations changes the process it is in
            check_valid(store, validator.validate(store, score_rows(manifest), summary))
        write_pages(store, summary, len(manifest.shards))
    except ValueError as error:
        # Also what Arrow says of a Parquet file that it cannot read.
        raise InputError(
            f"{store.address} was written by another version ({error}); clean again with "
            "--overwrite"
        ) from error
    vouch_for_report(store, [one.name for one in summary.findings])
