"""Logistic regressions that combine scores."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit

__all__ = ["calibrate", "stacked"]

_RESAMPLES = 100
_PENALTY = 2.0


def stacked(features: np.ndarray, labelled: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Learn the probability of a label from scores, and apply it to the rows left out.

    :param features: shape: ``(n, m)``
    :param labelled: shape: ``(n,)``, bool
    :param folds: shape: ``(n,)``
    :returns: shape: ``(n,)``, strictly between 0 and 1
    """
    from sklearn.linear_model import LogisticRegression

    spread = features.std(axis=0)
    table = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    q = np.empty(len(table))
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        model = LogisticRegression(max_iter=1000).fit(table[~out], labelled[~out])
        q[out] = expit(model.decision_function(table[out]))
    return np.clip(q, 1e-9, 1 - 1e-9)


def calibrate(
    score: np.ndarray, known: np.ndarray, truth: np.ndarray, open_: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[np.ndarray, float, float]:
    """Fit a line through log odds on rows whose truth is known, held near the log odds as they are.

    :param score: shape: ``(n,)``, log odds
    :param known: shape: ``(n,)``, which rows have a known truth
    :param truth: shape: ``(n,)``, read where it is known
    :param open_: shape: ``(n,)``, the rows that the number is asked for
    :param groups: shape: ``(n,)``, numbers from 0; drawn again for the interval
    :param seed: the seed of that
    :returns: the probabilities of shape ``(n,)``, and a 95 % interval of their sum over the open rows
    """
    x, y = score[known], truth[known].astype(float)
    slope, shift = _line(x, y, np.ones(len(x)))
    names, position = np.unique(groups[known], return_inverse=True)
    generator = torch.Generator().manual_seed(seed)
    sums = []
    for _ in range(_RESAMPLES):
        times = torch.poisson(torch.ones(len(names)), generator=generator).numpy()[position]
        if times.any():
            again = _line(x, y, times)
            sums.append(float(expit(again[0] * score[open_] + again[1]).sum()))
    return expit(slope * score + shift), float(np.quantile(sums, 0.025)), float(np.quantile(sums, 0.975))


def _line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        odds = line[0] * x + line[1]
        error = weight * (expit(odds) - y)
        away = line - [1.0, 0.0]
        value = float((weight * (np.logaddexp(0, odds) - y * odds)).sum() + _PENALTY * away @ away)
        return value, np.array([error @ x, error.sum()]) + 2 * _PENALTY * away

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.05, None), (None, None)]).x
    return float(found[0]), float(found[1])
