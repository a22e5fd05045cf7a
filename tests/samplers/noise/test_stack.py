from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from kgneg.samplers.noise.stack import calibrate, stacked


def test_stacked_is_the_probability_of_a_label() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(8000, 3)) * [1.0, 50.0, 1e-3] + [0.0, 1e4, 0.0]
    truth = expit(2 * features[:, 0] - 2 + 700 * features[:, 2])
    labelled = generator.random(8000) < truth
    q = stacked(features, labelled, generator.integers(4, size=8000))
    assert ((q > 0) & (q < 1)).all()
    assert np.abs(q - truth).mean() < 0.02
    assert q.sum() == pytest.approx(labelled.sum(), rel=0.02)


def test_rows_are_judged_by_the_other_folds() -> None:
    """A fold whose labels are turned round is judged by the others, and does not change what is said of itself."""
    generator = np.random.default_rng(0)
    features, folds = generator.normal(size=(900, 2)), np.arange(900) % 3
    labelled = features[:, 0] > 0.5
    turned = np.where(folds == 1, ~labelled, labelled)
    before, after = stacked(features, labelled, folds), stacked(features, turned, folds)
    assert np.array_equal(before[folds == 1], after[folds == 1])
    assert not np.allclose(before[folds != 1], after[folds != 1], atol=0.05)


def test_constant_features_say_nothing() -> None:
    labelled = np.arange(400) % 4 == 0
    q = stacked(np.full((400, 2), 0.1), labelled, np.arange(400) // 4 % 2)
    assert np.allclose(q, 0.25, atol=1e-3)


@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (0.5, -1.5), (1.6, 1.0)])
def test_calibrated_probabilities_are_right(slope: float, shift: float) -> None:
    generator = np.random.default_rng(1)
    score = generator.normal(-1, 2, size=6000)
    really = expit(slope * score + shift)
    truth = generator.random(6000) < really
    known = np.arange(6000) % 2 == 0
    probability, low, high = calibrate(score, known, truth, ~known, np.arange(6000), 0)
    assert np.abs(probability - really).mean() < 0.02
    assert low < truth[~known].sum() < high
    assert low > 0.85 * truth[~known].sum() and high < 1.15 * truth[~known].sum()
    assert calibrate(score, known, truth, ~known, np.arange(6000), 0)[1:] == (low, high)
    hidden = truth & known  # the truth of other rows is not read
    assert np.array_equal(calibrate(score, known, hidden, ~known, np.arange(6000), 0)[0], probability)


def test_few_rows_change_little() -> None:
    score = np.array([-3.0, -2.0, 0.0, 3.0])
    probability = calibrate(score, np.array([True, False, False, True]), score > 0, score < 3, np.arange(4), 0)[0]
    assert np.allclose(logit(probability), score, atol=0.6)
    assert (np.diff(probability) > 0).all()


def test_slope_stays_positive() -> None:
    """Misleading clean rows flatten the order, and do not turn it round."""
    score = np.linspace(-4, 4, 200)
    everybody = np.ones(200, dtype=bool)
    probability = calibrate(score, everybody, score < 0, everybody, np.arange(200), 0)[0]
    assert (np.diff(probability) > 0).all()
