"""What is significant: a paired bootstrap over items, a paired test over seeds, correction for their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["compare_paired", "compare_seeds", "holm", "rounded"]

_CHUNK = 2_000_000


def compare_paired(row: np.ndarray, other: np.ndarray, *, resamples: int, seed: int) -> dict[str, float]:
    """Compare two measurements of the same items by the bootstrap.

    :param row: one number per item
    :param other: the same of what it is compared with
    :param resamples: how often the items are drawn anew
    :param seed: of the draws
    :returns: the mean difference, the ends of its 95 % interval, and the two-sided p-value
    """
    difference = np.asarray(row, dtype=float) - np.asarray(other, dtype=float)
    rng, means, n = np.random.default_rng(seed), np.empty(resamples), len(difference)
    step = max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        means[start : start + count] = difference[rng.integers(n, size=(count, n))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    tails = min((means <= 0).sum(), (means >= 0).sum())
    p = min(1.0, 2 * (int(tails) + 1) / (resamples + 1))
    return {"difference": float(difference.mean()), "low": float(low), "high": float(high), "p": p}


def compare_seeds(row: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the two-sided p-value of a paired t-test over seeds; ``None`` for one seed or equal differences."""
    difference = np.asarray(row, dtype=float) - np.asarray(other, dtype=float)
    if len(difference) < 2 or not difference.std() > 0:
        return None
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(difference, 0.0).pvalue)


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values corrected for their number, by Holm's method.

    >>> holm({"a": 0.01, "b": 0.04})
    {'a': 0.02, 'b': 0.04}
    """
    found: dict[str, float] = {}
    highest = 0.0
    for place, (name, p) in enumerate(sorted(values.items(), key=lambda one: (one[1], one[0]))):
        highest = max(highest, min(1.0, (len(values) - place) * p))
        found[name] = highest
    return {name: found[name] for name in values}


def rounded(value: Any, digits: int = 6) -> Any:
    """Return a value in which all floats are rounded."""
    if isinstance(value, Mapping):
        return {name: rounded(one, digits) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one, digits) for one in value]
    return round(value, digits) if isinstance(value, float) else value
