"""The second pass of ``clean``: each class is searched for a trigger that its images share.

Where a single image shows nothing, a class does. No model is trained: a class is compared with the
others (:mod:`sanitizer.scan`). Its work is by class, not by shard, and the images come from what
the first pass has left.
"""

import functools
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa

from pipelines.judging.classes import Images, read_class, read_sample
from pipelines.judging.decided import Decided, Scanned
from pipelines.runs import layout
from pipelines.runs.output import Output
from pipelines.runs.passes import Finished, Pass, Step, Work
from pipelines.runs.shards import ShardTask
from pipelines.runs.store import Store
from pipelines.runs.threads import share_cores
from pipelines.sources.base import Shard, Source
from sanitizer.metrics import Share
from sanitizer.policy import Policy
from sanitizer.record import Record
from sanitizer.scan.canonical import Compact
from sanitizer.scan.decision import is_of_others
from sanitizer.scan.finding import Finding, labelled, pack
from sanitizer.scan.mirror import search_alone
from sanitizer.scan.mixture import sigmoid
from sanitizer.scan.population import Population
from sanitizer.scan.portrait import Likeness, Portrait
from sanitizer.scan.scan import LEAST_PICTURES, SEARCHED, Found, is_searchable, search
from sanitizer.summary import class_name

#: Images of each kind that a finding names.
NAMED = 12

#: Why an image is not in a class that was searched.
TOO_FEW = f"in a class of fewer than {LEAST_PICTURES} different images, too few to be searched"
UNLIKE_MIRRORED = "in a set without other classes, or nearly so, and unlike its own mirror images"

#: What a class leaves: the figures of each finding, and the file that finds it in other data.
#: The log odds of carrying it are those of all images of the class, by the shard they are in.
FOUND = pa.schema(
    [
        ("finding", pa.string()),
        ("signature", pa.binary()),
        ("log_odds", pa.map_(pa.int32(), pa.list_(pa.float32()))),
    ]
)


@dataclass(frozen=True)
class Searched(Record):
    """What is counted of a class."""

    why_not: str  #: in words, why it could not be; empty where it was


@dataclass(frozen=True)
class ClassSearch:
    """A class that is searched."""

    triggers: Iterable[Found]
    elsewhere: Compact  #: images that it is compared with
    why_not: str  #: as of :class:`Searched`

    @classmethod
    def of(cls, known: Population | None, label: int, sample: Compact) -> Self:
        """Search a class beside the others or, where there are next to none, its mirror images.

        Args:
            known: the set; None where it has one class.
            label: of the class.
            sample: of its images.
        """
        if not is_searchable(sample):
            return cls((), sample[:0], TOO_FEW)
        if known is not None and known.can_compare(label):
            return cls(search(known, label, sample), known.elsewhere(label), "")
        alone = search_alone(sample)
        why_not = "" if alone.comparable else UNLIKE_MIRRORED
        return cls(alone.found, alone.mirrored, why_not)


@dataclass
class ScanStep(Step[Searched]):
    """Search a class, and leave what was found."""

    images_of: str  #: the pass that left the images
    labels: Sequence[str]  #: of the classes of the set
    rows: Sequence[int]  #: images of each
    searched: Sequence[int]  #: numbers of those that are searched
    class_names: Sequence[str] | None
    sample_sha256: str  #: of the sample of the set

    def setup(self, workers: int) -> None:
        share_cores(workers, of_scipy=True)

    def run(self, task: ShardTask) -> tuple[int, Searched]:
        number = self.searched[task.index]
        rows = task.shard.rows or 0
        sample = _sample(self._class(task.store, number), rows)
        artefact = task.open_artefact(FOUND)
        known = population(task.store, self.sample_sha256) if len(self.labels) > 1 else None
        searching = ClassSearch.of(known, number, sample)
        for found in searching.triggers:
            judged = self._judge(task.store, number, found, searching.elsewhere)
            columns = [pa.array([one], f.type) for one, f in zip(judged, FOUND, strict=True)]
            artefact.write(pa.record_batch(columns, schema=FOUND))
        task.finish()
        return rows, Searched(searching.why_not)

    def _class(self, store: Store, number: int) -> Iterator[Images]:
        return read_class(store, self.images_of, number)

    def _judge(
        self, store: Store, number: int, found: Found, elsewhere: Compact
    ) -> tuple[str, bytes, list[tuple[int, np.ndarray]]]:
        """What is found, as JSON and packed, and what it says of all images of the class."""
        by_shard, ids, start = [], [], 0
        sample = np.flatnonzero(looked_at(self.rows[number]))
        carriers = others = Likeness.none()
        for images in self._class(store, number):
            own = found.log_odds_of(images.seen, sample, start)
            carriers += Likeness.of(images.seen[own > 0])
            others += Likeness.of(images.seen[own <= 0])
            by_shard.append((images.shard, own.astype(np.float32)))
            ids += images.ids
            start += len(own)
        log_odds = np.concatenate([own for _, own in by_shard])
        finding = finding_of(found, self.labels[number], self.class_names, log_odds, ids)
        expected = Likeness.of(elsewhere) if is_of_others(found.evidence) else others
        portrait = Portrait.of(carriers, others, expected)
        return json.dumps(finding.to_json()), pack(found.signature, portrait), by_shard


_making = threading.Lock()


def population(store: Store, sample_sha256: str) -> Population:
    """What the classes of a set are compared with, made once in a process."""
    with _making:
        return _population(store, sample_sha256)


@functools.lru_cache(maxsize=1)
def _population(store: Store, sample_sha256: str) -> Population:
    return Population.of(*read_sample(store), np.random.default_rng(0))


def finding_of(
    found: Found,
    label: str,
    class_names: Sequence[str] | None,
    log_odds: np.ndarray,
    ids: Sequence[str],
) -> Finding:
    """The figures of what was found in a class, without a name.

    Args:
        found: in the class.
        label: of the class, a :func:`sanitizer.summary.label_key`.
        class_names: of the set, where it has some.
        log_odds: (n,) of carrying it, of all images of the class.
        ids: of these images.
    """
    carries = log_odds > 0
    first = np.array(ids, object)[np.argsort(-log_odds, kind="stable")]
    count = int(carries.sum())
    return Finding(
        name="",  # given by the driver, which knows of all
        label=label,
        class_name=class_name(label, class_names),
        reason=found.reason,
        images=Share.counted(carries),
        innocents=float((1 - sigmoid(log_odds[carries])).sum()),
        evidence=found.evidence,
        separations=found.separations,
        screening=found.screening,
        strongest=tuple(first[: min(count, NAMED)]),
        weakest=tuple(first[max(0, count - NAMED) : count][::-1]),
        nearest=tuple(first[count : count + NAMED]),
    )


def write_findings(output: Output, scanned: Scanned) -> None:
    """Write the figures of each finding, and what finds it in other data."""
    for finding, data in zip(scanned.findings, scanned.packed, strict=True):
        output.write(layout.signature(finding.name), labelled(data, finding))
        output.write_json(layout.finding(finding.name), finding.to_json())


def _sample(images: Iterator[Images], rows: int) -> Compact:
    """All images of a class, or ``SEARCHED`` at random."""
    chosen, kept, start = looked_at(rows), [], 0
    for some in images:
        kept.append(some.seen[chosen[start : start + len(some.ids)]])
        start += len(some.ids)
    return Compact.joined(kept)


def looked_at(rows: int) -> np.ndarray:
    """(rows,) bool: which images of a class are searched, at most ``SEARCHED`` at random."""
    chosen = np.ones(rows, bool)
    if rows > SEARCHED:
        chosen[np.random.default_rng(0).permutation(rows)[SEARCHED:]] = False
    return chosen


def searched(rows: Sequence[int]) -> list[int]:
    """The numbers of the classes that are searched, those that are large enough.

    The largest come first: one worker would be busy with it at the end while the others wait.

    Args:
        rows: images of each class.
    """
    enough = [number for number, count in enumerate(rows) if count >= LEAST_PICTURES]
    return sorted(enough, key=lambda number: -rows[number])


@dataclass
class ScanPass(Pass[Decided, Searched, Decided]):
    """Search every class; then the policy decides over findings and p-values."""

    name: ClassVar[str] = "scan"
    counts: ClassVar[type[Record]] = Searched

    source: Source
    policy: Policy
    images_of: str  #: the pass that left the images
    doing: str = "scanning"

    def work(self, given: Decided, source: Source, store: Store) -> Work:
        rows = [given.classes.rows[number] for number in searched(given.classes.rows)]
        return Work([Shard(0, 0, 0, count) for count in rows], sum(rows))

    def step(self, given: Decided) -> Step[Searched]:
        return ScanStep(
            images_of=self.images_of,
            labels=given.classes.labels,
            rows=given.classes.rows,
            searched=searched(given.classes.rows),
            class_names=self.source.class_names,
            sample_sha256=given.classes.sample_sha256,
        )

    def merge(self, given: Decided, finished: Finished[Searched]) -> Decided:
        _population.cache_clear()  # some two hundred megabytes
        findings: list[Finding] = []
        packed: list[bytes] = []
        log_odds: list[dict[int, np.ndarray]] = []
        classes = given.classes
        numbers = searched(classes.rows)
        # Findings are named in the order of the classes, whichever was searched first.
        in_order = sorted(range(len(numbers)), key=numbers.__getitem__)
        of_classes = replace(finished, receipts=[finished.receipts[i] for i in in_order])
        for table in of_classes.artefacts(FOUND.names):
            for row in table.to_pylist():
                name = f"finding-{len(findings) + 1}"
                findings.append(replace(Finding.from_json(json.loads(row["finding"])), name=name))
                packed.append(row["signature"])
                of_shards = {shard: np.array(own, np.float32) for shard, own in row["log_odds"]}
                log_odds.append(of_shards)
        why_not = dict.fromkeys(classes.labels, TOO_FEW)
        for number, of_class in zip(numbers, finished.counts, strict=True):
            why_not[classes.labels[number]] = of_class.why_not
        scanned = Scanned(tuple(findings), tuple(packed), tuple(log_odds), why_not)
        return given.with_scan(scanned, self.policy)
