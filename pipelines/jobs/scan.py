"""``scan``: search the classes of a set for triggers; nothing is split."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.judging.limits import check_judged, check_poisoned, check_share, unjudged_limit
from pipelines.runs import layout
from pipelines.runs.guards import check_output, check_places
from pipelines.runs.job import Job, NoOptions, Settings
from pipelines.runs.manifest import Manifest
from pipelines.runs.output import Output
from pipelines.runs.public import public
from pipelines.runs.store import Store
from sanitizer.garbage import loading
from sanitizer.policy import FalseDiscovery
from sanitizer.record import Record
from sanitizer.summary import ClassCounts, Counts, ScanFacts

if TYPE_CHECKING:
    from pipelines.judging.split import Outcome


@dataclass(frozen=True)
class ScanSummary(Record):
    """What a run of ``scan`` amounts to, as in ``summary.json``."""

    counts: Counts
    rejected_by_reason: dict[str, int]  #: the most frequent first
    per_class: tuple[ClassCounts, ...]  #: in the order of the labels
    scan: ScanFacts


@dataclass(frozen=True, kw_only=True)
class ScanManifest(Manifest):
    """The manifest of ``scan``."""

    counts: Counts
    rejected_by_reason: dict[str, int]  #: the most frequent first
    scan: ScanFacts


@public
def scan(
    input: str | Path,
    output: str | Path,
    *,
    allow_unjudged: bool = False,
    max_unjudged: float | None = None,
    fail_on_poisoned: float | None = None,
    **settings: Any,
) -> ScanManifest:
    """Search each class of a set for a trigger that its images share; no detector is needed.

    Args:
        input: folder of images, Parquet, WebDataset tars, saved dataset or Hub id.
        output: a new or empty directory, or one that holds an unfinished run of the same; a
            path, or a URL such as ``s3://bucket/folder``. A row for each image goes to
            ``output/scores/``, what was found to ``output/findings/``.
        allow_unjudged, max_unjudged, fail_on_poisoned: as for ``clean``.
        settings: as in :class:`pipelines.runs.job.Settings`.

    Returns:
        The manifest, as written to ``output/manifest.json``.

    Raises:
        InputError: bad usage or input.
        RunError: the run failed; what was finished is kept for the next run.
        UnjudgedError: more than ``max_unjudged`` could not be judged; the output is complete.
        PoisonedError: more than ``fail_on_poisoned`` is poisoned; the output is complete.
    """
    chosen, store = Settings(**settings), Store.at(output)
    unjudged_at_most = unjudged_limit(max_unjudged, allow_unjudged=allow_unjudged)
    if fail_on_poisoned is not None:
        check_share("fail on poisoned", fail_on_poisoned)
    check_output(store)
    source = chosen.open(input)
    check_places(source, store)
    # A second to load, after all that can be refused without it.
    with loading():
        from pipelines.judging.scan import ScanPass, write_findings
        from pipelines.judging.score import ScorePass
        from pipelines.judging.split import VerdictPass

    def finish(written: Output, common: Manifest, made: "Outcome") -> ScanManifest:
        tally = made.tally
        summary = ScanSummary(
            tally.counts(),
            tally.rejected_by_reason(),
            tally.per_class(source.class_names),
            made.scan_facts(),
        )
        written.write_json(layout.SCORE_SUMMARY, summary.to_json())
        write_findings(written, made.decided.scanned)
        return ScanManifest.of(
            common,
            counts=summary.counts,
            rejected_by_reason=summary.rejected_by_reason,
            scan=summary.scan,
        )

    # Without scores a policy has nothing to decide; findings alone do.
    policy = FalseDiscovery()
    look = ScorePass(source, None, policy, True, doing="reading")
    manifest = Job(
        name="scan",
        source=source,
        store=store,
        passes=[
            look,
            ScanPass(source, policy, look.name),
            VerdictPass(source, "", False, doing="judging"),
        ],
        options=NoOptions(),
        finish=finish,
        manifest=ScanManifest,
    ).run(chosen)
    return check_poisoned(check_judged(manifest, unjudged_at_most), fail_on_poisoned)
