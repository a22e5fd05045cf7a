"""Whether one recommender is better than another: paired over users, or over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor
from kgneg.core.validation import validate_count
from kgneg.recsys.evaluation import Evaluation

__all__ = ["RunComparison", "UserComparison", "compare_evaluations", "compare_runs"]

#: How many numbers are drawn at once.
_CHUNK = 1 << 22
_LEVEL = 0.95


@dataclass(frozen=True)
class UserComparison:
    """One evaluation beside another, of the same users.

    :param metric: what is compared
    :param users: the number of users that both have
    :param left_out: how many users only one of them has
    :param first: the mean of the first
    :param second: the mean of the second
    :param difference: first minus second
    :param low: the lower end of the 95 % interval of the difference, by the bootstrap over users
    :param high: the upper end
    :param p_t: the two-sided p-value of the paired t-test; ``None`` if all differences are equal and not zero
    :param p_sign_flip: the two-sided p-value of the sign-flip test, which assumes only that under equality the sign of
        each difference is a matter of chance
    :param wins: for how many users the first is better
    :param ties: for how many they are equal
    :param losses: for how many the second is better
    """

    metric: str
    users: int
    left_out: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_t: float | None
    p_sign_flip: float
    wins: int
    ties: int
    losses: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures by name, nothing but what JSON can spell."""
        return asdict(self)


@dataclass(frozen=True)
class RunComparison:
    """Some runs of one recommender beside as many of another with the same seeds.

    :param metric: what is compared
    :param runs: the number of pairs of runs
    :param first: the mean of the first
    :param second: the mean of the second
    :param first_std: the standard deviation of the first over runs; ``None`` for one run
    :param second_std: that of the second
    :param difference: first minus second
    :param low: the lower end of the 95 % interval of the difference, by the t-distribution; ``None`` for one run, and
        if all differences are equal: nothing is known of chance then, as between two models that draw nothing
    :param high: the upper end
    :param p_t: the two-sided p-value of the paired t-test over runs; ``None`` likewise
    """

    metric: str
    runs: int
    first: float
    second: float
    first_std: float | None
    second_std: float | None
    difference: float
    low: float | None
    high: float | None
    p_t: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures by name, nothing but what JSON can spell."""
        return asdict(self)


def compare_evaluations(
    first: Evaluation,
    second: Evaluation,
    metric: str = "recall@20",
    *,
    draws: int = 10_000,
    seed: int = 0,
    intersect: bool = False,
) -> UserComparison:
    """Compare two evaluations of the same split, user by user.

    Source: Smucker, Allan and Carterette, A Comparison of Statistical Significance Tests for Information Retrieval
    Evaluation, CIKM 2007.

    :param first: an evaluation with the figures of each user
    :param second: another
    :param metric: what to compare
    :param draws: how often users are drawn anew, and how often signs; with few users all signs are tried
    :param seed: of the draws
    :param intersect: whether to compare over the users that both have if they are not the same
    :returns: the comparison
    :raises InvalidInputError: if figures are missing, the users differ, or there are fewer than two

    >>> from kgneg.recsys import Interactions, Popularity, TwoHop, evaluate
    >>> pairs = [Interactions(torch.tensor([0, 1, 2]), torch.tensor(items), num_users=3, num_items=4)
    ...     for items in ([0, 1, 1], [2, 3, 0])]
    >>> model = Popularity().fit(pairs[0])
    >>> result = evaluate(model, pairs[1], ks=[2])
    >>> compare_evaluations(result, result, "recall@2").p_sign_flip
    1.0
    """
    validate_count("draws", draws, 100)
    left, right, left_out = _paired(first, second, metric, intersect)
    difference = left - right
    generator = torch.Generator().manual_seed(seed)
    low, high = _bootstrap(difference, draws, generator)
    return UserComparison(
        metric,
        len(difference),
        left_out,
        float(left.mean()),
        float(right.mean()),
        float(difference.mean()),
        low,
        high,
        _t_test(difference.numpy()),
        _sign_flip(difference, draws, generator),
        int((difference > 0).sum()),
        int((difference == 0).sum()),
        int((difference < 0).sum()),
    )


def compare_runs(
    first: Sequence[Evaluation | float], second: Sequence[Evaluation | float], metric: str = "recall@20"
) -> RunComparison:
    """Compare two recommenders by their means in several runs, the n-th of one with the n-th of the other.

    :param first: the evaluations of one, or their figures; one for each seed
    :param second: those of the other with the same seeds, in the same order
    :param metric: what to compare
    :returns: the comparison
    :raises InvalidInputError: if there are not as many of both, or none

    >>> compare_runs([0.3, 0.5], [0.1, 0.2]).difference
    0.25
    """
    if len(first) != len(second) or not first:
        raise InvalidInputError(
            f"{len(first)} runs cannot be paired with {len(second)}: give one of each for every seed, and at least one"
        )
    left, right = (np.array([_figure(one, metric) for one in runs]) for runs in (first, second))
    difference, number = left - right, len(left)
    low = high = p_t = None
    if number > 1 and not _constant(difference):
        from scipy.stats import t

        p_t = _t_test(difference)
        reach = float(t.ppf((1 + _LEVEL) / 2, number - 1) * difference.std(ddof=1) / number**0.5)
        low, high = float(difference.mean()) - reach, float(difference.mean()) + reach
    return RunComparison(
        metric,
        number,
        float(left.mean()),
        float(right.mean()),
        float(left.std(ddof=1)) if number > 1 else None,
        float(right.std(ddof=1)) if number > 1 else None,
        float(difference.mean()),
        low,
        high,
        p_t,
    )


def _paired(
    first: Evaluation, second: Evaluation, metric: str, intersect: bool
) -> tuple[FloatTensor, FloatTensor, int]:
    """Return the figures of the users that both have, float64, and how many only one has."""
    for which, one in (("first", first), ("second", second)):
        if metric not in one.per_user:
            known = ", ".join(one.per_user) or "none: evaluate with by_user=True"
            raise InvalidInputError(
                f"the {which} evaluation has no figures of single users for {metric!r}; it has {known}"
            )
    if first.user_labels != second.user_labels:
        raise InvalidInputError("the evaluations are about users with different labels; compare those of one split")
    mine, yours = torch.isin(first.users, second.users), torch.isin(second.users, first.users)
    left_out = int((~mine).sum() + (~yours).sum())
    if left_out and not intersect:
        raise InvalidInputError(
            f"the evaluations have {len(first.users)} and {len(second.users)} users, {int(mine.sum())} of them in "
            "common; compare those of one split, or set intersect to compare over the common users"
        )
    if int(mine.sum()) < 2:
        raise InvalidInputError(f"at least 2 common users are needed, got {int(mine.sum())}")
    return first.per_user[metric][mine].double(), second.per_user[metric][yours].double(), left_out


def _bootstrap(difference: FloatTensor, draws: int, generator: torch.Generator) -> tuple[float, float]:
    """Return the ends of the interval of the mean, by percentiles."""
    number = len(difference)
    step = max(1, _CHUNK // number)
    means = [
        difference[torch.randint(number, (min(step, draws - start), number), generator=generator)].mean(dim=1)
        for start in range(0, draws, step)
    ]
    ends = np.quantile(torch.cat(means).numpy(), [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(ends[0]), float(ends[1])


def _sign_flip(difference: FloatTensor, draws: int, generator: torch.Generator) -> float:
    """Return the share of signs with a mean as far from zero; all signs are tried if they are no more than draws."""
    moving = difference[difference != 0]  # the others stay zero whatever their sign
    number = len(moving)
    # sums that are equal but for rounding count as equal
    bound = float(moving.sum().abs()) * (1 - 1e-9)
    if number <= 30 and 1 << number <= draws:
        codes = torch.arange(1 << number)[:, None] >> torch.arange(number)
        sums = (2.0 * (codes & 1).double() - 1) @ moving
        return float((sums.abs() >= bound).double().mean())
    step, extreme = max(1, _CHUNK // number), 0
    for start in range(0, draws, step):
        size = (min(step, draws - start), number)
        signs = torch.randint(2, size, generator=generator, dtype=torch.int8).double().mul_(2).sub_(1)
        extreme += int(((signs @ moving).abs() >= bound).sum())
    return (extreme + 1) / (draws + 1)


def _constant(difference: np.ndarray) -> bool:
    """Return whether all differences are equal, but for rounding."""
    return bool(np.ptp(difference) <= 1e-12 * np.abs(difference).max(initial=0.0))


def _t_test(difference: np.ndarray) -> float | None:
    """Return the two-sided p-value; differences that do not vary have no error to compare them with."""
    if _constant(difference):
        return None if difference.any() else 1.0
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(difference, 0.0).pvalue)


def _figure(run: Evaluation | float, metric: str) -> float:
    if not isinstance(run, Evaluation):
        return float(run)
    if metric not in run.metrics:
        raise InvalidInputError(f"a run has no figure {metric!r}; it has {', '.join(run.metrics)}")
    return run.metrics[metric]
