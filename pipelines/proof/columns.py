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


def percent(value: float | None) -> str:
    """A share in words.

    >>> percent(0.123)
    '12.3 %'
    """
    return "none" if value is None else f"{100 * value:.1f} %"


def with_interval(figure: Estimate) -> str:
    """A share in percent with its interval.

    >>> with_interval(Estimate(0.25, (0.2, 0.31)))
    '25.0 % [20.0, 31.0]'
    """
    if figure.interval is None:
        return percent(figure.value)
    low, high = figure.interval
    return f"{percent(figure.value)} [{100 * low:.1f}, {100 * high:.1f}]"
