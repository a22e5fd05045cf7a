from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, TAIL, LongTensor
from kgneg.samplers import TypedCorruptor, pools_from_types

ENTITIES, RELATIONS = 30, 3
SIZES = {"num_entities": ENTITIES, "num_relations": RELATIONS}


def random_graph(seed: int = 0) -> LongTensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers([0, 0, 5], [12, RELATIONS, ENTITIES], size=(40, 3))).unique(dim=0)


def random_types(seed: int = 0, kinds: int = 6) -> LongTensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers([ENTITIES, kinds], size=(50, 2)))  # some pairs twice, some entities untyped


def admitted(triples: LongTensor, types: LongTensor, support: float) -> list[set[int]]:
    """The pools, in plain words."""
    kinds_of: dict[int, set[int]] = {}
    for entity, kind in types.tolist():
        kinds_of.setdefault(entity, set()).add(kind)
    pools = []
    for relation in range(RELATIONS):
        for end in (HEAD, TAIL):
            seen = {triple[end] for triple in triples.tolist() if triple[1] == relation}
            frequency = {kind: sum(kind in kinds_of.get(e, ()) for e in seen) for _, kind in types.tolist()}
            most = max(frequency.values())
            good = {
                k for k, number in frequency.items() if number and (number >= support * len(seen) or number == most)
            }
            pools.append(seen | {e for e, kinds in kinds_of.items() if kinds & good})
    return pools


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("support", [0.0, 0.05, 0.2, 0.25, 0.5, 1.0])
def test_pools_from_types(seed: int, support: float) -> None:
    triples, types = random_graph(seed), random_types(seed)
    pools = pools_from_types(triples, types, support=support, **SIZES)
    assert [set(pools.members(row).tolist()) for row in range(2 * RELATIONS)] == admitted(triples, types, support)


def test_support_is_a_share_of_distinct_entities() -> None:
    # ten heads: all have type 0, three have type 1, two have type 2
    triples = torch.tensor([[head, 0, 20] for head in range(10)] + [[0, 0, tail] for tail in range(20, 28)])
    types = torch.tensor([[head, 0] for head in range(10)] + [[0, 1], [1, 1], [2, 1], [0, 2], [1, 2], [11, 1], [12, 2]])
    for support, expected in ((0.2, {11, 12}), (0.3, {11}), (0.31, set()), (1.0, set())):
        pools = pools_from_types(triples, types, support=support, **SIZES)
        assert set(pools.members(0).tolist()) == set(range(10)) | expected


def test_support_is_met_exactly() -> None:
    """0.07 * 100 is a little more than 7 in floating point."""
    sizes = {"num_entities": 110, "num_relations": 1}
    triples = torch.tensor([[head, 0, 0] for head in range(100)])
    types = torch.tensor([[head, 0] for head in range(100)] + [[head, 1] for head in range(7)] + [[105, 1], [106, 0]])
    assert 105 in pools_from_types(triples, types, support=0.07, **sizes).members(0)
    assert 105 not in pools_from_types(triples, types, support=0.0701, **sizes).members(0)


def test_the_most_frequent_type_is_always_admitted() -> None:
    triples = torch.tensor([[head, 0, 20] for head in range(10)])
    types = torch.tensor([[0, 3], [1, 3], [2, 4], [15, 3], [16, 4]])
    pools = pools_from_types(triples, types, support=0.9, **SIZES)
    assert set(pools.members(0).tolist()) == {*range(10), 15}
    assert pools.members(1).tolist() == [20]  # no type at all: what was seen
    assert pools.members(2).tolist() == []  # a relation without triples


def test_uniform_over_the_pool_without_known_triples() -> None:
    triples = random_graph()
    pools = CandidateIndex.from_relation_types(triples, **SIZES)
    index = TripleIndex(triples, **SIZES)
    known = set(map(tuple, triples.tolist()))
    checks = []
    for filtered in (False, True):
        corruptor = TypedCorruptor(pools, index=index if filtered else None, seed=3, **SIZES)
        for head, relation, tail in triples[::4].tolist():
            negatives = corruptor(torch.tensor([head, relation, tail]).expand(1000, 3), 4)
            assert not negatives.fallback.any()
            for side, own in ((HEAD, head), (TAIL, tail)):
                seen = {triple[side] for triple in known if triple[1] == relation} - {own}
                made = {e: (e, relation, tail) if side == HEAD else (head, relation, e) for e in seen}
                expected = {e for e in seen if not (filtered and made[e] in known)}
                drawn = negatives.entity[negatives.side == side].tolist()
                assert set(drawn) == expected
                checks.append(chisquare([drawn.count(e) for e in expected]).pvalue)
    assert min(checks) > 1e-4 / len(checks)


def test_all_of_the_pool_known() -> None:
    """Then the exact uniform draw stands in, and says so."""
    triples = torch.tensor([[0, 0, tail] for tail in range(1, 6)])
    pools = CandidateIndex.from_relation_types(triples, **SIZES)
    corruptor = TypedCorruptor(pools, index=TripleIndex(triples, **SIZES), seed=0, **SIZES)
    negatives = corruptor(triples.repeat(100, 1), 4)
    assert negatives.fallback.all()
    assert corruptor.counts["fallback"] == 2000
    at_tail = negatives.side == TAIL
    assert set(negatives.entity[at_tail].tolist()) == {0, *range(6, ENTITIES)}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: TypedCorruptor(CandidateIndex.from_lists([[0]] * 5, num_columns=ENTITIES), **SIZES),
            "pools of 5 rows x 30 entities do not fit 3 relations and 30 entities",
        ),
        (
            lambda: TypedCorruptor(CandidateIndex.from_lists([[0]] * 6, num_columns=29), **SIZES),
            "pools of 6 rows x 29 entities do not fit",
        ),
        (lambda: pools_from_types(random_graph(), torch.zeros(0, 2, dtype=torch.long), **SIZES), r"non-empty table"),
        (lambda: pools_from_types(random_graph(), torch.tensor([1, 2]), **SIZES), r"\(k, 2\) of entity and type ids"),
        (lambda: pools_from_types(random_graph(), torch.tensor([[1, 2, 3]]), **SIZES), r"got \(1, 3\)"),
        (lambda: pools_from_types(random_graph(), torch.tensor([[30, 0]]), **SIZES), "type is given for entity 30"),
        (lambda: pools_from_types(random_graph(), torch.tensor([[1, -2]]), **SIZES), "type"),
        (lambda: pools_from_types(random_graph(), random_types(), support=1.5, **SIZES), "between 0 and 1, got 1.5"),
    ],
)
def test_refusals(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build()


@pytest.mark.parametrize("pair", [[-1, 0], [0, -1]])
def test_negative_ids_are_named(pair: list[int]) -> None:
    with pytest.raises(InvalidInputError, match="-1"):
        pools_from_types(random_graph(), torch.tensor([pair, [4, 2]]), **SIZES)
