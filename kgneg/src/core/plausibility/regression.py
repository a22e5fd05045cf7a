"""Logistic regression with weighted examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit

from kgneg.core.typing import FloatTensor

__all__ = ["combine_quadratic", "fit_logistic", "fit_quadratic"]

_REACH = 4.0  # standard deviations from which on a feature does not count more


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


def fit_quadratic(positives: FloatTensor, kinds: Sequence[FloatTensor]) -> dict[str, FloatTensor]:
    """Return what a logistic regression on features and their products learns; all kinds of negatives count alike.

    :param positives: shape: ``(p, f)``, the features of what is to be found
    :param kinds: for each kind of negative, shape: ``(n, f)``
    :returns: the arguments of :func:`combine_quadratic`: ``mean``, ``spread`` and ``linear`` of shape ``(f,)``, and
        ``quadratic`` of shape ``(f, f)``; and the ``bias``, for as many positives as negatives; zeros where there is
        nothing to learn from
    """
    width = positives.shape[-1]
    if not len(positives) or not kinds:
        zeros = torch.zeros(width)
        parts = {"mean": zeros, "spread": zeros, "linear": zeros, "quadratic": torch.zeros(width, width)}
        return {**parts, "bias": torch.zeros(())}
    table = torch.cat([positives, *kinds]).double()
    share = torch.cat(
        [torch.full((len(positives),), 1 / len(positives))]
        + [torch.full((len(part),), 1 / (len(kinds) * len(part))) for part in kinds]
    ).double()
    share /= share.sum()
    mean = share @ table
    spread = (share @ (table - mean).square()).sqrt()
    spread = torch.where(spread > 1e-6, spread, 0.0)
    place = ((table - mean) * torch.where(spread > 0, 1 / spread, 0.0)).clamp(-_REACH, _REACH)
    upper = torch.triu_indices(width, width)
    examples = torch.cat([place, place[:, upper[0]] * place[:, upper[1]]], dim=-1)
    labels = (torch.arange(len(table)) < len(positives)).double()
    found, bias = fit_logistic(examples.numpy(), labels.numpy(), share.numpy(), penalty=1 / len(positives))
    quadratic = torch.zeros(width, width, dtype=torch.float64)
    quadratic[upper[0], upper[1]] = found[width:]
    parts = {"mean": mean, "spread": spread, "linear": found[:width], "quadratic": quadratic}
    return {**parts, "bias": torch.tensor(bias)}


def combine_quadratic(
    table: FloatTensor,
    mean: FloatTensor,
    spread: FloatTensor,
    linear: FloatTensor,
    quadratic: FloatTensor,
    *,
    planes: bool = False,
) -> FloatTensor:
    """Return the weighted sum of features and their products, without the bias; the table is overwritten.

    :param table: shape: ``(*, f)``, the features
    :param mean: shape: ``(f,)``, what is taken off
    :param spread: shape: ``(f,)``, what they are divided by; zero for features without weight
    :param linear: shape: ``(f,)``, the weights
    :param quadratic: shape: ``(f, f)``, the weights of products
    :param planes: whether the features come first instead, shape: ``(f, *)``, which is faster for large tables
    :returns: shape: ``(*)``
    """
    scale = torch.where(spread > 0, 1 / spread, 0.0)
    if planes:
        flat = table.view(len(table), -1)
        flat.sub_(mean[:, None]).mul_(scale[:, None]).clamp_(-_REACH, _REACH)
        total = (quadratic.T @ flat).add_(linear[:, None]).mul_(flat).sum(dim=0)
        return total.view(table.shape[1:])
    place = table.sub_(mean).mul_(scale).clamp_(-_REACH, _REACH)
    total = (place @ quadratic).add_(linear).mul_(place).sum(dim=-1)
    return total
