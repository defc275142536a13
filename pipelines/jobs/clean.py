"""``clean``: write the clean and the poisoned part of a set, and say why."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from detector.bundled import DEFAULT_DETECTOR
from detector.inputs import Box
from pipelines.judging.coverage import look_ahead
from pipelines.judging.limits import check_judged, check_poisoned, check_share, unjudged_limit
from pipelines.judging.policies import (
    DEFAULT_POLICY,
    choose_policy,
    find_detector,
    open_signatures,
    open_trusted,
)
from pipelines.results.card import notebook_card
from pipelines.results.output import InOutput
from pipelines.reviewing.audit import Review
from pipelines.runs import layout
from pipelines.runs.cards import card
from pipelines.runs.checksums import vouch_for_report
from pipelines.runs.guards import check_output, check_places
from pipelines.runs.job import Job, Settings
from pipelines.runs.manifest import Manifest, ShardFacts
from pipelines.runs.output import Output
from pipelines.runs.public import public
from pipelines.runs.store import Store
from pipelines.sources.base import Source
from sanitizer.fit import CalibrationFit
from sanitizer.garbage import loading
from sanitizer.policy import Decision
from sanitizer.records import CLEAN, POISONED
from sanitizer.summary import (
    CalibrationFacts,
    Counts,
    PolicyFacts,
    ScanFacts,
    SignatureFacts,
    SourceFacts,
    Summary,
)

if TYPE_CHECKING:
    from pipelines.judging.judging import Judging
    from pipelines.judging.split import Outcome
    from pipelines.report.validation import Validator


@dataclass(frozen=True, kw_only=True)
class CleanManifest(Manifest, InOutput):
    """The manifest of ``clean``; as its result it also gives what is in OUTPUT."""

    counts: Counts
    rejected_by_reason: dict[str, int]  #: the most frequent first
    detector: str  #: name and digest
    detector_at: str  #: where it was read: a bundled name, or an absolute directory or address
    policy: PolicyFacts
    decision: Decision
    threshold: dict[str, float]  #: by the numbers of parts, the score that is flagged above
    calibration: CalibrationFacts
    fit: CalibrationFit  #: whether the calibration fits the set
    scan: ScanFacts | None  #: what the scan found; None without one
    signatures: tuple[SignatureFacts, ...]  #: triggers of other sets that were looked for
    reviews: tuple[Review, ...] = ()  #: what people have decided since, one after the other
    seed: None = None  #: nothing in this job is drawn at random

    def _card(self, address: str, gone: str) -> str:
        return notebook_card(self, address, gone)


@public
def clean(
    input: str | Path,
    output: str | Path,
    *,
    detector: str | Path = DEFAULT_DETECTOR,
    policy: str = DEFAULT_POLICY,
    max_clean_loss: float | None = None,
    fdr: float | None = None,
    trusted: str | Path | None = None,
    scan: bool = True,
    signature: Sequence[str | Path] = (),
    allow_unjudged: bool = False,
    max_unjudged: float | None = None,
    fail_on_poisoned: float | None = None,
    **settings: Any,
) -> CleanManifest:
    """Split an image set into clean, poisoned and rejected samples.

    Args:
        input: folder of images, Parquet, WebDataset tars, saved dataset or Hub id.
        output: a new or empty directory, or one that holds an unfinished run of the same; a
            path, or a URL such as ``s3://bucket/folder``.
        detector: name of a bundled detector, or directory of one.
        policy: ``"fdr"`` accepts some innocent images among the removed, ``"budget"`` to lose
            some clean images, also of a set that has no others.
        max_clean_loss: the share of clean images that may be lost at most, above 0, at most 0.5;
            None: 0.01.
        fdr: of policy fdr, the share of the removed that may be innocent, above 0, below 1;
            None: 0.05.
        trusted: clean images to calibrate on, any kind of input; None: the detector's own.
        scan: also search each class for a trigger that its images share.
        signature: ``findings/NAME.safetensors`` of an earlier run, or several: triggers that are
            looked for in all images.
        allow_unjudged: do not raise however few of the images could be judged.
        max_unjudged: the share of the images read that may go unjudged, 0 to 1; None: 0.5.
        fail_on_poisoned: the share of the images judged that may be poisoned, 0 to 1; None: any.
        settings: as in :class:`pipelines.runs.job.Settings`.

    Returns:
        The manifest, as written to ``output/manifest.json``. Beside its fields it has the images
        in OUTPUT, such as ``poisoned.head()`` and ``show(12)``, and a notebook shows it as a card.

    Raises:
        InputError: bad usage or input. What was not seen before the work began, such as a
            corrupt file, leaves an unfinished run behind, without a manifest.
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
    # Seconds to load, after all that can be refused without them.
    with loading():
        from pipelines.judging.judging import Judging
        from pipelines.report.validation import Validator

    judging = Judging.begin(address, decides, known_good, chosen, scan=scan, known=known)
    with Validator() as validator:
        manifest = Job(
            name="clean",
            source=source,
            store=store,
            passes=judging.passes(source, split=True),
            options=judging.options(),
            finish=_Finish(source, judging, validator),
            manifest=CleanManifest,
            needed_bytes=source.nbytes,
        ).run(chosen)
    placed = manifest.placed(store)
    return check_poisoned(check_judged(placed, unjudged_at_most), fail_on_poisoned)


@dataclass(frozen=True)
class _Finish:
    """Validates what was written, then reports on it."""

    source: Source
    judging: "Judging"
    validator: "Validator"

    def __call__(self, output: Output, common: Manifest, made: "Outcome") -> CleanManifest:
        from pipelines.judging.scan import write_findings
        from pipelines.report.page import write_pages
        from pipelines.report.validation import check_valid

        store = output.store
        summary = self._summary(common, made)
        output.write_json(layout.SUMMARY, summary.to_json())
        write_findings(output, made.decided.scanned)
        rows = score_rows(common)
        check_valid(store, self.validator.validate(store, rows, summary))
        write_pages(store, summary, len(common.shards), self._locate)
        vouch_for_report(store, [one.name for one in summary.findings])
        output.write(layout.CARD, cleaned_card(summary, common.shards, self.source.schema))
        return CleanManifest.of(
            common,
            counts=summary.counts,
            rejected_by_reason=summary.rejected_by_reason,
            detector=summary.detector,
            detector_at=self.judging.address,
            policy=summary.policy,
            decision=summary.decision,
            threshold=summary.calibration.thresholds,
            calibration=summary.calibration,
            fit=summary.fit,
            scan=summary.scan,
            signatures=summary.signatures,
        )

    def _locate(self, pixels: np.ndarray) -> Box | None:
        return self.judging.detector.most_suspicious(pixels)

    def _summary(self, common: Manifest, made: "Outcome") -> Summary:
        source, judging, tally = self.source, self.judging, made.tally
        return Summary(
            counts=tally.counts(),
            rejected_by_reason=tally.rejected_by_reason(),
            per_class=tally.per_class(source.class_names),
            score_histogram=tally.score_histogram(),
            policy=PolicyFacts.of(judging.policy),
            decision=made.decision,
            calibration=judging.calibration.facts(
                made.decision.limit, made.decided.scored.sizes, made.decided.scored.own
            ),
            fit=made.decided.known_fit,
            scan=made.scan_facts() if judging.scans else None,
            detector=judging.detector.identity,
            source=SourceFacts(source.location, source.kind, source.notes, source.image_column),
            versions=common.versions,
            signatures=tuple(one.facts(tally.findings) for one in judging.known),
        )


def cleaned_card(summary: Summary, shards: Sequence[ShardFacts], schema: pa.Schema) -> bytes:
    """The dataset card of a run.

    Args:
        summary: of the run.
        shards: all of them.
        schema: of the splits.
    """
    from pipelines.report.words import warnings

    splits = {}
    # load_dataset fails on a split without a row, so an empty one is not announced.
    if summary.counts.clean:
        splits[CLEAN] = layout.CLEAN
    if summary.counts.poisoned:
        splits[POISONED] = layout.POISONED
    text = "\n\n".join([*warnings(summary), _counted(summary.counts)])
    title = "Image set cleaned by freqsan"
    return card(shards, splits, title, text, schema, summary.source.image_column)


def _counted(counts: Counts) -> str:
    return (
        f"Of {counts.read:,} images {counts.clean:,} passed, {counts.poisoned:,} were removed and "
        f"{counts.rejected:,} could not be judged (`rejected/`). `{layout.PAGE}` shows why."
    )


def score_rows(manifest: Manifest) -> list[int]:
    """How many samples each shard holds, by its score rows."""
    return [
        facts.rows
        for shard in manifest.shards
        for name, facts in shard.files.items()
        if name.startswith(layout.SCORES.prefix)
    ]
