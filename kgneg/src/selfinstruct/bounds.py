"""Thresholds whose precision or recall is stated with confidence, or said to be out of reach."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_count
from kgneg.selfinstruct.clusters import independent_rows

__all__ = ["Certificate", "binomial_bound", "certify_below", "certify_precision", "certify_recall"]

_STEPS = 20
_STARTS, _SPARE = 4, 1.5  # with fewer rows than need be, times this, there are fewer starts


@dataclass(frozen=True)
class Certificate:
    """What can be said about the rows whose score is at most a threshold.

    :param kind: ``"precision"``: at least ``target`` of the kept rows are false triples; ``"recall"``: at least
        ``target`` of the false triples are kept
    :param target: what was asked for
    :param level: the confidence with which it holds for new rows like the checked ones
    :param threshold: the largest score that is kept; ``-inf`` when the target is not reachable
    :param rows: checked rows that counted at this threshold
    :param good: how many of them were right
    :param share: the share of all checked rows that is kept
    :param worth: how many independent rows those that counted are worth; fewer than ``rows`` if some share a group;
        without a threshold the most of all thresholds that were tried
    """

    kind: str
    target: float
    level: float
    threshold: float
    rows: int
    good: int
    share: float
    worth: int

    @property
    def reachable(self) -> bool:
        """Whether there is such a threshold."""
        return math.isfinite(self.threshold)

    def statement(self) -> str:
        """Say it in words.

        :returns: one sentence
        """
        goal = f"{self.kind} >= {self.target:g} with {self.level:.0%} confidence"
        worth = "" if self.worth == self.rows else f", which are worth {self.worth} as some share a head"
        if not self.reachable:
            return f"{goal}: not reachable with {self.rows} checked rows{worth.replace('worth', 'worth at most')}"
        found = f"{self.good} of {self.rows} checked rows were right{worth}"
        return f"{goal}: keep scores up to {self.threshold:.6g} ({found})"

    def state(self) -> dict[str, Any]:
        """Return the fields for JSON; the threshold is ``None`` when there is none.

        :returns: names and plain values
        """
        return asdict(self) | {"threshold": self.threshold if self.reachable else None}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Certificate:
        """Undo :meth:`state`.

        :param state: names and plain values
        :returns: the certificate
        """
        return cls(**state | {"threshold": -math.inf if state["threshold"] is None else state["threshold"]})


def binomial_bound(good: int, rows: int, level: float = 0.95) -> float:
    """Return the lower bound of a share by Clopper and Pearson (1934), one-sided.

    :param good: successes
    :param rows: trials
    :param level: the confidence, in (0, 1)
    :returns: the bound; 0 without successes
    :raises InvalidInputError: if the counts contradict each other

    >>> round(binomial_bound(59, 59), 3), binomial_bound(0, 9)
    (0.95, 0.0)
    """
    from scipy.stats import beta

    rows = validate_count("rows", rows, 0)
    if not 0 <= good <= rows:
        raise InvalidInputError(f"good must be between 0 and the {rows} rows, got {good}")
    _inside("level", level)
    return 0.0 if good == 0 else float(beta.ppf(1 - level, good, rows - good + 1))


def certify_precision(
    scores: np.ndarray,
    truth: np.ndarray,
    target: float,
    *,
    level: float = 0.95,
    thresholds: np.ndarray | None = None,
    batch: int | None = None,
    groups: np.ndarray | None = None,
) -> Certificate:
    """Find the largest threshold below which enough triples are false, with confidence.

    The thresholds are fixed before a truth is read. They are tested by fixed sequences (Angelopoulos et al. 2021): from
    each of four starts, or fewer if there are few rows, towards larger ones until the first failure, each start with
    its part of the error. So the statement holds at ``level`` although the best threshold is taken.

    :param scores: shape: ``(n,)``, P(the triple is true) of rows that were not used to make the scores
    :param truth: shape: ``(n,)``, whether each is true
    :param target: the share of false triples among the kept rows, in (0, 1)
    :param level: the confidence, in (0, 1)
    :param thresholds: made without these rows, for example from unlabelled ones; ``None`` takes quantiles of ``scores``
        and does not count the rows at the threshold itself
    :param batch: ``None`` promises the precision in the long run, by the bound of Clopper and Pearson; a number
        promises what will be counted in so many further candidates, by an exact test that adds their own chance
    :param groups: shape: ``(n,)``, numbers or names; rows of one group, such as a head, are not independent, and count
        for fewer (see :func:`~kgneg.selfinstruct.clusters.independent_rows`); ``None`` if all are independent
    :returns: the certificate; its threshold is ``-inf`` when the target is not reachable
    :raises InvalidInputError: if shapes or values are wrong

    >>> scores = np.linspace(0, 1, 400)
    >>> certify_precision(scores, scores > 0.8, 0.9).share > 0.7
    True
    """
    scores, truth = _checked(scores, truth, target, level)
    groups = None if groups is None else np.asarray(groups)
    own = thresholds is None
    grid = _grid(scores) if thresholds is None else np.unique(np.asarray(thresholds, dtype=np.float64))
    grid = grid[np.isfinite(grid)]
    below = (scores[:, None] < grid) if own else (scores[:, None] <= grid)
    rows, good = below.sum(axis=0), (below & ~truth[:, None]).sum(axis=0)
    worth = rows if groups is None else np.array([_worth(groups[one], truth[one], level) for one in below.T], dtype=int)
    right = np.floor(good * worth / np.maximum(rows, 1) + 1e-9).astype(int)
    ahead = None
    if batch is not None:  # further rows share groups as these do
        ahead = np.rint(validate_count("batch", batch) * worth / len(scores)).astype(int)
    # what rows without a mistake are worth depends on no truth, so it may say where to begin
    most = (
        rows if groups is None else np.array([_worth(groups[one], one[one] < 0, level) for one in below.T], dtype=int)
    )
    parts = next((n for n in range(_STARTS, 1, -1) if target ** (most.max(initial=0) / _SPARE) <= (1 - level) / n), 1)
    error = (1 - level) / parts
    # fewer rows could not pass even without a mistake
    possible = np.flatnonzero(target**most <= error)
    possible = possible if len(possible) else np.flatnonzero(target**rows <= error)
    best = -1
    if len(possible):
        starts = np.unique(np.linspace(possible[0], len(grid) - 1, parts + 1)[:-1].astype(int))
        error = (1 - level) / len(starts)
        for start in starts:
            for place in range(int(start), len(grid)):
                further = None if ahead is None else int(ahead[place])
                if not _passes(int(right[place]), int(worth[place]), target, error, further):
                    break
                best = max(best, place)
    if best < 0:
        every = len(scores) if groups is None else int(worth.max(initial=0))
        return Certificate("precision", target, level, -math.inf, len(scores), int((~truth).sum()), 0.0, every)
    cut = float(np.nextafter(grid[best], -np.inf)) if own else float(grid[best])
    counts, share = (int(rows[best]), int(good[best])), float((scores <= cut).mean())
    return Certificate("precision", target, level, cut, *counts, share, int(worth[best]))


def certify_recall(
    scores: np.ndarray, truth: np.ndarray, target: float, *, level: float = 0.95, groups: np.ndarray | None = None
) -> Certificate:
    """Find the smallest threshold that keeps enough of the false triples, with confidence.

    The threshold is an order statistic of the scores of false triples, chosen by their number alone (a one-sided
    tolerance bound), so nothing is peeked at.

    :param scores: shape: ``(n,)``, P(the triple is true) of rows that were not used to make the scores
    :param truth: shape: ``(n,)``, whether each is true
    :param target: the share of false triples that must be kept, in (0, 1)
    :param level: the confidence, in (0, 1)
    :param groups: as for :func:`certify_precision`
    :returns: the certificate; its threshold is ``-inf`` when there are too few false triples, or too many of them have
        an infinite score
    :raises InvalidInputError: if shapes or values are wrong

    >>> scores = np.linspace(0, 1, 400)
    >>> 0.8 < certify_recall(scores, np.zeros(400, dtype=bool), 0.8).threshold < 0.85
    True
    """
    from scipy.stats import binom

    scores, truth = _checked(scores, truth, target, level)
    false = np.sort(scores[~truth])
    number = worth = len(false)
    if groups is not None and number:
        own = np.asarray(groups)[~truth]
        worth = _worth(own, scores[~truth] > false[min(int(target * number), number - 1)], level)
    # P(at least target lies below the k-th smallest) = P(Binomial(worth, target) <= k - 1)
    place = int(binom.ppf(level, worth, target)) if worth else 0
    place = number if place >= worth else math.ceil((place + 1) / worth * number - 1e-9) - 1
    if place >= number or not math.isfinite(false[place]):
        return Certificate("recall", target, level, -math.inf, number, number, 0.0, worth)
    cut = float(false[place])
    return Certificate("recall", target, level, cut, number, place + 1, float((scores <= cut).mean()), worth)


def certify_below(
    limit: float,
    scores: np.ndarray,
    truth: np.ndarray,
    target: float,
    *,
    goal: str = "precision",
    level: float = 0.95,
    others: np.ndarray | None = None,
    batch: int | None = None,
    groups: np.ndarray | None = None,
) -> Certificate:
    """Find a threshold below a limit, which is one of the scores: nothing is kept in a gap where no row was checked.

    :param limit: rows with at least this score are never kept
    :param scores: shape: ``(n,)``, as for :func:`certify_precision`; NaN or infinite for rows that are never kept
    :param truth: shape: ``(n,)``, whether each is true
    :param target: the share that is promised, in (0, 1)
    :param goal: ``"precision"`` or ``"recall"``
    :param level: the confidence, in (0, 1)
    :param others: shape: ``(m,)``, scores of other rows, from which thresholds of a precision are taken
    :param batch: as for :func:`certify_precision`; ``None`` for a recall
    :param groups: likewise
    :returns: the certificate; its threshold is ``-inf`` when the target is not reachable

    >>> scores = np.repeat([0.1, 0.9], 200)
    >>> certify_below(0.5, scores, scores > 0.5, 0.9, others=np.array([0.1, 0.4, 0.9])).threshold
    0.1
    """
    scores = np.where(np.asarray(scores, dtype=np.float64) < limit, scores, np.inf)
    if not len(scores):
        return Certificate(goal, target, level, -math.inf, 0, 0, 0.0, 0)
    if goal == "recall":
        return certify_recall(scores, truth, target, level=level, groups=groups)
    cuts = np.append(_grid(others), 0.0) if others is not None and len(others) else np.linspace(0, 1, _STEPS + 1)
    cuts = np.minimum(cuts, limit)
    made = certify_precision(scores, truth, target, level=level, thresholds=cuts, batch=batch, groups=groups)
    return replace(made, threshold=float(scores[scores <= made.threshold].max(initial=-math.inf)))


def _passes(good: int, rows: int, target: float, error: float, ahead: int | None) -> bool:
    """Say whether so many good rows are too many for chance if the target is missed."""
    if ahead is None:
        return binomial_bound(good, rows, 1 - error) >= target
    if not ahead:
        return False
    from scipy.stats import hypergeom

    # the fewest mistakes among the rows ahead that miss the target; all rows are in a random order
    missed = math.floor((1 - target) * ahead + 1e-9) + 1
    mistakes = rows - good
    return missed > ahead or float(hypergeom.cdf(mistakes, rows + ahead, mistakes + missed, rows)) <= error


def _worth(groups: np.ndarray, wrong: np.ndarray, level: float) -> int:
    return independent_rows(groups, wrong, level) if len(groups) else 0


def _grid(scores: np.ndarray) -> np.ndarray:
    return np.unique(np.quantile(scores, np.arange(1, _STEPS + 1) / _STEPS, method="inverted_cdf"))


def _inside(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise InvalidInputError(f"{name} must lie between 0 and 1, both excluded, got {value!r}")


def _checked(scores: np.ndarray, truth: np.ndarray, target: float, level: float) -> tuple[np.ndarray, np.ndarray]:
    _inside("target", target)
    _inside("level", level)
    scores, truth = np.asarray(scores, dtype=np.float64), np.asarray(truth)
    if scores.ndim != 1 or truth.shape != scores.shape:
        raise InvalidInputError(f"one truth per score is needed, got shapes {scores.shape} and {truth.shape}")
    if not len(scores):
        raise InvalidInputError("there are no checked rows: a bound needs some that were not used to make the scores")
    if np.isnan(scores).any():
        raise InvalidInputError(f"score {int(np.isnan(scores).argmax())} is NaN: leave rows without a score out")
    return scores, truth.astype(bool)
