"""Shares with intervals, ratios of shares, and what a sample says about what it has not seen."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["clustered_share", "good_turing", "lift", "ratio_to", "spread", "unseen_share"]

#: Numbers per cluster, or counts.
Numbers: TypeAlias = npt.NDArray[np.float64] | npt.NDArray[np.int64]

_LEVEL = 0.95
_Z = NormalDist().inv_cdf(0.5 + _LEVEL / 2)
#: The upper limit of the mean of a Poisson variable that came out as zero, at the same level, both sides.
_NONE_SEEN = -math.log((1 - _LEVEL) / 2)


def figure(value: float | None) -> float | None:
    """Return a number with six digits, which is what results have; ``None`` stays.

    :param value: the number
    :returns: the same, rounded

    >>> figure(1 / 3)
    0.333333
    """
    return None if value is None else float(f"{float(value):.6g}")


def clustered_share(hits: Numbers, totals: Numbers) -> dict[str, Any]:
    r"""Estimate a share from clusters of different sizes, with a 95 % interval.

    Negatives of one positive are alike, so the variance is taken over positives: with :math:`y_i` hits among the
    :math:`x_i` negatives of positive :math:`i` and :math:`p = \sum y_i / \sum x_i` it is that of a ratio,
    :math:`\frac{n}{n - 1} \sum (y_i - p x_i)^2 / (\sum x_i)^2` (the delta method). It gives an effective number of
    negatives :math:`m^* = p (1 - p) / v`, at most their true number, and the interval is that of Wilson for
    :math:`m^*`. So it stays within 0 and 1, and without any hit it goes from 0 to about :math:`3.8 / m`. Positives are
    taken as a sample; where all training triples were drawn, the interval is on the wide side.

    :param hits: shape: ``(n,)``, how many of each cluster count
    :param totals: shape: ``(n,)``, the sizes of the clusters
    :returns: ``count``, ``total``, and ``share``, ``low``, ``high`` (``None`` if the total is zero)

    >>> clustered_share(np.array([1, 0]), np.array([2, 2]))["share"]
    0.25
    """
    count, total = float(hits.sum()), float(totals.sum())
    counted = {"count": int(count), "total": int(total)}
    if not total:
        return {**counted, "share": None, "low": None, "high": None}
    share = count / total
    effective = total
    variance = _variance(hits, totals)
    if 0 < share < 1:
        effective = min(total, share * (1 - share) / variance) if variance > 0 else total
        effective = 1.0 if len(hits) < 2 else effective
    centre = (share + _Z**2 / (2 * effective)) / (1 + _Z**2 / effective)
    half = _Z / (1 + _Z**2 / effective) * math.sqrt(share * (1 - share) / effective + (_Z / (2 * effective)) ** 2)
    low = 0.0 if count == 0 else max(0.0, centre - half)
    high = 1.0 if count == total else min(1.0, centre + half)
    return {**counted, "share": figure(share), "low": figure(low), "high": figure(high)}


def _variance(hits: Numbers, totals: Numbers) -> float:
    """Return the variance of a ratio of sums over clusters."""
    number, total = len(hits), float(totals.sum())
    rest = hits - hits.sum() / total * totals
    return float(number / max(1, number - 1) * (rest**2).sum() / total**2)


def ratio_to(hits: Numbers, totals: Numbers, base_hits: Numbers, base_totals: Numbers) -> dict[str, Any]:
    """Estimate how many times as large one share is as another, for the same positives, with a 95 % interval.

    The interval is normal for the logarithm of the ratio; its variance is taken over positives, both draws of a
    positive together. Without a hit the interval goes from 0 to the ratio of the upper limit to the other share, and
    without a hit in the other draw there is no ratio.

    :param hits: shape: ``(n,)``
    :param totals: shape: ``(n,)``
    :param base_hits: shape: ``(n,)``, those of the draw to compare with
    :param base_totals: shape: ``(n,)``
    :returns: ``ratio``, ``low``, ``high``, or ``None`` for each

    >>> ratio_to(np.array([2, 2]), np.array([4, 4]), np.array([1, 1]), np.array([4, 4]))["ratio"]
    2.0
    """
    nothing = {"ratio": None, "low": None, "high": None}
    if not totals.sum() or not base_totals.sum() or not base_hits.sum():
        return nothing
    share, base = hits.sum() / totals.sum(), base_hits.sum() / base_totals.sum()
    if not share:
        high = clustered_share(hits, totals)["high"]
        return {"ratio": 0.0, "low": 0.0, "high": figure(high / base)}
    number = len(hits)
    rest = (hits - share * totals) / hits.sum() - (base_hits - base * base_totals) / base_hits.sum()
    half = _Z * math.sqrt(number / max(1, number - 1) * float((rest**2).sum()))
    return _around(share / base, half)


def lift(hits: Numbers, expected: Numbers) -> dict[str, Any]:
    """Estimate how many times as often things were hit as expected, with a 95 % interval over the things.

    :param hits: shape: ``(n,)``, how often each was hit
    :param expected: shape: ``(n,)``, how often it would be by chance; positive
    :returns: ``hits``, ``expected``, ``lift``, ``low``, ``high``; without a hit the interval is that of a Poisson count
    """
    count, chance = float(hits.sum()), float(expected.sum())
    counted = {"hits": int(count), "expected": figure(chance)}
    if not chance:
        return {**counted, "lift": None, "low": None, "high": None}
    if not count:
        return {**counted, "lift": 0.0, "low": 0.0, "high": figure(_NONE_SEEN / chance)}
    spread_of_log = math.sqrt(_variance(hits, expected)) * chance / count
    found = _around(count / chance, _Z * max(spread_of_log, 1 / math.sqrt(count)))
    return {**counted, "lift": found["ratio"], "low": found["low"], "high": found["high"]}


def _around(ratio: float, half: float) -> dict[str, Any]:
    return {
        "ratio": figure(ratio),
        "low": figure(ratio * math.exp(-half)),
        "high": figure(ratio * math.exp(min(half, 700.0))),
    }


def good_turing(counts: Numbers) -> dict[str, Any]:
    """Tell how much of what can be hit has not been hit yet.

    By Good and Turing, the probability that the next hit is a thing not seen before is about the share of hits that are
    the only one of their thing.

    :param counts: shape: ``(n,)``, how often each thing was hit
    :returns: ``hits``; ``distinct``, the things hit; ``once``, those hit once; ``next_new``, the probability (``None``
        without hits)

    >>> good_turing(np.array([0, 1, 3]))["next_new"]
    0.25
    """
    hits, once = int(counts.sum()), int((counts == 1).sum())
    return {
        "hits": hits,
        "distinct": int((counts > 0).sum()),
        "once": once,
        "next_new": figure(once / hits) if hits else None,
    }


def unseen_share(*columns: npt.NDArray[np.int64]) -> float:
    """Return by Good and Turing the probability that one more observation has a value that none has had.

    :param columns: shape: ``(n,)`` each, values of the observations from one or more points of view; the mean is taken
    :returns: the number of values that occur once, divided by the number of observations; 1.0 without observations

    >>> unseen_share(np.array([4, 4, 5, 6]))
    0.5
    """
    shares = [
        float((np.unique(column, return_counts=True)[1] == 1).sum()) / len(column) for column in columns if len(column)
    ]
    return sum(shares) / len(shares) if shares else 1.0


def spread(counts: Numbers) -> dict[str, Any]:
    """Tell how evenly draws are spread over things.

    :param counts: shape: ``(n,)``, how often each thing was drawn
    :returns: ``drawn``, the things drawn at all; ``coverage``, their share; ``entropy``, that of the frequencies
        divided by the largest possible, 1 for an even spread; ``effective``, the number of things which, drawn evenly,
        have that entropy

    >>> spread(np.array([3, 3, 0, 0]))["effective"]
    2.0
    """
    total, number = float(counts.sum()), len(counts)
    seen = counts[counts > 0]
    if not total:
        return {"drawn": 0, "coverage": 0.0, "entropy": None, "effective": None}
    shares = seen / total
    entropy = max(0.0, -float((shares * np.log(shares)).sum()))
    return {
        "drawn": len(seen),
        "coverage": figure(len(seen) / number),
        "entropy": figure(entropy / math.log(number)) if number > 1 else None,
        "effective": figure(math.exp(entropy)),
    }
