"""The rows that freqsan writes beside the user's own columns, and their Arrow schemas."""

import math
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

#: The three verdicts. Every input sample gets exactly one.
CLEAN, POISONED, REJECTED = "clean", "poisoned", "rejected"
VERDICTS = (CLEAN, POISONED, REJECTED)


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """What freqsan found out about one input sample.

    Raises:
        ValueError: a judged row without a finite score and p-value, or a rejected row
            with one; NaN never passes for clean.
    """

    sample_id: str  #: stable for the same source, whatever the sharding
    source: str  #: file, tar or folder that the sample came from, relative to the input
    label: Any  #: the input's own label, None where it has none
    width: int | None  #: pixels; None where nothing could be decoded
    height: int | None  #: pixels; None where nothing could be decoded
    format: str | None  #: "PNG", "JPEG", ...; None where nothing could be decoded
    content_sha256: str | None  #: of the encoded bytes, hexadecimal; None where there were none
    score: float | None  #: 0 to 1, higher is more suspicious; None if rejected
    p_value: float | None  #: conformal, above 0, at most 1; None if rejected
    verdict: str  #: one of VERDICTS
    reason: str  #: in words, what decided
    detector: str  #: name and weights digest, such as "freqsan-small@0123abcd4567"

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict: expected one of {VERDICTS}, got {self.verdict!r}")
        for name in ("score", "p_value"):
            value = getattr(self, name)
            if self.verdict == REJECTED:
                if value is not None:
                    raise ValueError(f"{self.sample_id}: rejected, yet {name} is {value}")
            elif value is None or not math.isfinite(value) or not 0 <= value <= 1:
                raise ValueError(f"{self.sample_id}: expected {name} in [0, 1], got {value}")


def score_schema(label_type: pa.DataType) -> pa.Schema:
    """The schema of ``scores/``; the label keeps the input's type."""
    return pa.schema(
        [
            pa.field("sample_id", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("label", label_type),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("format", pa.string()),
            pa.field("content_sha256", pa.string()),
            pa.field("score", pa.float32()),
            pa.field("p_value", pa.float64()),
            pa.field("verdict", pa.string(), nullable=False),
            pa.field("reason", pa.string(), nullable=False),
            pa.field("detector", pa.string(), nullable=False),
        ]
    )


#: The schema of ``rejected/``: the original bytes, kept, and why they could not be judged.
REJECT_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("bytes", pa.binary()),
        pa.field("reason", pa.string(), nullable=False),
    ]
)


def score_batch(rows: list[ScoreRow], schema: pa.Schema) -> pa.RecordBatch:
    """Score rows as one Arrow batch of ``schema``."""
    columns = [pa.array([getattr(r, f.name) for r in rows], type=f.type) for f in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
