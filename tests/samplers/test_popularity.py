"""Popularity against the distribution that it promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from kgneg.core.errors import InvalidInputError
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, TAIL, LongTensor
from kgneg.samplers import PopularityCorruptor, UniformCorruptor, count_entities, popularity_weights

ENTITIES = 12
SIZES = {"num_entities": ENTITIES, "num_relations": 2}


def graph() -> LongTensor:
    """Return a graph where entity ``e`` is a tail about ``e`` times, and a head mostly if it is small."""
    generator = torch.Generator().manual_seed(4)
    tails = torch.repeat_interleave(torch.arange(ENTITIES), torch.arange(ENTITIES))
    heads = (torch.rand(len(tails), generator=generator) ** 3 * ENTITIES).long()
    return torch.stack([heads, torch.arange(len(tails)) % 2, tails], dim=-1)


def expected(weights: torch.Tensor, forbidden: set[int]) -> np.ndarray:
    weights = weights.double().clone()
    weights[list(forbidden)] = 0
    return (weights / weights.sum()).numpy()


def draws(corruptor: PopularityCorruptor, positive: list[int], number: int) -> torch.Tensor:
    negatives = corruptor(torch.tensor(positive), number, torch.Generator().manual_seed(7))
    assert not negatives.fallback.any()
    return negatives.entity.long()


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("side", [HEAD, TAIL])
@pytest.mark.parametrize("counts", ["end", "both"])
@pytest.mark.parametrize("alpha", [0.0, 0.75, 1.25])
def test_probabilities(alpha: float, counts: str, side: int, filtered: bool) -> None:
    triples = graph()
    index = TripleIndex(triples, **SIZES) if filtered else None
    policy = SidePolicy("head" if side == HEAD else "tail")
    corruptor = PopularityCorruptor.from_triples(
        triples, alpha=alpha, smoothing=0.5, counts=counts, index=index, sides=policy, seed=0, **SIZES
    )
    positive = triples[20].tolist()
    occurrences = [0] * ENTITIES
    for head, _, tail in triples.tolist():
        for entity in [head, tail] if counts == "both" else [head if side == HEAD else tail]:
            occurrences[entity] += 1
    weights = torch.tensor([(count + 0.5) ** alpha for count in occurrences], dtype=torch.float64)
    kept = TAIL - side
    same = triples[(triples[:, kept] == positive[kept]) & (triples[:, 1] == positive[1])]
    forbidden = {positive[side]} | (set(same[:, side].tolist()) if filtered else set())
    probabilities = expected(weights, forbidden)
    found = np.bincount(draws(corruptor, positive, 20_000).numpy(), minlength=ENTITIES)
    assert not found[probabilities == 0].any()
    assert chisquare(found[probabilities > 0], 20_000 * probabilities[probabilities > 0]).pvalue > 1e-3


def test_the_ends_have_their_own_weights() -> None:
    weights = torch.zeros(2, ENTITIES)
    weights[0, 3], weights[1, [5, 6]] = 1.0, torch.tensor([1.0, 3.0])
    corruptor = PopularityCorruptor(weights, seed=0, **SIZES)
    negatives = corruptor(torch.tensor([[0, 0, 1]]), 4000)
    assert set(negatives.entity[negatives.side == HEAD].tolist()) == {3}
    tails = negatives.entity[negatives.side == TAIL]
    assert set(tails.tolist()) == {5, 6}
    assert (tails == 6).double().mean() == pytest.approx(0.75, abs=0.04)


def test_alpha_zero_is_uniform() -> None:
    assert popularity_weights(torch.tensor([0, 1, 9]), alpha=0, smoothing=0).tolist() == [1, 1, 1]


def test_weights_of_zero_are_fall_backs_at_most() -> None:
    weights = torch.zeros(ENTITIES)
    weights[[2, 4]] = 1.0
    known = torch.tensor([[0, 0, 2], [0, 0, 4], [1, 0, 2]])
    corruptor = PopularityCorruptor(
        weights, index=TripleIndex(known, **SIZES), sides=SidePolicy("tail"), seed=0, **SIZES
    )
    full, half = corruptor(torch.tensor([0, 0, 2]), 500), corruptor(torch.tensor([1, 0, 2]), 500)
    assert set(full.entity.tolist()) == set(range(ENTITIES)) - {2, 4}
    assert set(half.entity.tolist()) == {4}
    assert full.fallback.all()
    assert not half.fallback.any()
    assert corruptor.counts["fallback"] == 500


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float64, torch.float16])
def test_weights_of_any_type(dtype: torch.dtype) -> None:
    weights = torch.tensor([0, 1, 2, 3, 4, 5] * 2).to(dtype)
    reference = PopularityCorruptor(weights.double(), seed=1, **SIZES)
    corruptor = PopularityCorruptor(weights, seed=1, **SIZES)
    positives = torch.tensor([[0, 0, 1], [3, 1, 4]])
    assert torch.equal(corruptor(positives, 50).entity, reference(positives, 50).entity)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(ENTITIES - 1), r"shape \(12,\), one per entity.*got \(11,\)"),
        (torch.ones(3, ENTITIES), r"got \(3, 12\)"),
        (torch.ones(()), r"got \(\)"),
        (torch.zeros(ENTITIES), r"row 0 of the weights sums to 0\.0"),
        (torch.eye(2, ENTITIES) * torch.tensor([[1.0], [0.0]]), r"row 1 of the weights sums to 0\.0"),
        (torch.full((ENTITIES,), 1e308, dtype=torch.float64), "sums to inf"),
        (torch.arange(ENTITIES) - 1, r"weight of entity 0 is -1\.0"),
        (torch.ones(ENTITIES).index_fill(0, torch.tensor(4), torch.nan), "weight of entity 4 is nan"),
        (torch.ones(ENTITIES).index_fill(0, torch.tensor(5), torch.inf), "weight of entity 5 is inf"),
        (torch.ones(ENTITIES, dtype=torch.bool), r"got torch\.bool"),
        (torch.ones(ENTITIES, dtype=torch.complex64), "got torch.complex64"),
        ([1.0] * ENTITIES, "got list"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_weights(weights: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        PopularityCorruptor(weights, **SIZES)


@pytest.mark.parametrize("name", ["alpha", "smoothing"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "1", True, None])
def test_refused_exponents(name: str, value: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"{name} must be a finite number of at least 0"):
        PopularityCorruptor.from_triples(graph(), **{name: value}, **SIZES)


def test_other_refusals() -> None:
    with pytest.raises(InvalidInputError, match="counts must be one of end, both; got 'tail'"):
        PopularityCorruptor.from_triples(graph(), counts="tail", **SIZES)
    with pytest.raises(InvalidInputError, match="head entity id 11"):
        PopularityCorruptor.from_triples(graph(), num_entities=11, num_relations=2)
    with pytest.raises(InvalidInputError, match="counts must not be negative or NaN, got -2"):
        popularity_weights(torch.tensor([1, -2]))
    with pytest.raises(InvalidInputError, match=r"sums to 0\.0.*Raise the smoothing"):
        PopularityCorruptor.from_triples(graph()[:0], smoothing=0, **SIZES)


def test_counts_of_a_graph() -> None:
    triples = torch.tensor([[0, 0, 1], [0, 1, 1], [2, 0, 2]])
    assert count_entities(triples, 4).tolist() == [[2, 0, 1, 0], [0, 2, 1, 0]]
    assert count_entities(triples, 4, counts="both").tolist() == [2, 2, 2, 0]


def test_logarithms_of_the_proposals() -> None:
    weights = torch.stack([torch.arange(ENTITIES), torch.arange(ENTITIES) ** 2])
    corruptor = PopularityCorruptor(weights, **SIZES)
    ids = torch.tensor([[1, 11], [5, 0]])
    for side, row in ((HEAD, weights[0]), (TAIL, weights[1])):
        torch.testing.assert_close(corruptor.log_proposal(ids, side).exp(), (row / row.sum())[ids])
    assert PopularityCorruptor(weights[0], **SIZES).log_proposal(ids).exp()[0, 1] == pytest.approx(11 / 66)
    assert UniformCorruptor(**SIZES).log_proposal(ids).exp().tolist() == [[pytest.approx(1 / 12)] * 2] * 2
