"""``report``: check a finished run and rebuild its report."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.jobs.clean import CleanManifest, score_rows
from pipelines.runs import layout
from pipelines.runs.checksums import described, vouch_for_report
from pipelines.runs.earlier import Finished
from pipelines.runs.output import not_what_was_written
from pipelines.runs.public import public
from pipelines.runs.reopening import reopened
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
    with reopened(store) as finished:
        return _report(store, finished)


def _report(store: Store, finished: Finished) -> Checked:
    if changed := finished.changes(store):
        raise RunError(not_what_was_written(store, changed))
    # After a review that was stopped the report is not yet what it should be.
    altered = {} if store.exists(layout.STALE_REPORT) else finished.report_changes(store)
    rebuild(store, finished)
    if altered:
        raise RunError(
            f"{store.address}: {described(altered)} since it was written, and is made anew now; "
            "the results are what freqsan wrote"
        )
    files = finished.results.values()
    return Checked(
        store.locate(layout.PAGE), len(files), sum(f.bytes for f in files), finished.json["sha256"]
    )


def rebuild(store: Store, finished: Finished) -> None:
    """Write the report of a finished run anew.

    Raises:
        InputError: another version wrote the run.
        RunError: the files of the run are not what they should be.
        OSError: a file cannot be read or written.
    """
    from pipelines.judging.places import locator
    from pipelines.report.page import write_pages
    from pipelines.report.validation import Validator, check_valid

    # Until all is written nobody vouches for any of it.
    store.remove(layout.REPORT_CHECKSUMS)
    try:
        manifest = CleanManifest.from_json(finished.json)
        summary = Summary.from_json(store.read_json(layout.SUMMARY))
        with Validator() as validator:  # Great Expectations changes the process it is in
            check_valid(store, validator.validate(store, score_rows(manifest), summary))
        locate = locator(manifest.detector_at, manifest.detector)
        write_pages(store, summary, len(manifest.shards), locate)
    except ValueError as error:
        # Also what Arrow says of a Parquet file that it cannot read.
        raise written_by_another_version(store, error) from error
    vouch_for_report(store, [one.name for one in summary.findings])
    store.remove(layout.STALE_REPORT)


def written_by_another_version(store: Store, error: ValueError) -> InputError:
    """The line on a run whose records this version cannot read."""
    return InputError(
        f"{store.address} was written by another version ({error}); clean again with --overwrite"
    )
