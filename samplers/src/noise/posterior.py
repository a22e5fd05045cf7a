"""From "labelled as positive" to "is positive": how many negatives are wrong, and which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import expit, logit

from kgneg.core.errors import InvalidInputError

__all__ = ["ExpectedCount", "Labelling", "best_level", "expected_count", "shift_to_sum"]

_BINS = 2000
_RESAMPLES = 100
_TINY = 1e-9
_Z = 1.645


class ExpectedCount(NamedTuple):
    """How many negatives are expected to be positive."""

    #: the sum of the probabilities
    value: float
    #: the number if all positives were labelled as often as the clearest rows, at the lower end of a 95 % interval over
    #: groups; with clean rows, the lower end of the interval of the calibration
    low: float
    #: the number if all were labelled as rarely as the labels allow, at the upper end of the interval
    high: float


@dataclass(frozen=True)
class Labelling:
    r"""How often a positive gets its label, by how clearly it is one.

    Let :math:`q` be the probability that a row is *labelled* as positive. It is positive with probability
    :math:`q / e(q)`, where :math:`e` is the share of such positives that get their label. Labels alone do not tell
    :math:`e`. They bound it: the mean of :math:`q` over the labelled positives is at most the share of all positives
    that are labelled (``least``; Elkan and Noto, KDD 2008, take it for that share, which counts too many where the
    classes overlap), and since probabilities end at 1, :math:`e` is at least :math:`q`, up to the purest region
    (``most``). In between :math:`e` is taken to rise linearly, from ``least`` for rows that look like negatives to
    ``most`` for the clearest ones: people label what is obvious. Where all positives are labelled equally often and
    classes are well apart, both ends are the same.

    :param least: the share of the least obvious positives that are labelled
    :param most: the share of the most obvious ones
    """

    least: float
    most: float

    @classmethod
    def estimate(cls, labelled: np.ndarray, total: np.ndarray, q: np.ndarray) -> Labelling:
        """Estimate from rows in bins.

        :param labelled: shape: ``(b,)``, how many rows of each bin are labelled
        :param total: shape: ``(b,)``, how many rows each bin has
        :param q: shape: ``(b,)``, the probability of a label in each bin, falling
        :returns: the labelling
        """
        least = float(np.clip((labelled * q).sum() / max(labelled.sum(), _TINY), _TINY, 1 - _TINY))
        hits, number = labelled.cumsum(), np.maximum(total.cumsum(), _TINY)
        share = np.minimum(hits / number, 1)
        # the lower end of Wilson's interval, so that a few lucky rows at the top count little
        half = _Z * np.sqrt(share * (1 - share) / number + (_Z / number) ** 2 / 4)
        low = (share + _Z**2 / number / 2 - half) / (1 + _Z**2 / number)
        return cls(least, float(np.clip(low.max(), least, 1 - _TINY)))

    def hidden(self, q: np.ndarray) -> np.ndarray:
        """Return the probability that rows without label are positive.

        :param q: shape: ``(n,)``, the probability of a label
        :returns: shape: ``(n,)``
        """
        share = self.least + (self.most - self.least) * np.minimum(q / self.most, 1)
        positive = np.minimum(q / share, 1)
        hidden: np.ndarray = np.clip((positive - q) / np.maximum(1 - q, _TINY), 0, 1)
        return hidden

    def range(self, labelled: float) -> tuple[float, float]:
        """Return the smallest and the largest number of hidden positives beside labelled ones."""
        return labelled * (1 - self.most) / self.most, labelled * (1 - self.least) / self.least


def expected_count(
    q: np.ndarray, labelled: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[Labelling, np.ndarray, ExpectedCount]:
    """Estimate which unlabelled rows are positive, and how many, with an interval over groups.

    :param q: shape: ``(n,)``, out-of-fold probability of a label
    :param labelled: shape: ``(n,)``, bool
    :param groups: shape: ``(n,)``, numbers from 0; groups are drawn again for the interval
    :param seed: the seed of that
    :returns: the labelling, the probabilities of shape ``(n,)`` (as if no row were labelled), and the number
    """
    order = np.argsort(-q, kind="stable")
    bins = np.empty(len(q), dtype=np.int64)
    number = min(_BINS, len(q))
    bins[order] = np.arange(len(q)) * number // len(q)
    middle = np.bincount(bins, weights=q) / np.bincount(bins)

    def fit(weight: np.ndarray) -> Labelling:
        total = np.bincount(bins, weights=weight, minlength=number)
        hits = np.bincount(bins, weights=weight * labelled, minlength=number)
        return Labelling.estimate(hits, total, middle)

    labelling = fit(np.ones(len(q)))
    hidden = labelling.hidden(q)
    generator = torch.Generator().manual_seed(seed)
    ends = []
    for _ in range(_RESAMPLES):
        times = torch.poisson(torch.ones(int(groups.max()) + 1), generator=generator).numpy()[groups]
        if (times * labelled).any():
            again = fit(times)
            ends.append(again.range(labelled.sum()))
    low, high = np.quantile([end[0] for end in ends], 0.025), np.quantile([end[1] for end in ends], 0.975)
    unlabelled = float((~labelled).sum())
    value = float(hidden[~labelled].sum())
    return labelling, hidden, ExpectedCount(value, min(float(low), value), max(min(float(high), unlabelled), value))


def shift_to_sum(probability: np.ndarray, total: float) -> np.ndarray:
    """Multiply odds by one number so that probabilities have a given sum.

    :param probability: shape: ``(n,)``; 0 stays 0 and 1 stays 1
    :param total: the sum
    :returns: shape: ``(n,)``
    :raises InvalidInputError: if no number of these probabilities can have the sum
    """
    inside = (probability > 0) & (probability < 1)
    ones = float((probability >= 1).sum())
    if not ones < total < ones + inside.sum():
        raise InvalidInputError(f"the probabilities of {int(inside.sum())} rows cannot have the sum {total:g}")
    odds = logit(probability[inside])
    found = brentq(lambda shift: expit(odds + shift).sum() + ones - total, -60, 60)
    shifted = probability.copy()
    shifted[inside] = expit(odds + found)
    return shifted


def best_level(probability: np.ndarray, beta: float = 1.0, least: float = 0.1) -> float:
    r"""Return the probability from which on rows are flagged for the largest expected F.

    Flagging the :math:`k` most probable rows finds :math:`\sum w` of the expected number; see Ye et al., ICML 2012.

    :param probability: shape: ``(n,)``
    :param beta: the weight of recall, above 0
    :param least: the smallest answer: where hardly anything is wrong, flagging everything would be best
    :returns: the level
    """
    ordered = np.sort(probability)[::-1]
    found = ordered.cumsum()
    if not len(ordered) or not found[-1]:
        return 1.0
    score = (1 + beta**2) * found / (np.arange(1, len(ordered) + 1) + beta**2 * found[-1])
    return max(float(ordered[score.argmax()]), least)
