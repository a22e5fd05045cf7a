from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.stats import chisquare

from kgneg.core.errors import InvalidInputError
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, TAIL
from kgneg.samplers import GivenCorruptor

SIZES = {"num_entities": 20, "num_relations": 2}
KNOWN = torch.tensor([[0, 0, 1], [0, 0, 2], [5, 1, 6], [7, 0, 8]])
#: tails 10, 11, 12 for (0, 0, ?), of which none is known; heads 3, 4 for (?, 0, 1); one of the known triples
GIVEN = torch.tensor([[0, 0, 10], [0, 0, 11], [0, 0, 12], [0, 0, 12], [3, 0, 1], [4, 0, 1], [0, 0, 2], [0, 1, 13]])


def draws(positive: list[int], side: int, *, filtered: bool) -> tuple[list[int], torch.Tensor, GivenCorruptor]:
    index = TripleIndex(KNOWN, **SIZES) if filtered else None
    corruptor = GivenCorruptor(
        GIVEN, index=index, sides=SidePolicy("head" if side == HEAD else "tail"), seed=2, **SIZES
    )
    negatives = corruptor(torch.tensor(positive).expand(600, 3), 5)
    return negatives.entity.flatten().tolist(), negatives.fallback, corruptor


@pytest.mark.parametrize(
    ("positive", "side", "filtered", "expected"),
    [
        ([0, 0, 1], TAIL, True, {10, 11, 12}),
        ([0, 0, 1], TAIL, False, {2, 10, 11, 12}),
        ([0, 0, 2], TAIL, False, {10, 11, 12}),  # never the positive itself
        ([0, 0, 1], HEAD, True, {3, 4}),
        ([9, 0, 1], HEAD, False, {3, 4}),  # the pair decides, not the positive
        ([7, 1, 13], HEAD, True, {0}),
    ],
)
def test_both_ends(positive: list[int], side: int, filtered: bool, expected: set[int]) -> None:
    drawn, fallback, _ = draws(positive, side, filtered=filtered)
    assert set(drawn) == expected
    assert not fallback.any()
    if len(expected) > 1:
        assert chisquare([drawn.count(e) for e in expected]).pvalue > 1e-4


@pytest.mark.parametrize(
    ("positive", "side"),
    [([5, 1, 6], TAIL), ([5, 1, 6], HEAD), ([7, 0, 8], TAIL), ([19, 1, 19], TAIL), ([0, 0, 0], HEAD)],
)
@pytest.mark.parametrize("filtered", [False, True])
def test_pairs_without_given_negatives(positive: list[int], side: int, filtered: bool) -> None:
    """A uniform draw stands in; it is flagged and counted."""
    drawn, fallback, corruptor = draws(positive, side, filtered=filtered)
    assert fallback.all()
    assert corruptor.counts["fallback"] == corruptor.counts["drawn"] == 3000
    allowed = set(range(20)) - {positive[side]}
    if filtered:
        for triple in KNOWN.tolist():
            if all(triple[column] == positive[column] for column in range(3) if column != side):
                allowed -= {triple[side]}
    assert set(drawn) == allowed
    assert chisquare([drawn.count(e) for e in sorted(allowed)]).pvalue > 1e-5


def test_pairs_whose_given_negatives_are_all_known() -> None:
    index = TripleIndex(KNOWN, **SIZES)
    corruptor = GivenCorruptor(KNOWN, index=index, sides=SidePolicy("tail"), seed=0, **SIZES)
    negatives = corruptor(KNOWN.repeat(50, 1), 4)
    assert corruptor.num_known == 4
    assert negatives.fallback.all()
    assert not index.contains(negatives.triples).any()


def test_number_of_known() -> None:
    assert draws([0, 0, 1], TAIL, filtered=True)[2].num_known == 1
    assert draws([0, 0, 1], TAIL, filtered=False)[2].num_known == 0


def test_mixed_batch() -> None:
    corruptor = GivenCorruptor(GIVEN, index=TripleIndex(KNOWN, **SIZES), seed=0, **SIZES)
    negatives = corruptor(torch.tensor([[0, 0, 1], [5, 1, 6], [0, 1, 7]]), 40)
    given = set(map(tuple, GIVEN.tolist()))
    for row, side, expected in ((0, HEAD, True), (0, TAIL, True), (1, HEAD, False), (1, TAIL, False), (2, TAIL, True)):
        chosen = negatives.side[row] == side
        assert chosen.any()
        assert (negatives.fallback[row, chosen] == (not expected)).all()
        made = set(map(tuple, negatives.triples[row, chosen].tolist()))
        assert (made <= given) == expected


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: GivenCorruptor(torch.zeros(0, 3, dtype=torch.long), **SIZES),
            r"non-empty table .* got shape \(0, 3\)",
        ),
        (lambda: GivenCorruptor(torch.tensor([0, 0, 1]), **SIZES), r"got shape \(3,\)"),
        (lambda: GivenCorruptor(torch.zeros(2, 2, 3, dtype=torch.long), **SIZES), r"got shape \(2, 2, 3\)"),
        (lambda: GivenCorruptor(torch.tensor([[0, 0, 20]]), **SIZES), "tail entity id 20 in triple 0"),
        (lambda: GivenCorruptor(torch.tensor([[0, 0, 1], [0, 2, 1]]), **SIZES), "relation id 2 in triple 1"),
        (lambda: GivenCorruptor(torch.zeros(2, 3), **SIZES), "integer ids"),
    ],
)
def test_refusals(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build()
