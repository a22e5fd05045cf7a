from __future__ import annotations

import json

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.fusion import JudgeFusion

RATES = np.array([[0.1, 0.7], [0.4, 0.8]])


def made_up(rows: int, seed: int = 0) -> tuple[np.ndarray, list[str], np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.random(rows) < 0.25
    said = (random.random((rows, 2)) < RATES[:, truth.astype(int)].T).astype(float)
    critic = random.normal(np.where(truth, 0.0, -1.5), 1)
    return said, random.choice(["a", "b"], rows).tolist(), truth, critic


def auc(score: np.ndarray, truth: np.ndarray) -> float:
    above = score[truth][:, None] - score[~truth]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def test_calibrated_beats_the_sum_and_is_calibrated() -> None:
    said, relations, truth, critic = made_up(1000)
    fusion = JudgeFusion().fit(said, relations, truth, critic)
    plain = JudgeFusion(minimum=10_000).fit(said, relations, truth, critic)
    assert (fusion.mode, plain.mode) == ("calibrated", "sum")
    said, relations, truth, critic = made_up(4000, 1)
    odds = fusion.log_odds(said, relations, critic)
    assert auc(odds, truth) > auc(plain.log_odds(said, relations, critic), truth)
    assert auc(odds, truth) > auc(JudgeFusion().fit(*made_up(1000)[:3]).log_odds(said, relations), truth) + 0.02
    assert (1 / (1 + np.exp(-odds))).mean() == pytest.approx(truth.mean(), abs=0.03)


@pytest.mark.parametrize("rows", [0, 1, 199])
def test_few_labels_are_summed(rows: int) -> None:
    said, relations, truth, _ = made_up(rows)
    fusion = JudgeFusion().fit(said, relations, truth)
    assert fusion.mode == "sum"
    found = fusion.log_odds(np.array([[1.0, 1.0], [1.0, np.nan], [1.0, 0.0], [np.nan, np.nan]]), ["x"] * 4)
    assert found.tolist() == pytest.approx([2 * np.log(9), np.log(9), 0, 0])


def test_without_labels() -> None:
    said, relations, truth, critic = made_up(3000)
    fusion = JudgeFusion().fit(said, relations)
    assert fusion.mode == "dawid-skene"
    assert auc(fusion.log_odds(said, relations), truth) > 0.75
    with pytest.raises(InvalidInputError, match="no critic"):
        fusion.log_odds(said, relations, critic)


def test_critic_alone() -> None:
    said, relations, truth, critic = made_up(1000)
    fusion = JudgeFusion().fit(said[:, :0], relations, truth, critic)
    found = fusion.log_odds(said[:, :0], relations, critic)
    assert auc(found, truth) == pytest.approx(auc(critic, truth))


def test_silent_judges_count_for_nothing() -> None:
    said, relations, truth, critic = made_up(1000)
    fusion = JudgeFusion().fit(said, relations, truth, critic)
    odds = fusion.log_odds(np.full((3, 2), np.nan), ["a", "b", "new"], np.array([-1.0, 0.0, 1.0]))
    assert (np.diff(odds) > 0).all()


def test_reload() -> None:
    said, relations, truth, critic = made_up(500)
    for fusion in (
        JudgeFusion().fit(said, relations, truth, critic),
        JudgeFusion(minimum=9999).fit(said, relations, truth, critic),
    ):
        again = JudgeFusion.restore(json.loads(json.dumps(fusion.state())))
        expected = fusion.log_odds(said, relations, critic)
        np.testing.assert_array_equal(again.log_odds(said, relations, critic), expected)


def test_refusals() -> None:
    said, relations, truth, critic = made_up(50)
    with pytest.raises(InvalidInputError, match="call fit first"):
        JudgeFusion().log_odds(said, relations)
    with pytest.raises(InvalidInputError, match=r"shape \(rows, judges\)"):
        JudgeFusion().fit(said[:, 0], relations, truth)
    with pytest.raises(InvalidInputError, match="probabilities"):
        JudgeFusion().fit(said + 1, relations, truth)
    with pytest.raises(InvalidInputError, match="one truth per row"):
        JudgeFusion().fit(said, relations, truth[1:])
    with pytest.raises(InvalidInputError, match="one finite number per row"):
        JudgeFusion().fit(said, relations, truth, np.full(50, np.nan))
    with pytest.raises(InvalidInputError, match="2 judges and a critic"):
        JudgeFusion().fit(said, relations, truth, critic).log_odds(said[:, :1], relations, critic)
