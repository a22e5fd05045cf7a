from __future__ import annotations

import json

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.calibration import Calibrator


def made_up(rows: int = 4000, seed: int = 0) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Log odds that are twice too sure, and one relation whose triples are true more often."""
    random = np.random.default_rng(seed)
    odds = random.normal(-1, 1, rows)
    relations = np.where(random.random(rows) < 0.3, "often", "plain")
    chance = 1 / (1 + np.exp(-(odds + 2 * (relations == "often"))))
    return 2 * odds, relations.tolist(), random.random(rows) < chance


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_probabilities_become_right(method: str) -> None:
    made = Calibrator(method=method, shrinkage=50).fit(*made_up())
    odds, relations, truth = made_up(seed=1)
    found = made.probability(odds, relations)
    for name in ("often", "plain"):
        own = np.array(relations) == name
        for low in np.arange(0, 1, 0.2):
            rows = own & (found >= low) & (found < low + 0.2)
            if rows.sum() > 100:
                assert truth[rows].mean() == pytest.approx(found[rows].mean(), abs=0.08)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_order_stays_within_a_relation(method: str) -> None:
    made = Calibrator(method=method, shrinkage=50).fit(*made_up())
    found = made.probability(np.linspace(-5, 5, 50), ["often"] * 50)
    assert (np.diff(found) > 0).all()
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_rare_relations_are_like_all(method: str) -> None:
    odds, relations, truth = made_up(300)
    made = Calibrator(method=method).fit(np.append(odds, 0.0), [*relations, "once"], np.append(truth, True))
    rare, unknown = (made.probability(np.zeros(1), [name])[0] for name in ("once", "never"))
    assert rare == pytest.approx(unknown, abs=0.05)


def test_strong_shrinkage_is_one_line() -> None:
    made = Calibrator(shrinkage=1e9).fit(*made_up())
    assert made.probability(np.zeros(1), ["often"]) == pytest.approx(made.probability(np.zeros(1), ["plain"]), abs=1e-3)


def test_missing_stays_missing_and_reload() -> None:
    for method in ("platt", "isotonic"):
        made = Calibrator(method=method).fit(*made_up(500))
        again = Calibrator.restore(json.loads(json.dumps(made.state())))
        odds = np.array([np.nan, -1.0, 3.0])
        expected = made.probability(odds, ["often"] * 3)
        assert np.isnan(expected[0])
        np.testing.assert_array_equal(again.probability(odds, ["often"] * 3), expected)


def test_refusals() -> None:
    with pytest.raises(InvalidInputError, match="call fit first"):
        Calibrator().probability(np.zeros(1), ["a"])
    with pytest.raises(InvalidInputError, match="true and false triples, got 0"):
        Calibrator().fit(np.zeros(2), ["a"] * 2, np.zeros(2))
    with pytest.raises(InvalidInputError, match="one relation and truth per row"):
        Calibrator().fit(np.zeros(2), ["a"], np.array([0, 1]))
    with pytest.raises(InvalidInputError, match="finite"):
        Calibrator().fit(np.array([0, np.inf]), ["a"] * 2, np.array([0, 1]))
    with pytest.raises(InvalidInputError, match="platt, isotonic"):
        Calibrator(method="beta")
