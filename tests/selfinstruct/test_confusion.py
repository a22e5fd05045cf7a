from __future__ import annotations

import json

import numpy as np
import pytest

from kgneg.selfinstruct.confusion import Confusion

RATES = np.array([[0.1, 0.9], [0.3, 0.8], [0.2, 0.6]])


def made_up(rows: int = 6000, seed: int = 0) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Three judges, of whom each is silent now and then."""
    random = np.random.default_rng(seed)
    truth = random.random(rows) < 0.3
    said = (random.random((rows, 3)) < RATES[:, truth.astype(int)].T).astype(float)
    said[random.random((rows, 3)) < 0.1] = np.nan
    return said, random.choice(["a", "b"], rows).tolist(), truth


def test_counts() -> None:
    found = Confusion.supervised(*made_up(), shrinkage=10.0)
    np.testing.assert_allclose(found.yes[-1], RATES, atol=0.03)
    assert found.true[-1] == pytest.approx(0.3, abs=0.02)


def test_shrinkage_draws_to_all_together() -> None:
    said = np.array([[1.0]] * 5 + [[0.0]] * 95)
    relations, truth = ["rare"] * 5 + ["often"] * 95, np.array([0, 1] * 50)
    loose, tight = (Confusion.supervised(said, relations, truth, shrinkage=one) for one in (0.01, 1e9))
    rare = loose.relations.index("rare")
    assert loose.yes[rare].min() > 0.95
    np.testing.assert_allclose(tight.yes[rare], tight.yes[-1], atol=1e-6)


def test_evidence_is_the_log_of_the_ratio() -> None:
    found = Confusion(("a",), np.array([[[0.1, 0.8]], [[0.5, 0.5]]]), np.array([0.5, 0.5]))
    said = np.array([[1.0], [0.0], [np.nan], [0.5]])
    expected = [np.log(8), np.log(0.2 / 0.9), 0, np.log(0.5 / 0.5)]
    np.testing.assert_allclose(found.evidence(said, ["a"] * 4)[:, 0], expected)
    assert found.evidence(said, ["new"] * 4).tolist() == [[0.0]] * 4


def test_without_labels() -> None:
    said, relations, truth = made_up()
    found = Confusion.unsupervised(said, relations, shrinkage=100.0)
    np.testing.assert_allclose(found.yes[-1], RATES, atol=0.06)
    odds = found.evidence(said, relations).sum(axis=1) + found.prior(relations)
    assert ((odds > 0) == truth).mean() > 0.88


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_judges_that_always_say_the_same(answer: float) -> None:
    said, relations = np.full((50, 2), answer), ["r"] * 50
    found = Confusion.unsupervised(said, relations, shrinkage=100.0)
    odds = found.evidence(said, relations).sum(axis=1) + found.prior(relations)
    assert ((odds > 0) == (answer > 0.5)).all()
    assert np.isfinite(odds).all()


def test_nothing_at_all() -> None:
    found = Confusion.unsupervised(np.empty((0, 2)), [], shrinkage=1.0)
    assert np.isfinite(found.evidence(np.array([[1.0, 0.0]]), ["a"])).all()


def test_reload() -> None:
    found = Confusion.supervised(*made_up(200), shrinkage=10.0)
    again = Confusion.restore(json.loads(json.dumps(found.state())))
    np.testing.assert_array_equal(again.yes, found.yes)
    assert again.relations == found.relations
