"""What tuning came to, readable without torch."""

from dataclasses import dataclass

from sanitizer.record import Record


@dataclass(frozen=True)
class Tuning(Record):
    """Shares are of manipulated views found at a clean loss of 1 %."""

    images: int  #: clean ones of the source
    suspicious: int  #: of them, those that score higher than 99 % of the clean ones known before
    before: float
    after: float  #: by judges that have not seen the image
    judge_tuned: bool  #: whether the judge is another one than before
