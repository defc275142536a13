"""``--dry-run``: what a run would find, and how long and how much it would take; writes nothing."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector.bundled import DEFAULT_DETECTOR
from pipelines.judging.limits import check_share, unjudged_limit
from pipelines.judging.policies import (
    DEFAULT_POLICY,
    choose_policy,
    find_detector,
    open_signatures,
    open_trusted,
)
from pipelines.report.page import SPECTRUM_IMAGES
from pipelines.runs import layout
from pipelines.runs.guards import check_output, check_places, free_space
from pipelines.runs.job import FEWEST_SHARDS, Settings
from pipelines.runs.manifest import InputFacts
from pipelines.runs.public import public
from pipelines.runs.store import Store
from pipelines.sources.base import Source
from sanitizer.errors import InputError, one_line
from sanitizer.garbage import loading
from sanitizer.record import Record
from sanitizer.summary import kinds_in_words

#: The jobs that can be tried.
JOBS = ("clean", "score", "scan")

#: Seconds to check and report on a finished run of ``clean``, for each second that this process
#: took to load: by measurement on one machine, which others are faster or slower than as a whole.
REPORT_PER_LOADING = 1.5


@dataclass(frozen=True)
class Looked(Record):
    """What was seen of some of the images."""

    images: int
    formats: dict[str, int]  #: the most frequent first
    sides: tuple[int, int, int] | None  #: smallest, median and largest longest side, px; None: none
    rejected_by_reason: dict[str, int]  #: that could not be judged, the most frequent first
    first_reject: str  #: id and reason of one; empty where all can be judged
    seconds: float  #: that looking took


@dataclass(frozen=True)
class DryRun(Record):
    """What a run would find, and what it would take."""

    job: str
    input: InputFacts
    images: int  #: about, where ``counted`` is false
    counted: bool
    bytes: int  #: of the files of the input; 0 where that is not known
    columns: tuple[str, ...]  #: of the input
    image_column: str
    label_column: str | None
    classes: int  #: among the images that were looked at, where ``counted`` is false
    looked: Looked
    processes: int
    seconds: float  #: from start to end
    seconds_of: dict[str, float]  #: the same, by what is done
    output_bytes: int  #: that stay in OUTPUT
    working_bytes: int  #: that OUTPUT holds beside, until the run is finished
    free_bytes: int | None  #: where OUTPUT would be; None where that cannot be known
    memory_bytes: int  #: of all processes together
    notes: tuple[str, ...]  #: what the estimate does not hold for

    @property
    def words(self) -> str:
        """For people."""
        about = "" if self.counted else "about "
        size = f", {_amount(self.bytes)}" if self.bytes else ""
        labels = (
            f"labels in {self.label_column!r}, {self.classes:,} classes"
            + ("" if self.counted else " seen")
            if self.label_column
            else "no labels"
        )
        looked = self.looked
        rejected = sum(looked.rejected_by_reason.values())
        judged = (
            f"{rejected:,} of them cannot be judged ({kinds_in_words(looked.rejected_by_reason)}), "
            f"such as {looked.first_reject}"
            if rejected
            else "all of them can be judged"
        )
        sides = ""
        if looked.sides is not None:
            least, middle, most = looked.sides
            sides = f", {least} px" if least == most else f", {least} to {most} px, mostly {middle}"
        parts = ", ".join(f"{doing} {_duration(s)}" for doing, s in self.seconds_of.items())
        free = "" if self.free_bytes is None else f"; {_amount(self.free_bytes)} are free"
        lines = [
            f"input     {self.input.kind}: {about}{self.images:,} images{size}; {labels}",
            f"columns   {', '.join(self.columns)}; images in {self.image_column!r}",
            *(f"note      {note}" for note in self.input.notes),
            f"looked at {looked.images:,} images ({kinds_in_words(looked.formats)}{sides}) in "
            f"{looked.seconds:.0f} s: {judged}",
            f"time      about {_duration(self.seconds)} by {_processes(self.processes)} ({parts})",
            f"disk      about {_amount(self.output_bytes)}, and until the end "
            f"{_amount(self.working_bytes)} more{free}",
            f"memory    about {_amount(self.memory_bytes)}",
            *(f"but       {note}" for note in self.notes),
        ]
        return "\n".join(map(one_line, lines))


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _amount(size: int) -> str:
    """Bytes for people.

    >>> _amount(1_234_567), _amount(20_000_000_000)
    ('1.2 MB', '20.0 GB')
    """
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def _duration(seconds: float) -> str:
    """Seconds for people.

    >>> _duration(7.3), _duration(200), _duration(9000)
    ('7 s', '3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@public
def dry_run(
    input: str | Path,
    output: str | Path,
    *,
    job: str = "clean",
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
) -> DryRun:
    """Tell what ``clean``, ``score`` or ``scan`` would find, and what it would take.

    A few hundred images from all over the set are judged, for some seconds, in this process; what
    comes of it goes nowhere. Nothing is written.

    Args:
        input, output: as for the job.
        job: ``"clean"``, ``"score"`` or ``"scan"``.
        detector, policy, max_clean_loss, fdr, trusted, scan, signature: as for ``clean``.
        allow_unjudged, max_unjudged, fail_on_poisoned: as for ``clean``; checked, and no more.
        settings: as in :class:`pipelines.runs.job.Settings`.

    Raises:
        InputError: bad usage or input, as the job would find it before its work begins.
    """
    began = time.perf_counter()
    if job not in JOBS:
        raise InputError(f"job: expected one of {', '.join(JOBS)}, got {job!r}")
    chosen, store = Settings(**settings), Store.at(output)
    unjudged_limit(max_unjudged, allow_unjudged=allow_unjudged)
    if fail_on_poisoned is not None:
        check_share("fail on poisoned", fail_on_poisoned)
    decides = choose_policy(policy, max_clean_loss, fdr)
    address = find_detector(detector)
    known = open_signatures(signature)
    check_output(store)
    open_trusted(trusted, store, chosen)
    source = chosen.open(input)
    check_places(source, store)
    with loading():
        from pipelines.judging.judging import Judging
        from pipelines.judging.sampling import (
            Stopwatch,
            judge_some,
            peak_of_this_process,
            search_cost,
        )
        from pipelines.judging.score import ScorePass
        from sanitizer.scan.scan import LEAST_PICTURES

    scans = job == "scan" or (job == "clean" and scan)
    scorer = None
    if job != "scan":
        scorer = Judging.begin(address, decides, None, chosen, scan=scans, known=known).scorer()
    step = ScorePass(source, scorer, decides, scans or bool(known)).step(None)
    step.setup(chosen.workers)
    loaded = time.perf_counter() - began

    watch = Stopwatch()
    seen = judge_some(source, step, watch)
    images, classes = _classes(source, seen.labels, seen.images, seen.nbytes)
    each = images / max(seen.images, 1)
    timed = images / max(seen.timed, 1)
    processes = max(1, min(chosen.workers, len(source.shards)))
    if len(source.shards) < FEWEST_SHARDS:
        processes = 1
    at_once = chosen.workers if processes == 1 else processes
    seconds_of = {"starting": loaded * (2 if processes > 1 else 1), "scoring": 0.0}
    if scans:
        cost = search_cost(seen.compact, images, max(classes.values(), default=0), watch)
        searched = [count for count in classes.values() if count >= LEAST_PICTURES]
        if cost is not None and searched:
            at_a_time = max(1, min(at_once, len(searched)))
            work = sum(map(cost.of_class, searched))
            seconds_of["scanning"] = (cost.population + work / at_a_time) * watch.slowness
    # Not before all is timed that tells how slow the machine is.
    scoring, copying = seen.scoring * watch.slowness, seen.copying * watch.slowness
    seconds_of["scoring"] = (seen.reading + scoring) * timed / at_once
    if job == "clean":
        seconds_of["splitting"] = (seen.reading + copying) * timed / at_once
        # Some images are decoded once more, one by one; of photographs that is most of the work.
        drawn = min(images, SPECTRUM_IMAGES) * scoring / max(seen.timed, 1)
        seconds_of["reporting"] = loaded * REPORT_PER_LOADING + drawn
    output_bytes = seen.rows * each + (seen.copied * each if job == "clean" else 0)
    return DryRun(
        job=job,
        input=InputFacts(source.location, source.kind, source.notes),
        images=images,
        counted=source.rows is not None,
        bytes=source.nbytes,
        columns=tuple(name for name in source.schema.names if name != "sample_id"),
        image_column=source.image_column,
        label_column=source.label_column,
        classes=len(classes),
        looked=Looked(
            seen.images,
            dict(seen.formats.most_common()),
            _sides(seen.sides),
            dict(seen.rejected.most_common()),
            seen.first_reject,
            time.perf_counter() - began,
        ),
        processes=processes,
        seconds=sum(seconds_of.values()),
        seconds_of=seconds_of,
        output_bytes=round(output_bytes),
        working_bytes=round(seen.working * each),
        free_bytes=free_space(store),
        memory_bytes=peak_of_this_process() * (1 if processes == 1 else processes + 1),
        notes=tuple(_notes(source, store, chosen, trusted is not None, bool(known))),
    )


def _classes(
    source: Source, labels: Counter[object], looked: int, nbytes: int
) -> tuple[int, dict[object, int]]:
    """How many images there are, and of each class; both by those that were looked at, if need be.

    Args:
        labels: of the images that were looked at.
        looked: how many they are.
        nbytes: in them.
    """
    if source.rows is not None and source.label_column is not None and source.root is not None:
        counted: Counter[object] = Counter()
        for piece in source.labels():
            counted.update(map(str, piece.to_pylist()))
        return source.rows, dict(counted)
    images = source.rows
    if images is None:  # of the bytes of a tar the images are nearly all
        images = round(source.nbytes / max(nbytes, 1) * looked) if source.nbytes else looked
    return images, {
        label: round(count * images / max(looked, 1)) for label, count in labels.items()
    }


def _sides(sides: Sequence[int]) -> tuple[int, int, int] | None:
    ordered = sorted(sides)
    return (ordered[0], ordered[len(ordered) // 2], ordered[-1]) if ordered else None


def _notes(source: Source, store: Store, chosen: Settings, trusted: bool, known: bool) -> list[str]:
    """What the estimate leaves out."""
    notes = []
    if store.exists(layout.MANIFEST):
        notes.append("OUTPUT holds a finished run: the same one is not done again")
    if chosen.runner != Settings().runner or chosen.beam_options:
        notes.append(f"it is for this machine, and --runner {chosen.runner} works elsewhere")
    if source.rows is None:
        notes.append("the images are not counted before they are read: their number is a guess")
    if trusted:
        notes.append("to calibrate on --trusted takes as long as to score its images, and is extra")
    if known:
        notes.append("to look for the triggers of --signature is extra")
    return notes
