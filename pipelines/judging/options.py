"""What a user chose for judging, as a run knows it again."""

from dataclasses import dataclass

from sanitizer.record import Record


@dataclass(frozen=True)
class JudgingOptions(Record):
    """What decides scores and verdicts."""

    detector: str  #: identity
    policy: str  #: its name
    max_clean_loss: float | None  #: share of clean images that scores may lose, at most
    fdr: float | None  #: of policy fdr
    trusted: str | None  #: clean images to calibrate on
    calibration_sha256: str
    device: str  #: that scores: a CPU and a GPU differ in the last digits
    scan: bool  #: whether classes are searched for triggers
    signatures: tuple[str, ...]  #: SHA-256 of the triggers from other sets that are looked for
