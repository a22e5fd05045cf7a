from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chisquare

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import TAIL
from kgneg.samplers import MixtureCorruptor, NeighbourhoodCorruptor, TypedCorruptor, UniformCorruptor

SIZES = {"num_entities": 60, "num_relations": 1}
POSITIVE = torch.tensor([[0, 0, 1]])
SHARES = [(0.25, 0.75), (0.3, 0.3, 0.4), (1 / 3, 1 / 3, 1 / 3), (0.1,) * 10, (1.0,), (0.02, 0.98), (5.0, 3.0)]


class Marker(Corruptor):
    """Proposes ids of its own, 10 * number + 2 and following, so that its part of a result can be told."""

    def __init__(self, number: int, *, hits: bool | None = None, **options: Any) -> None:
        super().__init__(**SIZES, **options)
        self.number, self.hits = number, hits
        self.asked = 0

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        shape = (len(queries), n)
        self.asked += len(queries) * n
        ids = 5 * self.number + 2 + torch.randint(4, shape, generator=generator)
        return ids, None if self.hits is None else torch.full(shape, self.hits)


def mixture_of(shares: tuple[float, ...], **options: Any) -> MixtureCorruptor:
    components = [(Marker(number), share) for number, share in enumerate(shares)]
    return MixtureCorruptor(components, seed=7, **SIZES, **options)


def owners(ids: torch.Tensor, number: int) -> np.ndarray:
    """How many negatives of each row come from each component."""
    owner = (ids.long() - 2) // 5
    return torch.nn.functional.one_hot(owner, number).sum(-2).numpy()


def assert_shares(counts: np.ndarray, shares: tuple[float, ...], n: int) -> None:
    for number, share in enumerate(np.array(shares) / sum(shares)):
        wanted = share * n
        floor = int(np.floor(wanted + 1e-9))
        assert np.abs(counts[:, number] - wanted).max() < 1  # never off by a whole slot
        above = int((counts[:, number] > floor).sum())
        if abs(wanted - round(wanted)) < 1e-9:
            assert (counts[:, number] == round(wanted)).all()
        else:  # a row has the floor or one more, so this is its mean
            assert binomtest(above, len(counts), wanted - floor).pvalue > 1e-5


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("shares", SHARES)
def test_shares_of_the_proposals(n: int, shares: tuple[float, ...]) -> None:
    mixture = mixture_of(shares)
    number = 4000
    queries = Queries.from_triples(POSITIVE.expand(number, 3), torch.full((number,), TAIL))
    ids, hit = mixture.propose(queries, n, torch.Generator().manual_seed(n))
    assert hit is None or hit.all()
    if shares == (0.02, 0.98) and n in (1, 2, 3, 7, 10):
        assert (owners(ids, 2)[:, 0] > 0).any()
    assert_shares(owners(ids, len(shares)), shares, n)
    assert sum(component.asked for component in mixture.components) == number * n


@pytest.mark.parametrize("policy", ["head", "tail"])
@pytest.mark.parametrize("n", [1, 3, 10])
def test_shares_of_the_negatives(n: int, policy: str) -> None:
    shares = (0.3, 0.3, 0.4)
    negatives = mixture_of(shares, sides=SidePolicy(policy))(POSITIVE.expand(4000, 3), n)
    assert_shares(owners(negatives.entity, 3), shares, n)


@pytest.mark.parametrize("n", [2, 10, 20])
def test_shares_of_each_end(n: int) -> None:
    """Each end of a positive is dealt out on its own."""
    shares = (0.3, 0.3, 0.4)
    negatives = mixture_of(shares)(POSITIVE.expand(4000, 3), n)
    half = n // 2
    assert (negatives.side[:, half:] == TAIL).all()
    for part in (negatives.entity[:, :half], negatives.entity[:, half:]):
        assert_shares(owners(part, 3), shares, half)


@pytest.mark.parametrize("n", [1, 3, 7])
@pytest.mark.parametrize("policy", ["uniform", "bernoulli"])
def test_shares_of_uneven_sides(n: int, policy: str) -> None:
    sides = SidePolicy(policy, triples=POSITIVE, num_relations=1)
    counts = owners(mixture_of((0.3, 0.3, 0.4), sides=sides)(POSITIVE.expand(6000, 3), n).entity, 3).sum(0)
    assert chisquare(counts, np.array([0.3, 0.3, 0.4]) * 6000 * n).pvalue > 1e-5


def test_neighbouring_parts_of_a_slot_are_exclusive() -> None:
    """Ten components of a tenth share one slot; each gets it in a tenth of the rows."""
    queries = Queries.from_triples(POSITIVE.expand(20_000, 3), torch.full((20_000,), TAIL))
    ids, _ = mixture_of((0.1,) * 10).propose(queries, 1, torch.Generator().manual_seed(0))
    assert chisquare(owners(ids, 10).sum(0)).pvalue > 1e-5


def test_hits_of_the_components_count() -> None:
    """What a component does not offer is drawn anew; nothing of it is left over."""
    components = [(Marker(0, hits=False), 1.0), (Marker(1, hits=True), 2.0), (Marker(2), 1.0)]
    mixture = MixtureCorruptor(components, seed=1, **SIZES)
    queries = Queries.from_triples(POSITIVE.expand(500, 3), torch.full((500,), TAIL))
    for n in (1, 2, 4, 8):
        ids, hit = mixture.propose(queries, n, torch.Generator().manual_seed(0))
        assert hit is not None
        assert torch.equal(~hit, (ids >= 2) & (ids < 7))
        assert (~hit).any()
    negatives = mixture(POSITIVE.expand(500, 3), 8)
    from_first = (negatives.entity >= 2) & (negatives.entity < 7)
    assert not (from_first & ~negatives.fallback).any()
    assert mixture.counts["rejected"] == 1000  # a quarter of 500 x 8


def test_only_misses_fall_back() -> None:
    mixture = MixtureCorruptor([(Marker(0, hits=False), 1.0)], seed=1, **SIZES)
    assert mixture(POSITIVE.expand(50, 3), 4).fallback.all()
    mixture = MixtureCorruptor([(Marker(0, hits=True), 1.0)], seed=1, **SIZES)
    assert not mixture(POSITIVE.expand(50, 3), 4).fallback.any()


def test_constraints_and_index_of_the_mixture_decide() -> None:
    known = torch.tensor([[0, 0, tail] for tail in range(2, 5)])
    inner = UniformCorruptor(**SIZES, index=TripleIndex(known, **SIZES), seed=0)
    pools = CandidateIndex.from_lists([[9], list(range(2, 8))], num_columns=60)
    components = [(TypedCorruptor(pools, **SIZES), 1.0), (inner, 1.0)]

    def odd(queries: Queries, ids: torch.Tensor) -> torch.Tensor:
        return ids % 2 == 1

    mixture = MixtureCorruptor(
        components,
        index=TripleIndex(known, **SIZES),
        constraints=[odd],
        sides=SidePolicy("tail"),
        seed=0,
        **SIZES,
    )
    negatives = mixture(POSITIVE.expand(500, 3), 8)
    drawn = negatives.entity[~negatives.fallback]
    assert not set(drawn.tolist()) & {1, 2, 3, 4}
    assert (drawn % 2 == 1).all()
    typed = negatives.entity[:, :4][~negatives.fallback[:, :4]]
    assert {5, 7} <= set(typed.tolist())


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_weights(weight: float) -> None:
    with pytest.raises(InvalidInputError, match="weights must be positive and finite"):
        MixtureCorruptor([(Marker(0), 1.0), (Marker(1), weight)], **SIZES)


def test_refusals() -> None:
    with pytest.raises(InvalidInputError, match="at least one component"):
        MixtureCorruptor([], **SIZES)
    for sizes in ({"num_entities": 59, "num_relations": 1}, {"num_entities": 60, "num_relations": 2}):
        message = (
            f"{sizes['num_entities']} entities and {sizes['num_relations']} relations does not fit a mixture for 60"
        )
        with pytest.raises(InvalidInputError, match=message):
            MixtureCorruptor([(UniformCorruptor(**sizes), 1.0)], **SIZES)


def test_weights_are_scaled() -> None:
    assert mixture_of((5.0, 3.0)).shares == (0.625, 0.375)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_shares_hold_when_one_component_is_rejected_often(order: tuple[int, int]) -> None:
    # entities 0 to 9 belong to one component and 10 to 19 to the other; six of the first ten are known
    sizes = {"num_entities": 40, "num_relations": 1}
    known = torch.tensor([[30, 0, tail] for tail in range(6)] + [[30, 0, 35]])
    rows = torch.arange(2).repeat_interleave(10)
    parts = []
    for first in (0, 10):
        members = torch.arange(first, first + 10).repeat(2)
        pools = CandidateIndex.from_pairs(rows, members, num_rows=2, num_columns=40)
        parts.append((TypedCorruptor(pools, **sizes), 0.5))
    index = TripleIndex(known, **sizes)
    mixture = MixtureCorruptor([parts[i] for i in order], index=index, sides=SidePolicy("tail"), seed=1, **sizes)
    negatives = mixture(torch.tensor([30, 0, 35]).expand(4000, 3), 4)
    own = ((negatives.entity < 10) & ~negatives.fallback).sum(-1)
    assert ((own == 2) | negatives.fallback.any(-1)).all()
    assert not index.contains(negatives.triples).any()
    assert float(negatives.fallback.double().mean()) < 0.01


def test_a_mixture_within_a_mixture_is_asked_again() -> None:
    """One of its parts has nothing for an entity, the other one has."""
    sizes = {"num_entities": 5, "num_relations": 1}
    some = NeighbourhoodCorruptor(CandidateIndex.from_lists([[], [0], [0], [0], [0]], num_columns=5), **sizes)
    other = NeighbourhoodCorruptor(CandidateIndex.from_lists([[1, 2], [0], [0], [0], [0]], num_columns=5), **sizes)
    inner = MixtureCorruptor([(some, 0.5), (other, 0.5)], **sizes)
    outer = MixtureCorruptor([(inner, 1.0)], seed=0, sides=SidePolicy("tail"), **sizes)
    found = outer(torch.tensor([[1, 0, 0]]).repeat(200, 1), 1)
    assert float(found.fallback.float().mean()) < 0.1  # half of the slots, if it were not asked again
