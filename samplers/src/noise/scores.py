"""How well hidden positives were found, where the truth is known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["DetectionScores", "score_detection", "wilson_interval"]

_Z = 1.96


class DetectionScores(NamedTuple):
    """Scores of a ranking of negatives and of the set that was flagged."""

    #: average precision of the ranking
    average_precision: float
    #: the probability that a hidden positive ranks above a true negative
    auc: float
    #: the share of hidden positives among the first 100, and the first 500
    precision_at_100: float
    precision_at_500: float
    #: how many negatives are really positive, and how many were flagged
    gold: int
    flagged: int
    #: of the flagged set
    precision: float
    recall: float
    f1: float


def score_detection(score: np.ndarray, truth: np.ndarray, flagged: np.ndarray) -> DetectionScores:
    """Score a ranking and a set.

    :param score: shape: ``(n,)``, large where a row looks positive
    :param truth: shape: ``(n,)``, bool, whether it is
    :param flagged: shape: ``(n,)``, bool
    :returns: the scores; average precision and AUC are NaN when all rows are alike

    >>> score_detection(np.array([0.9, 0.8, 0.1]), np.array([True, False, False]), np.array([True, True, False])).f1
    0.6666666666666666
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    order = np.argsort(-score, kind="stable")
    both = bool(truth.any()) and not truth.all()
    hits = int((truth & flagged).sum())
    total, found = int(truth.sum()), int(flagged.sum())
    return DetectionScores(
        average_precision=float(average_precision_score(truth, score)) if both else float("nan"),
        auc=float(roc_auc_score(truth, score)) if both else float("nan"),
        precision_at_100=float(truth[order[:100]].mean()) if len(order) else float("nan"),
        precision_at_500=float(truth[order[:500]].mean()) if len(order) else float("nan"),
        gold=total,
        flagged=found,
        precision=hits / found if found else 0.0,
        recall=hits / total if total else 0.0,
        f1=2 * hits / (total + found) if total + found else 0.0,
    )


def wilson_interval(hits: int, number: int, z: float = _Z) -> tuple[float, float, float]:
    """Return a share and its interval by Wilson.

    :param hits: how many of them
    :param number: of how many, at least 1
    :param z: the quantile of the normal distribution
    :returns: the share, the lower and the upper end

    >>> [round(value, 3) for value in wilson_interval(0, 10)]
    [0.0, 0.0, 0.278]
    """
    share = hits / number
    middle = share + z * z / 2 / number
    half = z * np.sqrt(share * (1 - share) / number + z * z / 4 / number**2)
    scale = 1 + z * z / number
    return share, max(float((middle - half) / scale), 0.0), min(float((middle + half) / scale), 1.0)
