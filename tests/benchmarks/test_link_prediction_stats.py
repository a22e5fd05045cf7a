"""Thresholds and significance."""

from __future__ import annotations

import numpy as np
import pytest
from link_prediction_hard import Items, accuracies, best_threshold, majority
from link_prediction_stats import compare_paired, compare_seeds, holm, rounded


def brute_force(scores: np.ndarray, truth: np.ndarray) -> float:
    ends = [scores.min() - 1, *((a + b) / 2 for a in scores for b in scores), scores.max() + 1]
    return max(float(((scores > one) == truth).mean()) for one in ends)


@pytest.mark.parametrize("seed", range(20))
def test_no_threshold_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, size=15).astype(float)  # with many ties
    truth = rng.random(15) < 0.5
    threshold = best_threshold(scores, truth)
    assert ((scores > threshold) == truth).mean() == brute_force(scores, truth)


@pytest.mark.parametrize(("truth", "expected"), [(True, [True, True]), (False, [False, False])])
def test_one_class_gets_one_answer(truth: bool, expected: list[bool]) -> None:
    scores = np.array([0.3, 0.1])
    assert (scores > best_threshold(scores, np.array([truth, truth]))).tolist() == expected


def test_relations_have_thresholds_of_their_own_where_there_is_enough_to_tune_them() -> None:
    truth = np.tile([True, False], 10)
    scores = np.where(truth, 1.0, 0.0)
    # relation 0 has scores around 0.5, relation 1 around 10.5, relation 2 one example only
    valid = items(np.repeat([0, 1, 2], [20, 20, 1]), np.concatenate([truth, truth, [True]]))
    test = items(np.array([0, 0, 1, 1, 2]), np.array([True, False, True, False, True]))
    own, overall = accuracies(
        valid, np.concatenate([scores, scores + 10, [20.0]]), test, np.array([1.0, 0.0, 11.0, 10.0, 20.0])
    )
    assert own.tolist() == [True] * 5
    assert overall.sum() < 5


def test_without_a_model_the_more_frequent_answer_is_taken() -> None:
    valid = items(np.repeat([0, 1], 20), np.concatenate([np.arange(20) < 15, np.arange(20) < 4]))
    test = items(np.repeat([0, 1], 10), np.concatenate([np.arange(10) < 9, np.arange(10) < 1]))
    assert majority(valid, test) == 0.9


def items(relation: np.ndarray, truth: np.ndarray) -> Items:
    return Items(np.stack([relation] * 3, axis=1), truth)


def test_a_clear_difference_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(500)
    better = compare_paired(base + 0.1 + 0.2 * rng.standard_normal(500), base, resamples=2000, seed=1)
    assert better["low"] > 0
    assert better["p"] < 0.01
    same = compare_paired(base + 0.2 * rng.standard_normal(500), base, resamples=2000, seed=1)
    assert same["low"] < 0 < same["high"]
    assert same["p"] > 0.05


def test_the_bootstrap_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    found = [
        compare_paired(rng.standard_normal(100), np.zeros(100), resamples=400, seed=number) for number in range(300)
    ]
    false_alarms = sum(one["p"] < 0.05 for one in found)
    assert 4 < false_alarms < 32  # 15 are expected


def test_p_is_the_same_for_both_directions_and_never_zero() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random(50), rng.random(50)
    forth, back = (compare_paired(*pair, resamples=999, seed=5) for pair in ((one, other), (other, one)))
    assert forth["p"] == back["p"]
    assert forth["difference"] == -back["difference"]
    assert compare_paired(one + 9, one, resamples=999, seed=5)["p"] == 2 / 1000
    assert compare_paired(one, one, resamples=999, seed=5)["p"] == 1


def test_chunks_do_not_change_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random(50), rng.random(50)
    whole = compare_paired(one, other, resamples=100, seed=5)
    monkeypatch.setattr("link_prediction_stats._CHUNK", 50 * 7)
    assert compare_paired(one, other, resamples=100, seed=5) == whole


def test_holm_is_that_of_the_book() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_seeds_are_compared_in_pairs() -> None:
    p = compare_seeds([0.31, 0.35, 0.29], [0.30, 0.34, 0.28 + 1e-4])
    assert p is not None
    assert p < 0.001
    assert compare_seeds([0.3], [0.2]) is None
    assert compare_seeds([0.3, 0.3], [0.2, 0.2]) is None


def test_rounding_reaches_every_float() -> None:
    assert rounded({"a": [1 / 3, (2, True)], "b": None}, 2) == {"a": [0.33, [2, True]], "b": None}
