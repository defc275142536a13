"""Figures of merit of a detector, with 95 % confidence intervals.

A *positive* is a poisoned sample. FPR is the share of clean samples flagged, felt as clean
loss; BDR, the backdoor detection rate of Zeng et al. (ICCV 2021), the share of poisoned
samples flagged; ACC is over equally many of both, as in the paper.
"""

import math

import numpy as np

#: Two-sided 95 % point of the standard normal distribution.
Z95 = 1.959963984540054


def rate(flagged: np.ndarray) -> float:
    """Share of True among (n,) bool, n >= 1: the FPR of clean, the BDR of poisoned samples."""
    return float(np.mean(_filled(flagged, "flagged")))


def balanced_accuracy(fpr: float, bdr: float) -> float:
    """The paper's ACC: accuracy over a half clean, half poisoned set."""
    return (1 - fpr + bdr) / 2


def wilson(successes: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson, JASA 22, 1927); sound at 0 and at n too.

    Raises:
        ValueError: n < 1, or successes outside 0 to n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n and n >= 1, got {successes} of {n}")
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def auroc(clean: np.ndarray, poisoned: np.ndarray) -> float:
    """Area under the ROC curve: how often a poisoned sample outscores a clean one.

    The Mann-Whitney statistic over its largest value; ties count one half.

    Args:
        clean, poisoned: (n,) and (m,) finite scores, n and m >= 1.
    """
    clean = np.sort(_filled(clean, "clean"))
    poisoned = _filled(poisoned, "poisoned")
    below = np.searchsorted(clean, poisoned, side="left")
    not_above = np.searchsorted(clean, poisoned, side="right")
    return float((below + not_above).mean() / (2 * len(clean)))


def auroc_interval(
    clean: np.ndarray, poisoned: np.ndarray, rounds: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap of :func:`auroc` (Efron, 1979), both classes redrawn."""
    rng = np.random.default_rng(seed)
    found = [
        auroc(rng.choice(clean, len(clean)), rng.choice(poisoned, len(poisoned)))
        for _ in range(rounds)
    ]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def bdr_at_fpr(clean: np.ndarray, poisoned: np.ndarray, fpr: float) -> float:
    """Share of poisoned scores above the threshold that at most ``fpr`` of clean ones exceed."""
    clean = np.sort(_filled(clean, "clean"))
    threshold = clean[len(clean) - 1 - math.floor(fpr * len(clean) + 1e-9)]
    return rate(_filled(poisoned, "poisoned") > threshold)


def _filled(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"{name}: expected at least one finite value in one dimension")
    return values
