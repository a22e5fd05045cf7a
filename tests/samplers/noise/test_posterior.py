from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.samplers.noise.posterior import Labelling, best_level, expected_count, shift_to_sum

SHARES = st.floats(1e-6, 1 - 1e-6)


def labelled_rows(
    number: int, positives: float, rate: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows whose class is plain to see: the probability of a label, who has one, and who is positive."""
    generator = np.random.default_rng(seed)
    truth = generator.random(number) < positives
    labelled = truth & (generator.random(number) < rate)
    return np.where(truth, rate, 1e-6), labelled, truth


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(1, 40), SHARES, SHARES), min_size=1, max_size=30), least=st.none())
def test_labelling_is_ordered(rows: list[tuple[int, float, float]], least: None) -> None:
    total = np.array([row[0] for row in rows], dtype=float)
    q = np.sort([row[1] for row in rows])[::-1]
    labelled = np.round(total * [row[2] for row in rows])
    found = Labelling.estimate(labelled, total, q)
    assert 0 < found.least <= found.most < 1
    if labelled.sum():
        assert q.min() - 1e-9 <= found.least <= q.max() + 1e-9
    low, high = found.range(10.0)
    assert 0 <= low <= high


@settings(max_examples=100, deadline=None)
@given(ends=st.tuples(SHARES, SHARES))
def test_hidden_is_a_probability_that_rises(ends: tuple[float, float]) -> None:
    q = np.concatenate([[1e-9], np.linspace(1e-6, 1 - 1e-6, 999)])
    hidden = Labelling(min(ends), max(ends)).hidden(q)
    assert ((hidden >= 0) & (hidden <= 1)).all()
    assert (np.diff(hidden) >= -1e-9).all()
    assert hidden[-1] == pytest.approx(1)
    assert hidden[0] < 1e-2 or min(ends) < 1e-6


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_hidden_by_hand(rate: float) -> None:
    """Elkan and Noto: a row without label is positive with the odds of a label times ``(1 - c) / c``."""
    q = np.array([0.01, 0.3, 0.6, 0.95]) * rate
    expected = (1 - rate) / rate * q / (1 - q)
    assert np.allclose(Labelling(rate, rate).hidden(q), expected)
    assert Labelling(rate, rate).range(20.0) == pytest.approx((20 * (1 - rate) / rate,) * 2)


def test_obvious_positives_are_labelled_more_often() -> None:
    """The share rises from 0.2 to 0.8: 0.2, 0.35 (a quarter of the way), 0.8, and 0.8 beyond the end."""
    q = np.array([0.0, 0.2, 0.8, 0.9])
    assert np.allclose(Labelling(0.2, 0.8).hidden(q), [0, (0.2 / 0.35 - 0.2) / 0.8, 1, 1])
    assert Labelling(0.2, 0.8).range(8.0) == pytest.approx((2, 32))


def test_estimate_by_hand() -> None:
    """Three bins; Wilson's lower ends are 90 of 100, 99 of 300 and 100 of 1300 rows at z = 1.645."""
    labelled, total, q = np.array([90.0, 9.0, 1.0]), np.array([100.0, 200.0, 1000.0]), np.array([0.9, 0.05, 0.001])
    found = Labelling.estimate(labelled, total, q)
    assert found.least == pytest.approx((90 * 0.9 + 9 * 0.05 + 0.001) / 100)
    share, n, z = 0.9, 100, 1.645
    low = (share + z * z / 2 / n - z * np.sqrt(share * (1 - share) / n + (z / n) ** 2 / 4)) / (1 + z * z / n)
    assert found.most == pytest.approx(max(low, found.least))
    lucky = Labelling.estimate(np.array([2.0, 98.0]), np.array([2.0, 998.0]), np.array([0.2, 0.1]))
    assert lucky.most < 0.6  # two of two rows prove little


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("positives", [0.02, 0.2])
def test_count_is_right_where_classes_are_apart(rate: float, positives: float) -> None:
    q, labelled, truth = labelled_rows(20_000, positives, rate)
    labelling, hidden, expected = expected_count(q, labelled, np.arange(20_000), 0)
    really = int((truth & ~labelled).sum())
    assert expected.value == pytest.approx(really, rel=0.2 if positives < 0.1 else 0.1)
    assert expected.low <= expected.value <= expected.high
    assert expected.low > 0.25 * really and expected.high < 1.4 * really
    assert labelling.least == pytest.approx(rate, abs=0.03) and labelling.most == pytest.approx(rate, abs=0.08)
    assert hidden[truth].min() > 0.75 and hidden[~truth].max() < 0.01


def test_count_of_nothing() -> None:
    _, labelled, truth = labelled_rows(5000, 0.1, 1.0)
    expected = expected_count(np.where(truth, 0.999, 1e-4), labelled, np.arange(5000), 0)[2]
    assert expected.value < 3 and expected.low <= expected.value <= expected.high < 20


def test_interval_knows_groups() -> None:
    """Rows that come twenty times say no more than once."""
    generator = np.random.default_rng(0)
    q = generator.random(200) ** 3
    labelled = generator.random(200) < q
    often, groups = np.repeat(q, 20), np.repeat(np.arange(200), 20)
    alone = expected_count(often, np.repeat(labelled, 20), np.arange(4000), 0)[2]
    grouped = expected_count(often, np.repeat(labelled, 20), groups, 0)[2]
    assert grouped.high > 1.1 * alone.high
    assert grouped.value == alone.value
    assert expected_count(often, np.repeat(labelled, 20), groups, 0)[2] == grouped
    assert expected_count(often, np.repeat(labelled, 20), groups, 1)[2] != grouped


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.one_of(st.just(0.0), st.just(1.0), st.floats(1e-6, 1 - 1e-6)), min_size=1, max_size=40),
    share=st.floats(0.01, 0.99),
)
@example(values=[0.999999, 1e-06], share=0.75)
def test_shift_to_sum(values: list[float], share: float) -> None:
    probability = np.array(values)
    inside = (probability > 0) & (probability < 1)
    total = (probability == 1).sum() + share * inside.sum()
    if not inside.any():
        with pytest.raises(InvalidInputError, match="0 rows cannot have the sum"):
            shift_to_sum(probability, total)
        return
    before = probability.copy()
    shifted = shift_to_sum(probability, total)
    assert shifted.sum() == pytest.approx(total, abs=1e-6)
    assert np.array_equal(probability, before)
    assert np.array_equal(shifted[~inside], probability[~inside])
    order = probability.argsort()
    assert (np.diff(shifted[order]) >= -1e-12).all()
    inside &= (shifted > 1e-9) & (shifted < 1 - 1e-9)  # nearer to 1, a probability has too few digits for its odds
    odds = np.log(shifted[inside] / (1 - shifted[inside])) - np.log(probability[inside] / (1 - probability[inside]))
    assert not len(odds) or np.ptp(odds) < 1e-3


@pytest.mark.parametrize("total", [0.0, 1.0, 3.0, -1.0, 9.0])
def test_shift_out_of_reach(total: float) -> None:
    with pytest.raises(InvalidInputError, match="cannot have the sum"):
        shift_to_sum(np.array([0.2, 0.7, 1.0, 0.0]), total)


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=30), beta=st.sampled_from([0.5, 1.0, 2.0]))
def test_best_level(values: list[float], beta: float) -> None:
    """Try every number of rows."""
    probability = np.array(values)
    level = best_level(probability, beta, least=0.0)
    if not probability.sum() > 0:
        assert level == 1
        return

    def score(flagged: np.ndarray) -> float:
        hits = probability[flagged].sum()
        return float((1 + beta**2) * hits / (flagged.sum() + beta**2 * probability.sum()))

    best = max(score(probability >= value) for value in probability)
    assert score(probability >= level) >= best - 1e-9
    assert best_level(probability, beta) == max(level, 0.1)


def test_best_level_of_nobody() -> None:
    assert best_level(np.array([])) == 1
    assert best_level(np.zeros(4)) == 1
    assert best_level(np.full(9, 1e-4)) == 0.1
    assert best_level(np.array([0.9, 0.8, 0.1, 0.05])) == 0.8
