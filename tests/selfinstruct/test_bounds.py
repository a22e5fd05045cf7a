from __future__ import annotations

import json
import math

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.bounds import (
    Certificate,
    binomial_bound,
    certify_below,
    certify_precision,
    certify_recall,
)


def made_up(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are true probabilities, in 50 steps."""
    random = np.random.default_rng(seed)
    scores = np.round(random.random(rows) ** 2, 2)
    return scores, random.random(rows) < scores


EVERY, TRUE = made_up(200_000, 99)


def right(threshold: float) -> float:
    """How often what is kept is false, nearly exactly."""
    return float(1 - EVERY[threshold >= EVERY].mean())


@pytest.mark.parametrize(("good", "rows"), [(0, 10), (10, 10), (45, 50), (1, 2)])
def test_bound_is_where_the_tail_probability_is_the_error(good: int, rows: int) -> None:
    bound = binomial_bound(good, rows, 0.95)
    tail = sum(math.comb(rows, k) * bound**k * (1 - bound) ** (rows - k) for k in range(good, rows + 1))
    assert bound == 0 if good == 0 else tail == pytest.approx(0.05)


def test_bound_without_rows_is_nothing() -> None:
    assert binomial_bound(0, 0) == 0


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("target", [0.8, 0.9])
def test_precision_holds_as_often_as_stated(target: float, given: bool) -> None:
    cuts = np.linspace(0, 1, 41) if given else None
    found = [certify_precision(*made_up(400, seed), target, thresholds=cuts) for seed in range(200)]
    broken = [one for one in found if one.reachable and right(one.threshold) < target]
    assert len(broken) <= 0.05 * len(found) + 2 * math.sqrt(0.05 * 0.95 * len(found))
    assert np.mean([one.reachable for one in found]) > 0.6


@pytest.mark.parametrize("batch", [100, 1000])
def test_what_is_promised_for_a_batch_is_counted_in_it(batch: int) -> None:
    cuts, broken, reached = np.linspace(0, 1, 41), 0, 0
    for seed in range(300):
        scores, truth = made_up(400 + batch, seed)
        found = certify_precision(scores[:400], truth[:400], 0.8, thresholds=cuts, batch=batch)
        kept = scores[400:] <= found.threshold
        reached += found.reachable
        broken += bool(kept.any() and (~truth[400:][kept]).mean() < 0.8)
    assert broken <= 0.05 * 300 + 2 * math.sqrt(0.05 * 0.95 * 300)
    assert reached > 150


def test_an_endless_batch_is_the_long_run() -> None:
    scores, truth = made_up(1000, 4)
    cuts = np.linspace(0, 1, 41)
    long, endless = (certify_precision(scores, truth, 0.8, thresholds=cuts, batch=one) for one in (None, 10**9))
    assert endless == long


def test_more_rows_let_more_through() -> None:
    few, many = (certify_precision(*made_up(rows, 1), 0.8) for rows in (100, 10_000))
    assert few.share < many.share
    assert right(many.threshold) == pytest.approx(0.8, abs=0.05)


def test_out_of_reach() -> None:
    scores = np.linspace(0, 1, 500)
    found = certify_precision(scores, np.arange(500) % 2 == 0, 0.95)
    assert not found.reachable
    assert "not reachable" in found.statement()
    assert "precision >= 0.95 with 95% confidence" in found.statement()


def test_too_few_rows_cannot_reach() -> None:
    assert not certify_precision(np.zeros(20), np.zeros(20, dtype=bool), 0.9).reachable


def test_truths_beyond_the_threshold_do_not_matter() -> None:
    scores, truth = made_up(1000, 3)
    cuts = np.linspace(0, 1, 21)
    found = certify_precision(scores, truth, 0.9, thresholds=cuts)
    assert found.threshold in cuts
    kept = scores <= found.threshold
    assert (found.rows, found.good) == (int(kept.sum()), int((kept & ~truth).sum()))


def test_infinite_scores_are_never_kept() -> None:
    scores = np.append(np.zeros(300), np.full(300, np.inf))
    found = certify_precision(scores, np.repeat([False, True], 300), 0.9, thresholds=np.array([0.5, np.inf]))
    assert (found.threshold, found.rows) == (0.5, 300)


def test_recall_holds_as_often_as_stated() -> None:
    false = EVERY[~TRUE]
    found = [certify_recall(*made_up(300, seed), 0.8) for seed in range(300)]
    broken = [one for one in found if (false <= one.threshold).mean() < 0.8]
    assert len(broken) <= 0.05 * 300 + 2 * math.sqrt(0.05 * 0.95 * 300)
    assert not certify_recall(np.zeros(5), np.zeros(5, dtype=bool), 0.9).reachable
    assert not certify_recall(np.zeros(5), np.ones(5, dtype=bool), 0.9).reachable


def test_recall_with_an_infinite_threshold_is_out_of_reach() -> None:
    scores = np.append(np.linspace(0, 1, 60), np.full(40, np.inf))
    found = certify_recall(scores, np.zeros(100, dtype=bool), 0.9)
    assert not found.reachable
    assert "not reachable with 100 checked rows" in found.statement()
    assert json.loads(json.dumps(found.state(), allow_nan=False))["threshold"] is None
    assert not Certificate("recall", 0.9, 0.95, math.inf, 100, 95, 1.0, 100).reachable


def test_no_threshold_lies_in_a_gap_or_above_the_limit() -> None:
    scores = np.append(np.full(300, 0.1), np.full(100, 0.9))
    truth, others = scores > 0.5, np.linspace(0, 1, 101)
    assert certify_below(0.5, scores, truth, 0.9, others=others).threshold == 0.1
    assert certify_below(0.5, scores, truth, 0.9).threshold == 0.1
    found = certify_below(0.5, scores, np.zeros(400, dtype=bool), 0.9, others=others)
    assert (found.threshold, found.rows) == (0.1, 300)
    assert not certify_below(0.1, scores, truth, 0.9, others=others).reachable
    assert not certify_below(0.5, np.full(400, np.nan), truth, 0.9, others=others).reachable
    assert not certify_below(0.5, scores[:0], truth[:0], 0.9, others=others).reachable
    assert not certify_below(0.5, scores, np.zeros(400, dtype=bool), 0.9, goal="recall").reachable
    assert certify_below(0.5, scores, truth, 0.9, goal="recall").threshold == 0.1


def test_precision_below_a_limit_holds_as_often_as_stated() -> None:
    others = made_up(400, 9999)[0]
    found = [certify_below(0.5, *made_up(400, seed), 0.8, others=others) for seed in range(200)]
    broken = [one for one in found if one.reachable and right(one.threshold) < 0.8]
    assert len(broken) <= 0.05 * len(found) + 2 * math.sqrt(0.05 * 0.95 * len(found))
    assert np.mean([one.reachable for one in found]) > 0.6


@pytest.mark.parametrize("rows", [30, 400])
def test_certificate_survives_json(rows: int) -> None:
    found = certify_precision(*made_up(rows, 1), 0.9)
    assert Certificate.restore(json.loads(json.dumps(found.state(), allow_nan=False))) == found


@pytest.mark.parametrize(
    ("scores", "truth", "target", "level", "message"),
    [
        ([0.1], [True], 1.0, 0.95, "target must lie between 0 and 1"),
        ([0.1], [True], 0.9, 0.0, "level must lie between 0 and 1"),
        ([0.1], [True, False], 0.9, 0.95, "one truth per score"),
        ([], [], 0.9, 0.95, "no checked rows"),
        ([np.nan], [True], 0.9, 0.95, "score 0 is NaN"),
    ],
)
def test_refusals(scores: list[float], truth: list[bool], target: float, level: float, message: str) -> None:
    for certify in (certify_precision, certify_recall):
        with pytest.raises(InvalidInputError, match=message):
            certify(np.array(scores), np.array(truth), target, level=level)


def test_counts_that_contradict() -> None:
    with pytest.raises(InvalidInputError, match="between 0 and the 3 rows"):
        binomial_bound(4, 3)
