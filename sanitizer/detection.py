"""How well verdicts agree with the truth, where the truth is known."""

from typing import Any

import numpy as np

from sanitizer.metrics import auroc, auroc_interval, counted, threshold_at_fpr

#: What a sample of a poisoned set can be: left alone, poisoned, or a cover sample, which bears
#: the trigger under its true label.
KINDS = ("clean", "poisoned", "cover")

#: Thresholds that BDR is also given at: so many of the set's own clean samples are flagged.
FPRS = (0.01, 0.001)

#: Redraws of the AUROC's bootstrap.
ROUNDS = 300


def detection(kinds: np.ndarray, scores: np.ndarray, flagged: np.ndarray) -> dict[str, Any]:
    """Detection figures of n samples, as JSON; shares as :func:`sanitizer.metrics.counted`.

    Args:
        kinds: (n,) each one of ``KINDS``.
        scores: (n,) float, higher is more suspicious; NaN for a sample that was not judged.
        flagged: (n,) bool, the verdict.

    Returns:
        ``bdr``, ``fpr`` and ``cover``: shares of the judged poisoned, clean and cover samples
        that are flagged; ``not_judged``: numbers by kind; ``auroc`` and ``bdr_at_fpr``, by
        FPR, of poisoned against clean samples: None without judged samples of both.
    """
    judged = np.isfinite(scores)
    clean, poisoned, cover = ((kinds == kind) & judged for kind in KINDS)
    found: dict[str, Any] = {
        "bdr": counted(flagged[poisoned]),
        "fpr": counted(flagged[clean]),
        "cover": counted(flagged[cover]),
        "not_judged": {kind: int(((kinds == kind) & ~judged).sum()) for kind in KINDS},
        "auroc": None,
        "bdr_at_fpr": None,
    }
    if clean.any() and poisoned.any():
        low, high = scores[clean], scores[poisoned]
        interval = list(auroc_interval(low, high, ROUNDS))
        found["auroc"] = {"value": auroc(low, high), "interval": interval}
        found["bdr_at_fpr"] = {f"{f:g}": counted(high > threshold_at_fpr(low, f)) for f in FPRS}
    return found
