"""The rows that freqsan writes beside the user's own columns, and their Arrow schemas."""

import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

#: The three verdicts. Every input sample gets exactly one.
CLEAN, POISONED, REJECTED = "clean", "poisoned", "rejected"
VERDICTS = (CLEAN, POISONED, REJECTED)

#: Who may have decided on a sample.
FREQSAN, REVIEW = "freqsan", "review"

#: The log odds of an image whose class shares no trigger; no finding's odds are below it.
NO_FINDING = -40.0


@dataclass(frozen=True, slots=True)
class ScoredSample:
    """What the detector says of one input sample, before anything is decided."""

    sample_id: str  #: stable for the same input, whatever the sharding
    source: str  #: file, tar or folder that the sample came from, relative to the input
    label: Any  #: the input's own label, None where it has none
    width: int | None  #: pixels; None where nothing could be decoded
    height: int | None  #: pixels; None where nothing could be decoded
    format: str | None  #: "PNG", "JPEG", ...; None where nothing could be decoded
    content_sha256: str | None  #: of the encoded bytes, hexadecimal; None where there were none
    score: float | None  #: 0 to 1, higher is more suspicious; None where it was not judged
    p_value: float | None  #: conformal, above 0, at most 1; None where it was not judged
    as_high: int | None  #: clean images that score as high; None where it was not judged
    compared: int | None  #: clean images that it was compared with; None where it was not judged
    parts: int | None  #: in which it was seen; None where it was not judged
    encoding: int | None  #: of :data:`detector.kinds.ENCODINGS`; None where it was not judged
    reject_kind: str | None  #: a short category of why it was not judged, else None
    reject_reason: str | None  #: the same in words


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """What freqsan says about one input sample.

    Raises:
        ValueError: a judged row without a score or the odds of a scan, a rejected row with one,
            or one out of range; NaN never passes for clean.
    """

    sample_id: str  #: as in :class:`ScoredSample`, like all down to ``content_sha256``
    source: str
    label: Any
    width: int | None
    height: int | None
    format: str | None
    content_sha256: str | None
    score: float | None  #: 0 to 1, higher is more suspicious; None where the detector cannot judge
    p_value: float | None  #: conformal, above 0, at most 1; None likewise
    #: Log of the posterior odds of the strongest finding; ``NO_FINDING`` where its class shares
    #: none; None where it was not scanned.
    scan_log_odds: float | None
    finding: str | None  #: name of that finding; None where it more likely carries none
    verdict: str  #: one of VERDICTS
    reason: str  #: in words, what decided
    detector: str  #: name and weights digest, such as "freqsan-small@0123abcd4567"; "" if none
    decided_by: str = FREQSAN  #: who gave the verdict, FREQSAN or REVIEW
    decided_at: str | None = None  #: of a review: when it was applied, ISO 8601 in UTC
    decided_why: str | None = None  #: of a review: why, in the reviewer's words
    verdict_before: str | None = None  #: of a review: what freqsan itself had said

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict: expected one of {VERDICTS}, got {self.verdict!r}")
        if self.verdict != REJECTED and self.score is None and self.scan_log_odds is None:
            raise ValueError(f"{self.sample_id}: {self.verdict}, yet nothing has judged it")
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is not None and self.verdict == REJECTED:
                raise ValueError(f"{self.sample_id}: rejected, yet {name} is {value}")
            if value is not None and not least <= value <= most:  # NaN is in no range
                raise ValueError(
                    f"{self.sample_id}: expected {name} in [{least:g}, {most:g}], got {value}"
                )
        if (self.score is None) != (self.p_value is None):
            raise ValueError(f"{self.sample_id}: expected score and p_value, or neither")


#: Of the figures of a judged image.
_RANGES = (
    ("score", 0.0, 1.0),
    ("p_value", 0.0, 1.0),
    ("scan_log_odds", NO_FINDING, -NO_FINDING),
)


#: What score rows say of a review beside who decided; null where there was none.
REVIEWED = ("decided_at", "decided_why", "verdict_before")


def scored_schema(label_type: pa.DataType) -> pa.Schema:
    """The schema of :class:`ScoredSample`; the label keeps the input's type."""
    counts = [pa.field(name, pa.int64()) for name in ("as_high", "compared", "parts", "encoding")]
    reject = [pa.field(name, pa.string()) for name in ("reject_kind", "reject_reason")]
    return pa.schema([*_sample_fields(label_type), *counts, *reject])


def score_schema(label_type: pa.DataType) -> pa.Schema:
    """The schema of ``scores/``, of :class:`ScoreRow`; the label keeps the input's type."""
    scanned = [pa.field("scan_log_odds", pa.float32()), pa.field("finding", pa.string())]
    decided = [
        pa.field(name, pa.string(), nullable=False)
        for name in ("verdict", "reason", "detector", "decided_by")
    ]
    reviewed = [pa.field(name, pa.string()) for name in REVIEWED]
    return pa.schema([*_sample_fields(label_type), *scanned, *decided, *reviewed])


def _sample_fields(label_type: pa.DataType) -> list[pa.Field]:
    return [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("label", label_type),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("format", pa.string()),
        pa.field("content_sha256", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("p_value", pa.float64()),
    ]


@dataclass(frozen=True, slots=True)
class Reject:
    """A sample that could not be judged, as it came."""

    sample_id: str  #: as in :class:`ScoredSample`, like ``source``
    source: str
    bytes: builtins.bytes | None  #: the encoded image; None where there was none
    reason: str  #: in words


#: The schema of ``rejected/``, of :class:`Reject`.
REJECT_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("bytes", pa.binary()),
        pa.field("reason", pa.string(), nullable=False),
    ]
)


def to_batch(rows: Sequence[Any], schema: pa.Schema) -> pa.RecordBatch:
    """Records as one Arrow batch.

    Args:
        rows: records that have the fields of the schema as attributes.
        schema: of the batch.

    >>> row = Reject("a.png", ".", b"GIF", "truncated or corrupt")
    >>> to_batch([row], REJECT_SCHEMA).to_pylist()[0]["reason"]
    'truncated or corrupt'
    """
    columns = [pa.array([getattr(r, f.name) for r in rows], type=f.type) for f in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
