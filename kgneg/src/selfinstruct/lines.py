"""Logistic regression whose weights are drawn towards given ones."""

from __future__ import annotations

import numpy as np

__all__ = ["logistic"]


def logistic(
    features: np.ndarray,
    truth: np.ndarray,
    *,
    centre: np.ndarray,
    penalty: np.ndarray,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Fit weights and an offset by Newton's method; each weight pays for its squared distance to a centre.

    :param features: shape: ``(n, m)``
    :param truth: shape: ``(n,)``, in [0, 1]
    :param centre: shape: ``(m,)``, where weights are without data
    :param penalty: shape: ``(m,)``, what half of the squared distance costs
    :param weight: shape: ``(n,)``, how much each row counts
    :returns: shape: ``(m + 1,)``, the offset last

    >>> logistic(np.array([[-1.0], [1.0]]), np.array([0, 1]), centre=np.ones(1), penalty=np.full(1, 1e6)).round(3)
    array([1., 0.])
    """
    from scipy.optimize import minimize

    table = np.column_stack([features, np.ones(len(features))])
    rows = np.ones(len(table)) if weight is None else np.asarray(weight, dtype=np.float64)
    centre, penalty = np.append(centre, 0.0), np.append(penalty, 1e-3)

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        odds = table @ line
        away = line - centre
        value = rows @ (np.logaddexp(0, odds) - truth * odds) + 0.5 * penalty @ (away * away)
        return float(value), table.T @ (rows * (_share(odds) - truth)) + penalty * away

    def bend(line: np.ndarray) -> np.ndarray:
        share = _share(table @ line)
        return np.asarray((table.T * (rows * share * (1 - share))) @ table + np.diag(penalty))

    return np.asarray(minimize(loss, centre, jac=True, hess=bend, method="trust-exact", options={"maxiter": 200}).x)


def _share(odds: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return np.asarray(expit(odds))
