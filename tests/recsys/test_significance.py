from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import scipy
import torch
from packaging.version import Version
from scipy import stats

from kgneg.core.errors import InvalidInputError
from kgneg.recsys.evaluation import Evaluation
from kgneg.recsys.significance import compare_evaluations, compare_runs


def result(values: list[float] | torch.Tensor, users: list[int] | None = None, **more: Any) -> Evaluation:
    figures = torch.as_tensor(values, dtype=torch.float32)
    ids = torch.arange(len(figures)) if users is None else torch.tensor(users)
    return Evaluation({"recall@20": float(figures.mean())}, ids, {"recall@20": figures}, {}, {}, {}, **more)


def draw(number: int, shift: float, seed: int = 0) -> tuple[Evaluation, Evaluation]:
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(number, generator=generator)
    return result(base + shift + 0.2 * torch.randn(number, generator=generator)), result(base)


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_beside_scipy(shift: float) -> None:
    first, second = draw(60, shift)
    found = compare_evaluations(first, second, draws=20_000)
    x, y = (one.per_user["recall@20"].double().numpy() for one in (first, second))
    assert found.difference == pytest.approx((x - y).mean())
    assert found.first - found.second == pytest.approx(found.difference)
    assert found.p_t == pytest.approx(stats.ttest_rel(x, y).pvalue, rel=1e-6)
    stream = "rng" if Version(scipy.__version__) >= Version("1.15") else "random_state"
    wanted = stats.permutation_test(
        (x - y,),
        lambda d, axis: d.mean(axis=axis),
        permutation_type="samples",
        n_resamples=20_000,
        vectorized=True,
        **{stream: np.random.default_rng(0)},
    )
    assert found.p_sign_flip == pytest.approx(wanted.pvalue, abs=0.015)
    ends = stats.bootstrap(
        (x - y,), np.mean, n_resamples=20_000, method="percentile", **{stream: np.random.default_rng(0)}
    ).confidence_interval
    assert found.low == pytest.approx(ends.low, abs=2e-3) and found.high == pytest.approx(ends.high, abs=2e-3)
    assert (found.wins, found.ties, found.losses) == (int((x > y).sum()), 0, int((x < y).sum()))
    assert found.users == 60 and found.left_out == 0


def test_few_users_try_all_signs() -> None:
    first, second = result([0.5, 0.25, 1.0, 0.0, 0.75]), result([0.0, 0.5, 0.25, 0.0, 0.5])
    differences = np.array([0.5, -0.25, 0.75, 0.0, 0.25])
    sums = [abs(np.dot(signs, differences)) for signs in product([-1, 1], repeat=5)]
    found = compare_evaluations(first, second)
    assert found.p_sign_flip == np.mean([one >= abs(differences.sum()) - 1e-12 for one in sums])
    assert found.p_sign_flip == compare_evaluations(first, second, seed=7).p_sign_flip
    assert (found.wins, found.ties, found.losses) == (3, 1, 1)


def test_equal_and_constant() -> None:
    same = result([0.5, 0.25, 1.0])
    found = compare_evaluations(same, same)
    assert (found.difference, found.low, found.high, found.p_t, found.p_sign_flip, found.ties) == (0, 0, 0, 1, 1, 3)
    better = compare_evaluations(result([0.75, 0.5, 1.25]), same)
    assert (better.p_t, better.low, better.high) == (None, 0.25, 0.25)
    assert better.p_sign_flip == 0.25  # two of eight signs


def test_seed_and_draws() -> None:
    first, second = draw(200, 0.01)
    found = compare_evaluations(first, second, draws=500)
    assert found == compare_evaluations(first, second, draws=500)
    assert found != compare_evaluations(first, second, draws=500, seed=1)
    other = compare_evaluations(second, first, draws=500)
    assert other.difference == -found.difference and other.wins == found.losses


def test_p_values_are_uniform_under_equality() -> None:
    values = [compare_evaluations(*draw(40, 0.0, seed=one), draws=300).p_sign_flip for one in range(120)]
    assert stats.kstest(values, "uniform").pvalue > 0.001


def test_users_must_be_the_same() -> None:
    first, second = result([0.1, 0.2, 0.4], [0, 1, 3]), result([0.1, 0.5, 0.9, 0.3], [1, 2, 3, 5])
    with pytest.raises(InvalidInputError, match="3 and 4 users, 2 of them in common"):
        compare_evaluations(first, second)
    found = compare_evaluations(first, second, intersect=True)
    assert (found.users, found.left_out) == (2, 3)
    assert found.first == pytest.approx(0.3) and found.second == pytest.approx(0.5)
    with pytest.raises(InvalidInputError, match="at least 2 common users are needed, got 1"):
        compare_evaluations(first, result([0.1], [1]), intersect=True)


def test_refusals() -> None:
    one = result([0.1, 0.2])
    with pytest.raises(InvalidInputError, match="first evaluation has no figures of single users for 'ndcg@20'"):
        compare_evaluations(one, one, "ndcg@20")
    with pytest.raises(InvalidInputError, match=r"second evaluation .* by_user=True"):
        compare_evaluations(one, Evaluation({}, one.users, {}, {}, {}, {}))
    with pytest.raises(InvalidInputError, match="different labels"):
        compare_evaluations(one, result([0.1, 0.2], user_labels=("a", "b")))
    with pytest.raises(InvalidInputError, match="draws must be at least 100"):
        compare_evaluations(one, one, draws=10)


def test_runs() -> None:
    left, right = [0.30, 0.35, 0.31, 0.33], [0.29, 0.31, 0.30, 0.33]
    found = compare_runs([result([one, one]) for one in left], right)
    wanted = stats.ttest_rel(left, right)
    ends = wanted.confidence_interval(0.95)
    assert found.p_t == pytest.approx(wanted.pvalue, rel=1e-4)
    assert found.low == pytest.approx(ends.low, abs=1e-6) and found.high == pytest.approx(ends.high, abs=1e-6)
    assert found.first_std == pytest.approx(np.std(left, ddof=1), rel=1e-4)
    assert found.runs == 4 and found.to_dict()["difference"] == pytest.approx(0.015)


def test_one_run_says_nothing_about_chance() -> None:
    found = compare_runs([0.5], [0.25])
    assert (found.difference, found.p_t, found.low, found.first_std) == (0.25, None, None, None)


def test_runs_must_pair() -> None:
    with pytest.raises(InvalidInputError, match="2 runs cannot be paired with 1"):
        compare_runs([0.1, 0.2], [0.1])
    with pytest.raises(InvalidInputError, match="at least one"):
        compare_runs([], [])
    with pytest.raises(InvalidInputError, match="no figure 'ndcg@20'; it has recall@20"):
        compare_runs([result([0.1])], [0.1], "ndcg@20")


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_equal_differences_say_nothing_about_chance(shift: float) -> None:
    found = compare_runs([0.5 + shift] * 3, [0.5] * 3)
    assert (found.difference, found.p_t, found.low, found.high) == (shift, None, None, None)
    assert compare_runs([0.5, 0.75], [0.25, 0.5]).p_t is None
