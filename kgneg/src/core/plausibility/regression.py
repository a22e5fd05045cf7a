"""Logistic regression with weighted examples."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit

__all__ = ["fit_logistic"]


def fit_logistic(
    table: np.ndarray, labels: np.ndarray, importance: np.ndarray, *, penalty: float = 1e-5
) -> tuple[torch.Tensor, float]:
    """Return weights and bias of a logistic regression; features that do not vary get no weight.

    :param table: shape: ``(n, f)``, the features
    :param labels: shape: ``(n,)``, 0 or 1
    :param importance: shape: ``(n,)``, how many cases each row stands for
    :param penalty: of the squared weights of the standardised features, relative to the loss per positive example
    :returns: shape: ``(f,)``, the weights of the features as they are, and the bias
    """
    mean, spread = table.mean(axis=0), table.std(axis=0)
    varies = spread > 1e-6
    scaled = (table - mean) / np.where(varies, spread, 1.0) * varies
    share = importance / importance.sum()
    base = float(np.clip(share @ labels, 1e-12, 1 - 1e-12))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = parameters[:-1], parameters[-1]
        logit = scaled @ weights + bias
        value = share @ (np.logaddexp(0, logit) - labels * logit) / base + penalty * weights @ weights
        error = share * (expit(logit) - labels) / base
        return value, np.append(error @ scaled + 2 * penalty * weights, error.sum())

    start = np.append(np.zeros(table.shape[1]), np.log(base / (1 - base)))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    weights = found[:-1] / np.where(varies, spread, 1.0) * varies
    return torch.from_numpy(weights), float(found[-1] - weights @ mean)
