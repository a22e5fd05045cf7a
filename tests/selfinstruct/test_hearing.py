from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.fusion import JudgeFusion
from kgneg.selfinstruct.hearing import checked_triples, crossed, hear, joined, split_rows, without
from kgneg.selfinstruct.judge import Judgements


class Odd:
    """Contradicts itself on the second row and is silent on the third."""

    name = "odd"

    def fingerprint(self) -> str:
        return "odd"

    def judge(self, candidates: Candidates) -> Judgements:
        return Judgements.of([0.2, np.nan, np.nan], ["", "contradiction", ""])


def test_side_by_side(world: Any) -> None:
    found = hear([Odd(), world.judges[0]], world.candidates[:3])
    np.testing.assert_array_equal(found.probability[:, 1], world.said[:3, 0])
    assert found.contradictory.tolist() == [False, True, False]
    assert found.reasons == ("", "odd: contradiction", "odd: no verdict")
    both = found + found.rows(np.array([1]))
    assert both.probability.shape == (4, 2)
    assert both.contradictory.tolist() == [False, True, False, True]


def test_nobody_and_nothing(world: Any) -> None:
    assert hear([], world.candidates[:3]).probability.shape == (3, 0)
    assert hear([Odd()], world.candidates[:0]).probability.shape == (0, 1)
    assert joined(world.candidates[:0], world.candidates[:2]).keys() == world.candidates[:2].keys()
    assert len(joined(world.candidates[:3], world.candidates[:0])) == 3


def test_split() -> None:
    rows = split_rows([f"head {row}" for row in range(101)], 0.5, torch.Generator().manual_seed(0))
    assert rows.sum() == 50
    assert not split_rows(["a", "b"], 0.0, torch.Generator()).any()
    assert split_rows(["a", "b"], 1.0, torch.Generator()).all()
    assert split_rows([], 0.5, torch.Generator()).shape == (0,)


def test_split_does_not_part_a_head() -> None:
    heads = [("", " ")[row % 2] + f"head {row // 6}" for row in range(300)]
    rows = split_rows(heads, 0.5, torch.Generator().manual_seed(1)).reshape(50, 6)
    assert (rows.all(axis=1) | ~rows.any(axis=1)).all()
    assert rows.sum() == 150
    assert not split_rows(["one"] * 10, 0.5, torch.Generator()).any()


def test_large_heads_are_held_out_as_often_as_small_ones() -> None:
    heads = ["large"] * 60 + [f"small {row}" for row in range(40)]
    found = [split_rows(heads, 0.3, torch.Generator().manual_seed(seed)) for seed in range(200)]
    large = np.array([rows[0] for rows in found])
    assert all(rows[:60].all() or not rows[:60].any() for rows in found)
    assert 0.6 < large.mean() < 0.9  # of 41 heads in a random order, it is among the first 30 of them
    assert all(30 <= rows.sum() < 90 for rows in found)
    assert not any(rows.all() for rows in found)


def test_one_verdict_per_candidate(world: Any) -> None:
    class Short:
        name = "short"

        def fingerprint(self) -> str:
            return "short"

        def judge(self, candidates: Candidates) -> Judgements:
            return Judgements.of([0.5])

    with pytest.raises(InvalidInputError, match="the judge short gave 1 verdicts for 3 candidates"):
        hear([Short()], world.candidates[:3])


@pytest.mark.parametrize(
    "reason", ["endpoint: status 500", "budget: 10 tokens", "malformed: cut off", "gave up after 3"]
)
def test_failures_are_told_from_silence(reason: str, world: Any) -> None:
    class Failing(Odd):
        def judge(self, candidates: Candidates) -> Judgements:
            return Judgements.of([0.2, np.nan, np.nan], ["", reason, "unsure"])

    found = hear([Failing(), world.judges[0]], world.candidates[:3])
    assert found.failed.tolist() == found.unclear.tolist() == [False, True, False]
    assert not found.contradictory.any()
    assert (found + found.rows(np.array([1]))).failed.tolist() == [False, True, False, True]


def test_checked_triples_are_distinct() -> None:
    true = Candidates.from_triples([("a", "r", "b"), ("c", "r", "d"), ("a ", "r", "b")])
    false = Candidates.from_triples([("e", "r", "f")] * 3)
    rows, truth = checked_triples(true, false)
    assert list(rows.triples()) == [("a", "r", "b"), ("c", "r", "d"), ("e", "r", "f")]
    assert truth.tolist() == [True, True, False]
    with pytest.raises(InvalidInputError, match=r"1 checked triples are both .*\('c', 'r', 'd'\): leave each in one"):
        checked_triples(true, true[1:2])


def test_without(world: Any) -> None:
    assert without(world.candidates[:10], world.candidates[3:20]).keys() == world.candidates[:3].keys()


def test_crossed_scores_do_not_know_the_row() -> None:
    random = np.random.default_rng(0)
    truth = random.random(400) < 0.3
    relations = [f"relation {row}" for row in range(400)]  # a table of its own for each row
    said = random.integers(0, 2, (400, 1)).astype(float)
    fusion = JudgeFusion(shrinkage=0.1)
    inside = fusion.fit(said, relations, truth).log_odds(said, relations)
    outside = crossed(fusion, said, relations, truth, None)

    def gap(odds: np.ndarray) -> float:
        return float(odds[truth].mean() - odds[~truth].mean())

    assert gap(inside) > 1
    assert abs(gap(outside)) < 0.3
