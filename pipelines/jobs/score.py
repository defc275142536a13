"""``score``: score rows for every image, nothing split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.bundled import DEFAULT_DETECTOR
from pipelines.judging.coverage import look_ahead
from pipelines.judging.limits import check_judged, check_poisoned, check_share, unjudged_limit
from pipelines.judging.policies import (
    DEFAULT_POLICY,
    choose_policy,
    find_detector,
    open_signatures,
    open_trusted,
)
from pipelines.runs import layout
from pipelines.runs.guards import check_output, check_places
from pipelines.runs.job import Job, Settings
from pipelines.runs.manifest import Manifest
from pipelines.runs.output import Output
from pipelines.runs.public import public
from pipelines.runs.store import Store
from sanitizer.fit import CalibrationFit
from sanitizer.garbage import loading
from sanitizer.policy import Decision
from sanitizer.record import Record
from sanitizer.summary import (
    CalibrationFacts,
    ClassCounts,
    Counts,
    Histogram,
    PolicyFacts,
    SignatureFacts,
)

if TYPE_CHECKING:
    from pipelines.judging.split import Outcome


@dataclass(frozen=True)
class ScoreSummary(Record):
    """What a run of ``score`` amounts to, as in ``summary.json``."""

    counts: Counts
    rejected_by_reason: dict[str, int]  #: the most frequent first
    per_class: tuple[ClassCounts, ...]  #: in the order of the labels
    score_histogram: Histogram


@dataclass(frozen=True, kw_only=True)
class ScoreManifest(Manifest):
    """The manifest of ``score``."""

    counts: Counts
    rejected_by_reason: dict[str, int]  #: the most frequent first
    detector: str  #: name and digest
    policy: PolicyFacts
    decision: Decision
    calibration: CalibrationFacts
    fit: CalibrationFit  #: whether the calibration fits the set
    signatures: tuple[SignatureFacts, ...]  #: triggers of other sets that were looked for


@public
def score(
    input: str | Path,
    output: str | Path,
    *,
    detector: str | Path = DEFAULT_DETECTOR,
    policy: str = DEFAULT_POLICY,
    max_clean_loss: float | None = None,
    fdr: float | None = None,
    trusted: str | Path | None = None,
    signature: Sequence[str | Path] = (),
    allow_unjudged: bool = False,
    max_unjudged: float | None = None,
    fail_on_poisoned: float | None = None,
    **settings: Any,
) -> ScoreManifest:
    """Write a score row for every image of a set; nothing is split.

    Args:
        input: folder of images, Parquet, WebDataset tars, saved dataset or Hub id.
        output: a new or empty directory, or one that holds an unfinished run of the same; a
            path, or a URL such as ``s3://bucket/folder``. The rows go to ``output/scores/``.
        detector, policy, max_clean_loss, fdr, trusted, signature: as for ``clean``.
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
    decides = choose_policy(policy, max_clean_loss, fdr)
    address = find_detector(detector)
    known = open_signatures(signature)
    check_output(store)
    known_good = open_trusted(trusted, store, chosen)
    source = chosen.open(input)
    check_places(source, store)
    look_ahead(source, quiet=chosen.quiet)
    # A second to load, after all that can be refused without it.
    with loading():
        from pipelines.judging.judging import Judging

    judging = Judging.begin(address, decides, known_good, chosen, scan=False, known=known)

    def finish(written: Output, common: Manifest, made: "Outcome") -> ScoreManifest:
        tally = made.tally
        summary = ScoreSummary(
            tally.counts(),
            tally.rejected_by_reason(),
            tally.per_class(source.class_names),
            tally.score_histogram(),
        )
        written.write_json(layout.SCORE_SUMMARY, summary.to_json())
        return ScoreManifest.of(
            common,
            counts=summary.counts,
            rejected_by_reason=summary.rejected_by_reason,
            detector=judging.detector.identity,
            policy=PolicyFacts.of(judging.policy),
            decision=made.decision,
            calibration=judging.calibration.facts(
                made.decision.limit, made.decided.scored.sizes, made.decided.scored.own
            ),
            fit=made.decided.known_fit,
            signatures=tuple(one.facts(tally.findings) for one in judging.known),
        )

    manifest = Job(
        name="score",
        source=source,
        store=store,
        passes=judging.passes(source, split=False),
        options=judging.options(),
        finish=finish,
        manifest=ScoreManifest,
    ).run(chosen)
    return check_poisoned(check_judged(manifest, unjudged_at_most), fail_on_poisoned)
