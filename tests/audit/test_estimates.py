from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from kgneg.audit.estimates import clustered_share, good_turing, lift, ratio_to, spread, unseen_share


def test_independent_negatives_give_the_interval_of_wilson() -> None:
    hits = (np.arange(5000) % 50 == 0).astype(float)
    found = clustered_share(hits, np.ones(5000))
    exact = binomtest(100, 5000).proportion_ci(method="wilson")
    assert (found["count"], found["total"], found["share"]) == (100, 5000, 0.02)
    assert found["low"] == pytest.approx(exact.low, rel=1e-3)
    assert found["high"] == pytest.approx(exact.high, rel=1e-3)


def test_clusters_widen_the_interval() -> None:
    once = clustered_share(np.array([1.0, 0.0] * 50), np.full(100, 1.0))
    again = clustered_share(np.array([10.0, 0.0] * 50), np.full(100, 10.0))
    assert again["total"] == 10 * once["total"]
    assert again["high"] - again["low"] == pytest.approx(once["high"] - once["low"], rel=0.01)


def test_extremes() -> None:
    none = clustered_share(np.zeros(100), np.full(100, 10.0))
    assert (none["share"], none["low"]) == (0.0, 0.0)
    assert none["high"] == pytest.approx(3.84 / 1000, rel=0.01)
    everything = clustered_share(np.full(100, 10.0), np.full(100, 10.0))
    assert (everything["share"], everything["high"]) == (1.0, 1.0)
    assert everything["low"] == pytest.approx(1 - 3.84 / 1000, rel=0.01)
    assert clustered_share(np.zeros(3), np.zeros(3))["share"] is None
    alone = clustered_share(np.array([5.0]), np.array([10.0]))
    assert alone["low"] < 0.1
    assert alone["high"] > 0.9


def clusters(generator: np.random.Generator, rate: float, number: int) -> tuple[Any, Any]:
    """Draw positives with up to 32 negatives each, whose own rates differ a lot."""
    rates = generator.beta(rate * 2, (1 - rate) * 2, size=number)
    totals = generator.integers(20, 33, size=number)
    return generator.binomial(totals, rates).astype(float), totals.astype(float)


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_interval_covers_the_truth(rate: float) -> None:
    generator = np.random.default_rng(0)
    covered, covered_naively, rounds = 0, 0, 600
    for _ in range(rounds):
        hits, totals = clusters(generator, rate, 400)
        found = clustered_share(hits, totals)
        covered += found["low"] <= rate <= found["high"]
        naive = binomtest(int(hits.sum()), int(totals.sum())).proportion_ci(method="wilson")
        covered_naively += naive.low <= rate <= naive.high
    assert covered / rounds > 0.92
    assert covered_naively / rounds < 0.75, "the clusters matter here"


def test_ratio_covers_the_truth() -> None:
    generator = np.random.default_rng(1)
    covered, widths, rounds = 0, [], 400
    for _ in range(rounds):
        rates = generator.beta(0.2, 3.0, size=400)  # both draws are for the same positives
        totals = np.full(400, 32.0)
        first = generator.binomial(32, rates).astype(float)
        second = generator.binomial(32, rates / 2).astype(float)
        found = ratio_to(first, totals, second, totals)
        covered += found["low"] <= 2.0 <= found["high"]
        widths.append(math.log(found["high"] / found["low"]))
    assert 0.92 < covered / rounds < 0.98
    assert np.mean(widths) < 0.3, "draws of one positive are compared with each other"


def test_ratio_without_hits() -> None:
    totals, some = np.full(50, 10.0), np.r_[np.ones(10), np.zeros(40)]
    assert ratio_to(some, totals, np.zeros(50), totals) == {"ratio": None, "low": None, "high": None}
    found = ratio_to(np.zeros(50), totals, some, totals)
    assert (found["ratio"], found["low"]) == (0.0, 0.0)
    assert 0 < found["high"] < 1
    assert ratio_to(np.zeros(50), np.zeros(50), some, totals)["ratio"] is None


def test_lift() -> None:
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        expected = generator.uniform(0.01, 0.1, size=1000)
        hits = generator.poisson(3 * expected)
        found = lift(hits, expected)
        covered += found["low"] <= 3 <= found["high"]
    assert covered / 300 > 0.92
    none = lift(np.zeros(10), np.full(10, 0.5))
    assert (none["lift"], none["low"]) == (0.0, 0.0)
    assert none["high"] == pytest.approx(3.689 / 5, rel=1e-3)
    assert lift(np.zeros(0), np.zeros(0))["lift"] is None


def test_good_turing_foresees_the_next_draw() -> None:
    generator = np.random.default_rng(3)
    weights = generator.pareto(1.0, size=2000)
    weights /= weights.sum()
    new, foreseen = [], []
    for _ in range(40):
        draws = generator.choice(2000, size=501, p=weights)
        counts = np.bincount(draws[:-1], minlength=2000)
        foreseen.append(good_turing(counts)["next_new"])
        new.append(weights[counts == 0].sum())
    assert np.mean(foreseen) == pytest.approx(np.mean(new), rel=0.05)
    assert good_turing(np.zeros(3)) == {"hits": 0, "distinct": 0, "once": 0, "next_new": None}


def test_unseen_share() -> None:
    assert unseen_share(np.array([1, 1, 2, 3])) == 0.5
    assert unseen_share(np.array([1, 1, 2, 3]), np.array([1, 1, 1, 1])) == 0.25
    assert unseen_share(np.array([], dtype=np.int64)) == 1.0


def test_spread() -> None:
    even, one = spread(np.full(8, 5)), spread(np.array([0, 9, 0, 0]))
    assert (even["coverage"], even["entropy"], even["effective"]) == (1.0, 1.0, 8.0)
    assert (one["coverage"], one["entropy"], one["effective"]) == (0.25, 0.0, 1.0)
    assert spread(np.zeros(4))["entropy"] is None
