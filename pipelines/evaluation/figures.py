"""Cells put together: over draws, over attacks, and clean sets by themselves."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from pipelines.evaluation.records import JUDGES, Cell, SetFacts
from pipelines.judging.options import JudgingOptions
from sanitizer.detection import FPRS, Flagged
from sanitizer.metrics import Estimate, Share, pooled
from sanitizer.record import Record

#: An attack of which less is found than this is listed as a weak one.
WEAK = 0.9


@dataclass(frozen=True)
class Verdicts(Record):
    """Figures of the verdicts of one judge, over all draws; intervals are at 95 %."""

    accuracy: Estimate
    bdr: Estimate
    fpr: Estimate
    cover: Estimate  #: of the cover samples, those that are flagged
    judged: Share  #: of all images, those that the other figures are of

    @classmethod
    def over(cls, flagged: Sequence[Flagged]) -> Self:
        """Of one draw with its own intervals, of several as :func:`sanitizer.metrics.pooled`."""
        return cls(
            pooled([one.accuracy for one in flagged]),
            pooled([one.bdr for one in flagged]),
            pooled([one.fpr for one in flagged]),
            pooled([one.cover for one in flagged]),
            _sum(one.judged for one in flagged),
        )


@dataclass(frozen=True)
class AttackFigures(Record):
    """An attack at a rate, over all draws."""

    attack: str  #: as :attr:`pipelines.evaluation.records.CellPlan.attack`
    rate: float
    draws: int
    poisoned: int  #: images, in all draws
    verdicts: dict[str, Verdicts]  #: by judge, one of ``JUDGES``
    auroc: Estimate | None  #: of the scores; None without them
    bdr_at_fpr: dict[str, Estimate] | None  #: of the scores, by FPR as text; None without them
    wrongly: Share  #: of the scanned classes without poison, those that were called infected
    cpu_seconds: dict[str, float]  #: a draw, to ``score`` and to ``scan``

    @classmethod
    def over(cls, cells: Sequence[Cell]) -> Self:
        """Of the cells of an attack and a rate, a draw each."""
        plan, scores = cells[0].plan, [cell.score for cell in cells if cell.score]
        at = None
        if scores:
            at = {f"{fpr:g}": pooled([score.bdr_at(fpr) for score in scores]) for fpr in FPRS}
        return cls(
            attack=plan.attack,
            rate=plan.rate,
            draws=len(cells),
            poisoned=sum(cell.counts.poisoned for cell in cells if cell.counts),
            verdicts=_by_judge(cells),
            auroc=pooled([score.auroc for score in scores]) if scores else None,
            bdr_at_fpr=at,
            wrongly=_sum(cell.wrongly for cell in cells),
            cpu_seconds=_cpu_seconds(cells),
        )


@dataclass(frozen=True)
class RateFigures(Record):
    """All attacks at a rate.

    The interval is Student's over the means of the attacks, so that it covers the chance of the
    draws and the choice of the attacks; with a single attack it is that attack's own.
    """

    rate: float
    attacks: int
    bdr: dict[str, Estimate]  #: by judge
    fpr: dict[str, Estimate]
    #: By judge, attacks of which less than ``WEAK`` is found, or of which no image was judged.
    weak: dict[str, tuple[str, ...]]
    judged: dict[str, Share]  #: by judge, of all images
    wrongly: Share

    @classmethod
    def over(cls, rows: Sequence[AttackFigures]) -> Self:
        """Of the attacks at one rate, at least one."""
        judges = [judge for judge in JUDGES if judge in rows[0].verdicts]
        return cls(
            rate=rows[0].rate,
            attacks=len(rows),
            bdr={judge: pooled([r.verdicts[judge].bdr for r in rows]) for judge in judges},
            fpr={judge: pooled([r.verdicts[judge].fpr for r in rows]) for judge in judges},
            weak={judge: tuple(r.attack for r in rows if _is_weak(r, judge)) for judge in judges},
            judged={judge: _sum(r.verdicts[judge].judged for r in rows) for judge in judges},
            wrongly=_sum(row.wrongly for row in rows),
        )


@dataclass(frozen=True)
class CleanFigures(Record):
    """False alarms in a set without poison."""

    images: int
    fpr: dict[str, Share]  #: by judge
    called: Share  #: of the scanned classes, those that were called infected
    cpu_seconds: dict[str, float]  #: to ``score`` and to ``scan``


@dataclass(frozen=True)
class Section(Record):
    """All that is known of a set in an encoding, judged in one way."""

    set: SetFacts
    images: int
    encoding: str
    judging: JudgingOptions | None  #: of the scores; None: there are none
    judges: tuple[str, ...]
    attacks: tuple[AttackFigures, ...]
    rates: tuple[RateFigures, ...]
    clean: CleanFigures | None  #: None where the clean set was not evaluated

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> Self:
        """Of the cells of a section, at least one."""
        plan = cells[0].plan
        poisoned = [cell for cell in cells if cell.plan.planted is not None]
        groups = _grouped(poisoned, lambda cell: (cell.plan.attack, cell.plan.rate))
        attacks = sorted(map(AttackFigures.over, groups), key=lambda row: (row.attack, row.rate))
        rates = [
            RateFigures.over([row for row in attacks if row.rate == rate])
            for rate in sorted({row.rate for row in attacks}, reverse=True)
        ]
        clean = [cell for cell in cells if cell.plan.planted is None]
        return cls(
            set=plan.set,
            images=cells[0].images,
            encoding=plan.encoding,
            judging=plan.judging,
            judges=tuple(judge for judge in JUDGES if cells[0].by(judge)),
            attacks=tuple(attacks),
            rates=tuple(rates),
            clean=_clean(clean[0]) if clean else None,
        )


@dataclass(frozen=True)
class Evaluation(Record):
    """What all cells in a folder come to."""

    cells: int
    sections: tuple[Section, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, cells: Sequence[Cell], code: str) -> Self:
        """Put cells together.

        Args:
            cells: all that there are.
            code: digest of today's code.
        """
        groups = _grouped(cells, _section_key)
        others = sum(cell.code != code for cell in cells)
        notes = []
        if others:
            notes.append(
                f"{others:,} of {len(cells):,} cells were measured by other code than this; "
                "evaluate into another folder to have all anew."
            )
        return cls(len(cells), tuple(map(Section.of, groups)), tuple(notes))


def _is_weak(row: AttackFigures, judge: str) -> bool:
    found = row.verdicts[judge].bdr.value
    return row.poisoned > 0 and (found is None or found < WEAK)


def _section_key(cell: Cell) -> tuple[object, ...]:
    plan = cell.plan
    return plan.set.sha256, plan.set.rows, plan.encoding, plan.judging, plan.scan


def _by_judge(cells: Sequence[Cell]) -> dict[str, Verdicts]:
    verdicts = {}
    for judge in JUDGES:
        flagged = [one for one in (cell.by(judge) for cell in cells) if one is not None]
        if flagged:
            verdicts[judge] = Verdicts.over(flagged)
    return verdicts


def _clean(cell: Cell) -> CleanFigures:
    flagged = {judge: one.fpr for judge in JUDGES if (one := cell.by(judge)) is not None}
    return CleanFigures(cell.images, flagged, cell.wrongly, _cpu_seconds([cell]))


def _grouped(cells: Iterable[Cell], key: Callable[[Cell], object]) -> list[list[Cell]]:
    """Cells by a key, in the order in which the keys come first."""
    groups: dict[object, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell)
    return list(groups.values())


def _sum(shares: Iterable[Share]) -> Share:
    several = list(shares)
    return Share.from_counts(sum(s.count for s in several), sum(s.of for s in several))


def _cpu_seconds(cells: Sequence[Cell]) -> dict[str, float]:
    """On average, of what every cell has."""
    costs = {
        "score": [cell.cost.score.cpu for cell in cells],
        "scan": [cell.cost.scan.cpu for cell in cells],
    }
    return {judge: round(sum(several) / len(several), 1) for judge, several in costs.items()}
