"""What is measured in a cell: poison a set in memory, score it, scan it, compare with the truth."""

import signal
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.evaluation.looked import CleanSet, Looked
from pipelines.evaluation.records import Called, Cell, CellPlan, Cost, Planted, Seconds, SetFacts
from pipelines.evaluation.scanning import SetScan, scan_set
from pipelines.evaluation.sets import OpenSet
from pipelines.judging.classes import Classes
from pipelines.judging.decided import Decided, Scanned
from pipelines.judging.score import Scorer, ScoreStep, gathered, label_type
from pipelines.judging.split import judged_by, verdict_rows
from pipelines.poisoning.facts import PoisonCounts, PoisonTally
from pipelines.poisoning.poison import poison_batch
from pipelines.poisoning.recipe import ATTACK, IS_POISONED, Recipe
from pipelines.poisoning.request import PoisonRequest
from pipelines.runs.threads import share_cores
from pipelines.sources.base import Samples
from sanitizer.detection import Detection, Flagged
from sanitizer.policy import Policy
from sanitizer.records import POISONED, ScoredSample, scored_schema, to_batch
from sanitizer.summary import class_name, label_key


@dataclass(frozen=True)
class _Truth:
    """A set with poison in it."""

    looked: Looked
    kinds: np.ndarray  #: (n,) each one of ``sanitizer.detection.KINDS``
    counts: PoisonCounts | None  #: None where there is no poison
    poison_cost: Seconds
    score_cost: Seconds


@dataclass
class Bench:
    """Measures cells, one after another; keeps the clean set of the last one.

    Cells of a set and an encoding next to each other take the least time.
    """

    sets: dict[SetFacts, OpenSet]
    scorer: Scorer | None  #: None: nothing is scored
    policy: Policy
    code: str  #: digest of the code that measures
    _clean: tuple[tuple[SetFacts, str], CleanSet] | None = field(default=None, repr=False)

    def measure(self, plan: CellPlan) -> Cell:
        """Do all of one cell.

        Raises:
            InputError: an image is too small for the trigger, or the set cannot be read.
        """
        opened = self.sets[plan.set]
        truth = self._truth(plan, opened)
        began = Seconds.now()
        found = scan_set(truth.looked, opened.source.class_names) if plan.scan else None
        cost = Cost(truth.poison_cost, truth.score_cost, Seconds.since(began))
        return self._cell(plan, truth, found, cost)

    def _truth(self, plan: CellPlan, opened: OpenSet) -> _Truth:
        clean = self._clean_set(plan)
        images = len(clean.looked.samples)
        kinds = np.full(images, "clean", "<U8")
        if plan.planted is None:
            return _Truth(clean.looked, kinds, None, Seconds(0, 0), clean.cost)
        began = Seconds.now()
        touched, tallies, first = [], [], 0
        recipe = self._recipe(plan.planted, opened)
        for piece in clean.pieces:
            here = kinds[first : first + len(piece)]
            pieces, tally = _poisoned(recipe, piece, here)
            touched += pieces
            tallies.append(tally)
            first += len(piece)
        poison_cost = Seconds.since(began)
        rows = np.flatnonzero(kinds != "clean")
        began = Seconds.now()
        looked = clean.looked.replaced(rows, Looked.at(self._step(opened, plan), touched))
        score_cost = Seconds.since(began) + clean.cost.times(1 - len(rows) / images)
        counts = PoisonTally.total(tallies).counts
        return _Truth(looked, kinds, counts, poison_cost, score_cost)

    def _clean_set(self, plan: CellPlan) -> CleanSet:
        key = plan.set, plan.encoding
        if self._clean is None or self._clean[0] != key:
            self._clean = None  # two large sets need not be in memory at a time
            opened = self.sets[plan.set]
            clean = CleanSet.load(opened, plan.encoding, self._step(opened, plan))
            self._clean = key, clean
        return self._clean[1]

    def _step(self, opened: OpenSet, plan: CellPlan) -> ScoreStep:
        source = opened.source
        schema = scored_schema(label_type(source))
        return ScoreStep(source.image_column, source.label_column, schema, self.scorer, plan.scan)

    @staticmethod
    def _recipe(planted: Planted, opened: OpenSet) -> Recipe:
        request = PoisonRequest.checked(
            attack=planted.attack,
            attack_settings=planted.attack_settings,
            rate=planted.rate,
            target_label=planted.target_label,
            clean_label=planted.clean_label,
            all_to_all=planted.all_to_all,
            encode=planted.encode,
        )
        return request.recipe(opened.source, opened.labels, planted.target_label, planted.draw)

    def _cell(self, plan: CellPlan, truth: _Truth, found: SetScan | None, cost: Cost) -> Cell:
        samples, kinds = truth.looked.samples, truth.kinds
        schema = scored_schema(label_type(self.sets[plan.set].source))
        scores = np.array([_or_nan(sample.score) for sample in samples])
        score = scan = both = None
        if self.scorer is not None:
            score = Detection.of(kinds, scores, self._removed(samples, schema, None))
        if found is not None:
            carries = np.array([_carries(found, row) for row in range(len(samples))], bool)
            searched = np.isin(np.arange(len(samples)), list(found.carried))
            scan = Flagged.counted(kinds, searched, carries)
        if score is not None and found is not None:
            judged = np.isfinite(scores) | searched
            both = Flagged.counted(kinds, judged, self._removed(samples, schema, found))
        labels = np.array([label_key(sample.label) for sample in samples])
        scanned = found.scanned.labels if found else frozenset()
        planted, names = plan.planted, self.sets[plan.set].source.class_names
        target = None if planted is None else class_name(label_key(planted.target_label), names)
        return Cell(
            plan=plan,
            code=self.code,
            images=len(samples),
            counts=truth.counts,
            target=target,
            score=score,
            scan=scan,
            both=both,
            searched=len(scanned),
            infected=tuple(sorted(scanned.intersection(labels[kinds == "poisoned"]))),
            called=() if found is None else _called(found, kinds),
            cost=cost,
        )

    def _removed(
        self, samples: list[ScoredSample], schema: pa.Schema, found: SetScan | None
    ) -> np.ndarray:
        """(n,) bool: what ``clean`` calls poisoned, by the scores and what a scan has found."""
        scanned = Scanned() if found is None else found.scanned
        carried = {} if found is None else found.carried
        table = pa.Table.from_batches([to_batch(samples, schema)])
        scored = gathered(lambda: [table], self.scorer, self.policy.max_clean_loss)
        decision = Decided.of(scored, Classes(), scanned, self.policy).decision
        rows = verdict_rows(judged_by(scored.own, table), carried, decision, "")
        return np.array([row.verdict == POISONED for row in rows], bool)


def _poisoned(
    recipe: Recipe, piece: Samples, kinds: np.ndarray
) -> tuple[list[Samples], PoisonTally]:
    """The images of a piece of a set that were triggered, and what was done to it.

    Args:
        kinds: of its rows, written to.
    """
    done = poison_batch(recipe, piece.batch, piece.unread)
    touched = pc.is_valid(done.batch[ATTACK]).to_numpy(zero_copy_only=False)
    poisoned = done.batch[IS_POISONED].to_numpy(zero_copy_only=False)
    kinds[touched], kinds[poisoned] = "cover", "poisoned"
    rows = np.flatnonzero(touched)
    if not len(rows):
        return [], done.tally
    return [Samples(done.batch.take(rows), [piece.files[row] for row in rows])], done.tally


def _called(found: SetScan, kinds: np.ndarray) -> tuple[Called, ...]:
    return tuple(
        Called(
            label=finding.label,
            class_name=finding.class_name,
            images=finding.images,
            poisoned=int((kinds[found.members[finding.name]] == "poisoned").sum()),
            reason=finding.reason,
            evidence=finding.evidence,
            separations=finding.separations,
        )
        for finding in found.scanned.findings
    )


def _carries(found: SetScan, row: int) -> bool:
    carried = found.carried.get(row)
    return carried is not None and carried.finding is not None


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


# --- In processes beside each other ---------------------------------------------------------

_bench: Bench | None = None


def begin(bench: Bench, workers: int) -> None:
    """Make one of so many worker processes ready for :func:`measure`."""
    global _bench
    _bench = bench
    share_cores(workers, of_scipy=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the process that waits for us


def measure(plan: CellPlan) -> Cell:
    """:meth:`Bench.measure` in a worker process."""
    assert _bench is not None
    return _bench.measure(plan)
