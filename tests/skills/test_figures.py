"""Figures of rankings, against plain loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.skills import judge_ranking


@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_the_same_as_a_plain_loop(seed: int, concepts: int, texts: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(texts, concepts, generator=generator)
    right = torch.rand(texts, concepts, generator=generator) < 0.4
    right[0, 0] = True
    rows, members = right.nonzero(as_tuple=True)
    found = judge_ranking(scores, rows.repeat(2), members.repeat(2), ks=(1, 3, 5))
    reciprocal, precision = [], {1: [], 3: [], 5: []}
    for row in range(texts):
        gold = set(right[row].nonzero().view(-1).tolist())
        if not gold:
            continue
        order = scores[row].argsort(descending=True).tolist()
        reciprocal.append(1 / (1 + min(order.index(one) for one in gold)))
        for k, values in precision.items():
            values.append(len(gold & set(order[:k])) / min(k, len(gold)))
    assert found.mrr == pytest.approx(sum(reciprocal) / len(reciprocal))
    assert found.precision == {k: pytest.approx(sum(values) / len(values)) for k, values in precision.items()}
    assert (found.queries, found.skipped) == (len(reciprocal), texts - len(reciprocal))


def test_equal_scores_share_their_places() -> None:
    found = judge_ranking(torch.zeros(1, 4), torch.tensor([0]), torch.tensor([2]), ks=(1, 2, 4))
    assert found.mrr == pytest.approx(1 / 2.5)
    assert found.precision == {1: 0.25, 2: 0.5, 4: 1.0}


def test_the_best_of_several_right_ones_with_equal_scores() -> None:
    right = torch.tensor([0, 0]), torch.tensor([0, 1])
    assert judge_ranking(torch.zeros(1, 2), *right).mrr == 1.0
    assert judge_ranking(torch.zeros(1, 3), *right).mrr == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("scores", "queries", "concepts", "message"),
    [
        (torch.zeros(1, 2), [], [], "no right pair"),
        (torch.zeros(1, 2), [1], [0], "text 1 is out of range: there are 1"),
        (torch.zeros(1, 2), [0], [2], "concept 2 is out of range: there are 2"),
        (torch.tensor([[0.0, torch.nan]]), [0], [0], "text 0 hold NaN"),
    ],
)
def test_refusals(scores: torch.Tensor, queries: list[int], concepts: list[int], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        judge_ranking(scores, torch.tensor(queries).long(), torch.tensor(concepts).long())
