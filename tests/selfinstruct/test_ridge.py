from __future__ import annotations

import numpy as np
import pytest

from kgneg.selfinstruct.ridge import RidgePath


def made_up() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    rows = random.normal(size=(40, 5))
    near = np.exp(-((rows[:, None] - rows) ** 2).sum(axis=-1) / 8)
    return near, (rows[:, 0] > 0).astype(float), random.random(40) + 0.5


@pytest.mark.parametrize("penalty", [0.1, 3.0])
def test_left_out_scores_are_those_of_a_fit_without_the_row(penalty: float) -> None:
    near, truth, weight = made_up()
    error, weights, left_out = RidgePath.of(near, np.arange(40), truth, weight).solve(penalty)
    expected = []
    for row in range(40):
        rest = np.delete(np.arange(40), row)
        inner = near[np.ix_(rest, rest)] + penalty * np.diag(1 / weight[rest])
        expected.append(near[row, rest] @ np.linalg.solve(inner, truth[rest]))
    assert left_out == pytest.approx(np.array(expected), abs=1e-5)
    assert error == pytest.approx(np.average((truth - expected) ** 2, weights=weight), abs=1e-6)
    inner = near + penalty * np.diag(1 / weight)
    assert near @ weights == pytest.approx(near @ np.linalg.solve(inner, truth), abs=1e-5)


def test_landmarks_approximate() -> None:
    near, truth, weight = made_up()
    whole = near @ RidgePath.of(near, np.arange(40), truth, weight).solve(1.0)[1]
    marks = np.arange(0, 40, 2)
    some = near[:, marks] @ RidgePath.of(near[:, marks], marks, truth, weight).solve(1.0)[1]
    assert np.corrcoef(whole, some)[0, 1] > 0.9


@pytest.mark.parametrize("landmarks", [40, 3])
def test_left_out_groups_are_those_of_a_fit_without_them(landmarks: int) -> None:
    near, truth, weight = made_up()
    groups = np.repeat([0, 2, 1], [1, 9, 30])
    marks = np.arange(0, 40, 40 // landmarks)[:landmarks]
    some, inner = near[:, marks], near[np.ix_(marks, marks)]
    _, _, left_out = RidgePath.of(some, marks, truth, weight, groups).solve(3.0)
    for group in range(3):
        out = groups == group
        table = some[~out].T * weight[~out]
        weights = np.linalg.solve(table @ some[~out] + 3.0 * inner, table @ truth[~out])
        assert left_out[out] == pytest.approx(some[out] @ weights, abs=1e-4)
