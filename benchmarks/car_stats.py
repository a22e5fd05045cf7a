"""Areas under curves, shares found at a budget, and how sure they are."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import numpy as np
import torch
from scipy.stats import rankdata

RESAMPLES = 1_000


def auc(scores: np.ndarray, true: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a true one is above another; of equals half counts."""
    ranks = rankdata(scores)
    positive = int(true.sum())
    return float((ranks[true].sum() - positive * (positive + 1) / 2) / (positive * (len(true) - positive)))


def recalls(scores: np.ndarray, true: np.ndarray, budgets: tuple[float, ...]) -> dict[str, float]:
    """Return the share of true ones that is flagged if that share of the others is; of equals a random part is."""
    others, found = scores[~true], scores[true]
    return {f"{budget:g}": flagged(others, found, budget) for budget in budgets}


def flagged(others: np.ndarray, found: np.ndarray, budget: float) -> float:
    """Return the expected share of ``found`` above the limit that ``budget`` of the others is above."""
    limit = np.quantile(others, 1 - budget, method="higher")
    above, equal = float((others > limit).mean()), float((others == limit).mean())
    part = (budget - above) / equal if equal else 0.0
    return float((found > limit).mean() + part * (found == limit).mean())


class Bootstrap:
    """Areas under curves over resamples of the rows, the same for all scores.

    True rows and others are drawn apart from each other, so that a resample has as many of both.

    :param true: shape: ``(m,)``, which rows are true
    :param resamples: how many
    :param seed: the seed of the resamples
    """

    def __init__(self, true: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.true, self.resamples, self.seed = true, resamples, seed

    def areas(self, scores: np.ndarray) -> np.ndarray:
        """Return the area of each resample."""
        values, level = np.unique(scores, return_inverse=True)
        rng = np.random.default_rng(self.seed)
        parts = [level[self.true], level[~self.true]]
        out = np.empty(self.resamples)
        for place in range(self.resamples):
            positive, negative = (
                np.bincount(part[rng.integers(0, len(part), len(part))], minlength=len(values)) for part in parts
            )
            below = np.cumsum(negative) - negative
            out[place] = (positive * (below + negative / 2)).sum() / (len(parts[0]) * len(parts[1]))
        return out


def interval(values: np.ndarray) -> list[float]:
    """Return the middle 95 per cent."""
    low, high = np.quantile(values, (0.025, 0.975))
    return [float(low), float(high)]


def differences(
    scores: Mapping[str, np.ndarray], true: np.ndarray, ours: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, dict[str, object]]:
    """Return by how much the area of one row is above that of each, with 95 per cent intervals."""
    boot = Bootstrap(true, resamples=resamples, seed=seed)
    own = boot.areas(scores[ours])
    found: dict[str, dict[str, object]] = {}
    for name, one in scores.items():
        if name != ours:
            gap = own - boot.areas(one)
            found[name] = {"above": auc(scores[ours], true) - auc(one, true), "interval": interval(gap)}
    return found


def as_array(scores: torch.Tensor) -> np.ndarray:
    return scores.double().numpy()


def middle(values: list[float], digits: int) -> str:
    """Return the median, with the least and the largest in brackets if they differ."""
    text, low, high = (f"{one:.{digits}f}" for one in (statistics.median(values), min(values), max(values)))
    return text if low == high else f"{text} [{low}, {high}]"


def markdown(lines: list[list[str]]) -> str:
    head, *rest = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rest])
