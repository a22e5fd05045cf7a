from __future__ import annotations

import copy
from collections import Counter
from typing import ClassVar

import pytest
import torch
from scipy.stats import chisquare

from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.errors import ExhaustedPoolError, InvalidInputError
from kgneg.core.negatives import Negatives
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, TAIL, IntTensor, LongTensor
from kgneg.testing import CorruptorConformance

ENTITIES = 20
SIZES = {"num_entities": ENTITIES, "num_relations": 2}


class PoolCorruptor(Corruptor):
    """Proposes members of one pool, all equally likely, some of them without conviction."""

    citation: ClassVar[str] = "a toy"
    pool: torch.Tensor

    def __init__(self, pool: list[int], misses: float = 0.0, **options: object) -> None:
        super().__init__(**options)
        self.register_buffer("pool", torch.tensor(pool, dtype=torch.int32))
        self.misses = misses
        self.calls: list[tuple[int, int]] = []

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        shape, device = (len(queries), n), self.pool.device
        self.calls.append(shape)
        ids = self.pool[torch.randint(len(self.pool), shape, generator=generator, device=device)]
        hit = torch.rand(shape, generator=generator, device=device) >= self.misses if self.misses else None
        return ids, hit


class TestPool(CorruptorConformance):
    misses = 0.0
    share = 0.2

    def make(
        self, triples: LongTensor, num_entities: int, num_relations: int, *, filtered: bool, seed: int
    ) -> PoolCorruptor:
        sizes = {"num_entities": num_entities, "num_relations": num_relations}
        pool = list(range(0, num_entities, round(1 / self.share)))
        index = TripleIndex(triples, **sizes) if filtered else None
        return PoolCorruptor(pool, self.misses, index=index, seed=seed, **sizes)


class TestPoolWithMisses(TestPool):
    misses = 0.5
    share = 1.0


def index_of(triples: list[tuple[int, int, int]], num_entities: int = ENTITIES) -> TripleIndex:
    return TripleIndex(torch.tensor(triples).view(-1, 3), num_entities=num_entities, num_relations=2)


def counts_of(negatives: Negatives, side: int, *, fallback: bool = False) -> list[int]:
    chosen = (negatives.side == side) & (negatives.fallback == fallback)
    return torch.bincount(negatives.entity[chosen], minlength=ENTITIES).tolist()


# What is drawn


@pytest.mark.parametrize("n", [1, 4, 5])
@pytest.mark.parametrize("misses", [0.0, 0.6])
def test_uniform_over_the_pool_without_known_triples_and_the_positive(n: int, misses: float) -> None:
    pool = [1, 2, 3, 5, 7, 8, 11, 13]
    index = index_of([(0, 0, 1), (0, 0, 2), (0, 0, 13), (0, 0, 4), (5, 0, 3), (6, 0, 3), (7, 1, 3)])
    corruptor = PoolCorruptor(pool, misses, index=index, seed=4, **SIZES)
    negatives = corruptor(torch.tensor([0, 0, 3]).expand(24_000 // n, 3), n)
    for side, allowed in ((TAIL, [5, 7, 8, 11]), (HEAD, [1, 2, 3, 7, 8, 11, 13])):
        counts = counts_of(negatives, side)
        assert sum(counts[entity] for entity in allowed) == sum(counts)
        assert chisquare([counts[entity] for entity in allowed]).pvalue > 1e-6
    # a proposal at the tail is good with probability 1/2, and real with probability 1 - misses
    tails = negatives.side == TAIL
    bad_luck = (1 - 0.5 * (1 - misses)) ** (1 + Corruptor.redraws)
    assert int((negatives.fallback & tails).sum()) <= 3 + 2 * bad_luck * int(tails.sum())


def test_unfiltered_mode_removes_only_the_positive() -> None:
    corruptor = PoolCorruptor([1, 2, 3], seed=4, **SIZES)
    negatives = corruptor(torch.tensor([2, 0, 3]).expand(6000, 3), 2)
    assert not negatives.fallback.any()
    for side, allowed in ((HEAD, [1, 3]), (TAIL, [1, 2])):
        counts = counts_of(negatives, side)
        assert counts[allowed[0]] + counts[allowed[1]] == 6000
        assert chisquare([counts[entity] for entity in allowed]).pvalue > 1e-6
    assert corruptor.counts["rejected"] == pytest.approx(4000, rel=0.1)


@pytest.mark.parametrize("filtered", [True, False])
def test_fallback_is_uniform_flagged_and_counted(filtered: bool) -> None:
    # the only candidate is the positive's own tail; at the other end everything goes well
    index = index_of([(0, 0, 4), (0, 0, 9), (0, 0, 3)]) if filtered else None
    corruptor = PoolCorruptor([3], index=index, seed=4, **SIZES)
    negatives = corruptor(torch.tensor([0, 0, 3]).expand(8000, 3), 2)
    assert torch.equal(negatives.fallback, negatives.side == TAIL)
    assert counts_of(negatives, HEAD)[3] == 8000
    counts = counts_of(negatives, TAIL, fallback=True)
    allowed = [entity for entity in range(ENTITIES) if entity not in ((3, 4, 9) if filtered else (3,))]
    assert sum(counts[entity] for entity in allowed) == 8000
    assert chisquare([counts[entity] for entity in allowed]).pvalue > 1e-6
    assert corruptor.counts == Counter(drawn=16_000, rejected=8000, fallback=8000)


def test_proposals_without_conviction_are_never_taken() -> None:
    class Split(PoolCorruptor):
        def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
            ids, _ = super().propose(queries, n, generator)
            return ids, ids >= 10

    corruptor = Split(list(range(ENTITIES)), seed=1, **SIZES)
    negatives = corruptor(torch.tensor([[0, 0, 15], [11, 1, 12]]).repeat(500, 1), 6)
    assert (negatives.entity[~negatives.fallback] >= 10).all()
    assert negatives.fallback.double().mean() < 0.01
    assert 0.4 < corruptor.counts["rejected"] / corruptor.counts["drawn"] < 0.65


@pytest.mark.parametrize("expanded", [True, False])
def test_no_hit_at_all(expanded: bool) -> None:
    class Nothing(PoolCorruptor):
        def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
            ids, _ = super().propose(queries, n, generator)
            none = queries.relation.bool()[:, None].expand(ids.shape)  # relation 0 has nothing to offer
            return ids, none if expanded else none.clone()

    corruptor = Nothing(list(range(ENTITIES)), index=index_of([(0, 0, 1)]), seed=1, **SIZES)
    negatives = corruptor(torch.tensor([[0, 0, 15], [11, 1, 12]]).repeat(100, 1), 6)
    assert negatives.fallback[::2].all()
    assert not negatives.fallback[1::2].any()
    assert corruptor.counts["fallback"] == 600


def test_constraints_bind_the_fallback_where_they_can() -> None:
    def even(queries: Queries, ids: IntTensor) -> torch.Tensor:
        return ids % 2 == 0

    def never(queries: Queries, ids: IntTensor) -> torch.Tensor:
        return torch.zeros_like(ids, dtype=torch.bool)

    positives = torch.tensor([0, 0, 3]).repeat(600, 1)
    for constraint, unbound in ((even, 600 * 2 / 2**9), (never, 1200)):
        corruptor = PoolCorruptor([3], constraints=[constraint], sides=SidePolicy("tail"), seed=4, **SIZES)
        negatives = corruptor(positives, 2)
        assert negatives.fallback.all()
        assert corruptor.counts["unbound"] == pytest.approx(unbound, abs=8)
        if constraint is even:
            assert int((negatives.entity % 2 == 1).sum()) == corruptor.counts["unbound"]
            counts = torch.bincount(negatives.entity.flatten()).tolist()[::2]
            assert chisquare(counts).pvalue > 1e-6


def test_constraints_do_not_bind_the_fallback_for_ever() -> None:
    asked: list[Queries] = []

    def even(queries: Queries, ids: IntTensor) -> torch.Tensor:
        asked.append(queries)
        assert ids.dtype == torch.int32
        return ids % 2 == 0

    def below_the_kept(queries: Queries, ids: IntTensor) -> torch.Tensor:
        return ids < queries.kept[:, None]

    corruptor = PoolCorruptor(list(range(ENTITIES)), constraints=[even, below_the_kept], seed=1, **SIZES)
    negatives = corruptor(torch.tensor([[15, 0, 14], [1, 0, 19]]).repeat(400, 1), 8)
    kept = torch.where(
        negatives.side == HEAD, negatives.positives[..., TAIL, None], negatives.positives[..., HEAD, None]
    )
    good = (negatives.entity % 2 == 0) & (negatives.entity < kept)
    assert good[~negatives.fallback].all()
    assert not good[negatives.fallback].all()
    counts = counts_of(
        Negatives(*(getattr(negatives, name)[::2] for name in ("positives", "entity", "side", "fallback"))), TAIL
    )
    assert [entity for entity, number in enumerate(counts) if number] == [0, 2, 4, 6, 8, 10, 12]
    assert chisquare([number for number in counts if number]).pvalue > 1e-6
    assert asked


def test_the_retreat_is_asked_after_all_redraws() -> None:
    corruptor = PoolCorruptor([3], seed=4, **SIZES)
    retreat = PoolCorruptor([3, 8], seed=4, **SIZES)
    corruptor.retreat = retreat.propose
    negatives = corruptor(torch.tensor([0, 0, 3]).expand(500, 3), 2)
    assert (negatives.entity[negatives.side == TAIL] == 8).double().mean() > 0.99
    assert [n for _, n in corruptor.calls] == [1, 4]
    assert len(retreat.calls) == 1
    assert counts_of(negatives, TAIL)[8] + corruptor.counts["fallback"] == 500


def test_redraws_are_bounded_and_only_for_rejected_slots() -> None:
    corruptor = PoolCorruptor([3], seed=4, **SIZES)
    corruptor(torch.tensor([[0, 0, 3], [3, 0, 0], [1, 0, 2]]), 4)
    assert corruptor.calls == [(6, 2)] + [(4, 4)] * Corruptor.redraws


# Sides


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_sides_are_those_of_the_policy(n: int) -> None:
    known = torch.tensor([[0, 0, tail] for tail in range(1, 10)] + [[head, 1, 0] for head in range(1, 10)])
    positives = known[::9].repeat(1000, 1)
    bernoulli = SidePolicy("bernoulli", triples=known, num_relations=2)
    for policy, expected in ((SidePolicy(), [0.5, 0.5]), (bernoulli, [0.9, 0.1])):
        corruptor = PoolCorruptor(list(range(ENTITIES)), sides=policy, seed=3, **SIZES)
        heads = (corruptor(positives, n).side == HEAD).double().view(1000, 2, n).mean((0, 2))
        assert heads.tolist() == pytest.approx(expected, abs=0.05)
    for name, side in (("head", HEAD), ("tail", TAIL)):
        corruptor = PoolCorruptor(list(range(ENTITIES)), sides=SidePolicy(name), seed=3, **SIZES)
        negatives = corruptor(positives, n)
        assert (negatives.side == side).all()
        assert negatives.heads == (n if name == "head" else 0)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_single_end_is_one_query_per_positive(n: int) -> None:
    known = torch.tensor([[0, 0, tail] for tail in range(1, 10)] + [[head, 1, 0] for head in range(1, 10)])
    positives = known[[0, 9]].repeat(2000, 1)
    index = TripleIndex(known, **SIZES)
    corruptor = PoolCorruptor(list(range(ENTITIES)), sides=SidePolicy("single"), index=index, seed=3, **SIZES)
    negatives = corruptor(positives, n)
    assert corruptor.calls[0] == (4000, n)
    assert negatives.heads is None
    assert (negatives.side == negatives.side[:, :1]).all()
    heads = (negatives.side[:, 0] == HEAD).view(2000, 2).double().mean(0)
    assert heads.tolist() == pytest.approx([0.5, 0.5], abs=0.05)
    for row, column in ((0, HEAD), (0, TAIL), (1, HEAD), (1, TAIL)):
        chosen = (positives == positives[row]).all(-1) & (negatives.side[:, 0] == column)
        entity = torch.bincount(negatives.entity[chosen].view(-1), minlength=ENTITIES)
        candidates = positives[row].repeat(ENTITIES, 1)
        candidates[:, column] = torch.arange(ENTITIES)
        free = ~index.contains(candidates)
        assert not entity[~free].any()
        assert chisquare(entity[free]).pvalue > 1e-4


def test_a_row_at_a_single_end_is_turned_as_a_whole() -> None:
    index = index_of([(0, 0, tail) for tail in range(ENTITIES)] + [(5, 0, 6)])
    positives = torch.tensor([[0, 0, 7], [5, 0, 6]]).repeat(20, 1)
    corruptor = PoolCorruptor(list(range(ENTITIES)), index=index, sides=SidePolicy("single"), seed=1, **SIZES)
    negatives = corruptor(positives, 6)
    assert corruptor.counts["turned"] % 6 == 0
    assert 0 < corruptor.counts["turned"] == int(negatives.fallback[::2].sum()) < 120
    assert (negatives.side[::2] == HEAD).all()
    assert (negatives.side == negatives.side[:, :1]).all()
    assert len(negatives.side[1::2].unique()) == 2
    assert not index.contains(negatives.triples).any()


def test_the_method_sees_what_it_is_asked() -> None:
    seen: list[Queries] = []

    class Watching(PoolCorruptor):
        def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
            seen.append(queries)
            return super().propose(queries, n, generator)

    positives = torch.tensor([[1, 0, 2], [3, 1, 4]])
    single = SidePolicy("single")
    for policy, n in ((None, 4), (None, 3), (SidePolicy("head"), 2), (SidePolicy("tail"), 2), (single, 4)):
        seen.clear()
        negatives = Watching(list(range(ENTITIES)), sides=policy, seed=0, **SIZES)(positives, n)
        queries = seen[0]
        found = Counter(
            zip(*(getattr(queries, key).tolist() for key in ("kept", "relation", "replaced", "side")), strict=True)
        )
        for (kept, relation, replaced, side), number in found.items():
            triple = [replaced, relation, kept] if side == HEAD else [kept, relation, replaced]
            row = positives.tolist().index(triple)
            each = int((negatives.side[row] == side).sum())
            assert number * (1 if number > 1 or n == 3 else each) == each


def test_queries() -> None:
    triples = torch.tensor([[1, 0, 2], [3, 1, 4], [5, 0, 6]])
    queries = Queries.from_triples(triples, torch.tensor([HEAD, TAIL, HEAD]))
    assert (queries.kept.tolist(), queries.replaced.tolist()) == ([2, 3, 6], [1, 4, 5])
    turned = queries.turned()
    assert (turned.kept.tolist(), turned.replaced.tolist()) == ([1, 4, 5], [2, 3, 6])
    assert turned.side.tolist() == [TAIL, HEAD, TAIL]
    some = queries[torch.tensor([2, 0, 2])]
    assert len(some) == 3
    assert some.kept.tolist() == [6, 2, 6]
    assert some[torch.tensor([1])].replaced.tolist() == [1]
    assert some.turned().side.tolist() == [TAIL, TAIL, TAIL]
    with pytest.raises(AttributeError, match="tails"):
        _ = some.tails


# Nothing left


def test_turned_negatives_are_counted_and_leave_no_trace() -> None:
    index = index_of([(0, 0, tail) for tail in range(ENTITIES)] + [(5, 0, 6)])
    positives = torch.tensor([[0, 0, 7], [5, 0, 6]])
    for n in (2, 4, 6):
        corruptor = PoolCorruptor(list(range(ENTITIES)), index=index, seed=1, **SIZES)
        negatives = corruptor(positives, n)
        assert negatives.side[0].tolist() == [HEAD] * n
        assert corruptor.counts["turned"] == n // 2
        assert corruptor.counts["fallback"] == int(negatives.fallback.sum()) == n // 2
        assert not index.contains(negatives.triples).any()
        after = PoolCorruptor(list(range(ENTITIES)), seed=1, **SIZES)(positives, n)
        assert after.side.tolist() == [[HEAD] * (n // 2) + [TAIL] * (n // 2)] * 2


@pytest.mark.parametrize("policy", ["tail", "head"])
def test_one_sided_policies_do_not_turn(policy: str) -> None:
    full = [(0, 0, other) if policy == "tail" else (other, 0, 0) for other in range(ENTITIES)]
    corruptor = PoolCorruptor([1, 2, 3], index=index_of(full), sides=SidePolicy(policy), seed=1, **SIZES)
    with pytest.raises(
        ExhaustedPoolError, match=r"\(head 0, relation 0, tail 0\) has no negative left: all 20 entities"
    ):
        corruptor(torch.tensor([[5, 1, 6], [0, 0, 0]]), 2)


# Bookkeeping


def test_counts_add_up_over_calls_and_go_with_copies() -> None:
    corruptor = PoolCorruptor([3], seed=4, **SIZES)
    for _ in range(3):
        corruptor(torch.tensor([[0, 0, 3]]), 4)
    assert corruptor.counts == Counter(drawn=12, rejected=6, fallback=6)
    twin = copy.deepcopy(corruptor)
    twin(torch.tensor([[0, 0, 3]]), 4)
    assert corruptor.counts["drawn"] == 12
    assert twin.counts["drawn"] == 16


def test_trusted_skips_only_the_check() -> None:
    positives = torch.tensor([[0, 0, 3], [4, 1, 5]])
    index = index_of(positives.tolist())
    first, second = (PoolCorruptor(list(range(9)), index=index, seed=2, **SIZES) for _ in range(2))
    assert torch.equal(first(positives, 5).triples, second(positives, 5, trusted=True).triples)


@pytest.mark.parametrize(("name", "value"), [("num_entities", 1), ("num_relations", 0), ("seed", 1.5)])
def test_bad_options(name: str, value: object) -> None:
    with pytest.raises(InvalidInputError, match=name):
        PoolCorruptor([0], **{**SIZES, name: value})


def test_unknown_options_are_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        PoolCorruptor([0], colour="red", **SIZES)
