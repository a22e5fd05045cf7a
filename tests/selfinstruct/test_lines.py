from __future__ import annotations

import numpy as np
import pytest

from kgneg.selfinstruct.lines import logistic


def made_up() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    table = random.normal(size=(5000, 2))
    return table, random.random(5000) < 1 / (1 + np.exp(-(table @ [1.5, -0.5] - 1)))


def test_weights_are_found() -> None:
    found = logistic(*made_up(), centre=np.zeros(2), penalty=np.full(2, 0.01))
    assert found == pytest.approx([1.5, -0.5, -1], abs=0.15)


def test_weights_are_drawn_to_the_centre() -> None:
    found = logistic(*made_up(), centre=np.array([2.0, 3.0]), penalty=np.full(2, 1e9))
    assert found[:2] == pytest.approx([2, 3], abs=1e-3)


def test_a_row_of_weight_two_is_two_rows() -> None:
    table, truth = made_up()
    settings = {"centre": np.zeros(2), "penalty": np.ones(2)}
    weight = np.where(np.arange(len(table)) < 1000, 2.0, 1.0)
    twice = logistic(np.vstack([table, table[:1000]]), np.append(truth, truth[:1000]), **settings)
    assert logistic(table, truth, weight=weight, **settings) == pytest.approx(twice, abs=1e-4)


def test_agrees_with_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    table, truth = made_up()
    theirs = LogisticRegression(C=0.5, tol=1e-8).fit(table, truth)
    ours = logistic(table, truth, centre=np.zeros(2), penalty=np.full(2, 2.0))
    assert ours == pytest.approx([*theirs.coef_[0], theirs.intercept_[0]], abs=1e-3)
