"""The figures of a proof by what they are of: its four columns, over one run or several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.proof.records import Run, VictimFigures
from sanitizer.metrics import Estimate, Share, pooled

#: A figure of a run; None where it has none.
Figure = Callable[[Run], Estimate | None]


@dataclass(frozen=True)
class Column:
    """One victim, without rejection or with it: a column of the table and of the drawing."""

    title: str
    victim: Callable[[Run], VictimFigures]
    rejecting: bool = False

    def accuracy(self, run: Run) -> Share:
        figures = self.victim(run)
        return figures.accuracy_rejecting if self.rejecting else figures.accuracy

    def asr(self, run: Run) -> Share:
        figures = self.victim(run)
        return figures.asr_rejecting if self.rejecting else figures.asr


WITHOUT_POISON = Column("without poison", lambda run: run.victims.reference)
POISONED = Column("poisoned", lambda run: run.victims.before)
CLEANED = Column("cleaned", lambda run: run.victims.after)
REJECTING = Column("poisoned, with rejection", lambda run: run.victims.before, rejecting=True)

#: In the order that they are shown.
COLUMNS = (WITHOUT_POISON, POISONED, CLEANED, REJECTING)


def over(runs: Sequence[Run], figure: Figure) -> Estimate:
    """A figure over all runs, as :func:`sanitizer.metrics.pooled`."""
    return pooled([figure(run) for run in runs])
