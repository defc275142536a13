"""What a run amounts to, in numbers small enough to send around.

A batch of score rows becomes a plain JSON-able dict; two such dicts merge into one, in any
order and grouping, with :func:`empty_summary` as the identity. So a shard, a worker and a
whole run all speak the same form:

- ``counts``: samples ``read``, ``clean``, ``poisoned``, ``rejected``;
- ``rejected_by_reason``: samples by :attr:`sanitizer.images.ImageError.kind`;
- ``labels``: samples ``clean``, ``poisoned``, ``rejected`` by :func:`label_key`;
- ``score_histogram``: samples ``clean`` and ``poisoned`` in each of ``BINS`` bins of [0, 1].
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sanitizer.records import CLEAN, POISONED, VERDICTS, ScoreRow

#: Bins of the score histogram, evenly over [0, 1]; a score of 1 is in the last.
BINS = 100

#: Verdicts that come with a score.
JUDGED = (CLEAN, POISONED)


def empty_summary() -> dict[str, Any]:
    """The summary of no samples."""
    return {
        "counts": dict.fromkeys(("read", *VERDICTS), 0),
        "rejected_by_reason": {},
        "labels": {},
        "score_histogram": {verdict: [0] * BINS for verdict in JUDGED},
    }


def shard_summary(rows: Iterable[ScoreRow], reject_kinds: Iterable[str]) -> dict[str, Any]:
    """The summary of some score rows.

    Args:
        rows: any number of them.
        reject_kinds: a short category for every rejected row, in any order.
    """
    summary = empty_summary()
    counts, labels, histogram = (summary[k] for k in ("counts", "labels", "score_histogram"))
    for row in rows:
        counts["read"] += 1
        counts[row.verdict] += 1
        labels.setdefault(label_key(row.label), dict.fromkeys(VERDICTS, 0))[row.verdict] += 1
        if row.score is not None:
            histogram[row.verdict][min(int(row.score * BINS), BINS - 1)] += 1
    summary["rejected_by_reason"] = dict(Counter(reject_kinds))
    return summary


def merge(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of the samples of both; neither is changed, other keys are left out."""
    nothing = dict.fromkeys(VERDICTS, 0)
    return {
        "counts": _added(a["counts"], b["counts"]),
        "rejected_by_reason": _added(a["rejected_by_reason"], b["rejected_by_reason"]),
        "labels": {
            key: _added(a["labels"].get(key, nothing), b["labels"].get(key, nothing))
            for key in a["labels"] | b["labels"]
        },
        "score_histogram": {
            verdict: [
                x + y
                for x, y in zip(
                    a["score_histogram"][verdict], b["score_histogram"][verdict], strict=True
                )
            ]
            for verdict in JUDGED
        },
    }


def finish_summary(
    summary: Mapping[str, Any], class_names: Sequence[str] | None = None
) -> dict[str, Any]:
    """A merged summary in the form that ``report/summary.json`` has.

    Reasons come most frequent first, classes in the order of their labels, so the result
    does not depend on the order of the merges.

    Args:
        summary: of the whole run.
        class_names: the name of each integer label, if the input has them.

    Returns:
        ``counts``; ``rejected_by_reason``; ``per_class``: for every label ``label`` (a
        :func:`label_key`), ``name``, ``read``, ``clean``, ``poisoned``, ``rejected``;
        ``score_histogram``: ``edges`` (BINS + 1), ``clean`` and ``poisoned`` (BINS each).
    """
    reasons = sorted(summary["rejected_by_reason"].items(), key=lambda item: (-item[1], item[0]))
    labels = sorted(summary["labels"].items(), key=lambda item: _natural(item[0]))
    return {
        "counts": dict(summary["counts"]),
        "rejected_by_reason": dict(reasons),
        "per_class": [
            {
                "label": key,
                "name": class_name(key, class_names),
                "read": sum(verdicts.values()),
                **{verdict: verdicts[verdict] for verdict in VERDICTS},
            }
            for key, verdicts in labels
        ],
        "score_histogram": {
            "edges": [i / BINS for i in range(BINS + 1)],
            **{verdict: list(summary["score_histogram"][verdict]) for verdict in JUDGED},
        },
    }


def label_key(label: Any) -> str:
    """A label of any type as JSON text, so that 1, "1" and none at all stay apart.

    NaN, which is how pandas spells a missing label, is none at all: ``"null"``.
    """
    if isinstance(label, float) and label != label:
        label = None
    return json.dumps(label, ensure_ascii=False, sort_keys=True, default=str)


def class_name(key: str, class_names: Sequence[str] | None = None) -> str:
    """What a person calls the label of ``key``, a :func:`label_key`."""
    label = json.loads(key)
    if label is None:
        return "(no label)"
    if class_names and type(label) is int and 0 <= label < len(class_names):
        return class_names[label]
    return label if isinstance(label, str) else key


def _added(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {key: a.get(key, 0) + b.get(key, 0) for key in {**a, **b}}


def _natural(key: str) -> tuple[bool, float, str]:
    """Numbers by size, before all else."""
    label = json.loads(key)
    number = isinstance(label, int | float)
    return not number, label if number else 0, key
