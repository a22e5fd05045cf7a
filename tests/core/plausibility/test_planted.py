"""Hidden triples against enumeration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility import Planted, plant
from kgneg.core.queries import Queries
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, TAIL, LongTensor
from kgneg.samplers import UniformCorruptor

ENTITIES, RELATIONS = 6, 2
SIZES = {"num_entities": ENTITIES, "num_relations": RELATIONS}


def as_set(triples: LongTensor) -> set[tuple[int, ...]]:
    return {tuple(row) for row in triples.tolist()}


def enumerated_rate(planted: Planted) -> float:
    """Replace each end of each known triple by each entity that makes no known one."""
    known, hidden = as_set(planted.known), as_set(planted.hidden)
    total = 0.0
    for triple in known:
        for column in (HEAD, TAIL):
            others = [(*triple[:column], entity, *triple[column + 1 :]) for entity in range(ENTITIES)]
            free = [other for other in others if other not in known]
            total += sum(other in hidden for other in free) / max(len(free), 1)
    return total / (2 * len(known))


graphs = st.sets(
    st.tuples(st.integers(0, ENTITIES - 1), st.integers(0, RELATIONS - 1), st.integers(0, ENTITIES - 1)),
    min_size=2,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(graphs, st.floats(0.01, 0.99), st.integers(0, 2**40))
@example({(0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)}, 0.75, 0)
def test_invariants(rows: set[tuple[int, int, int]], share: float, seed: int) -> None:
    triples = torch.tensor(sorted(rows))
    planted = plant(triples, share=share, seed=seed, **SIZES)
    known, hidden = as_set(planted.known), as_set(planted.hidden)
    assert known | hidden == rows
    assert not known & hidden
    # a graph in which each triple has its inverse, by chance, hides both together
    paired = len(rows) > 2 and all((tail, relation ^ 1, head) in rows for head, relation, tail in rows)
    units = len(rows) // (1 + paired)
    assert len(hidden) == (1 + paired) * min(max(round(share * units), 1), units - 1)
    assert planted.uniform_rate() == pytest.approx(enumerated_rate(planted), abs=1e-12)
    assert planted.index.contains(triples).tolist() == [tuple(row) in known for row in triples.tolist()]
    queries, ids, times = planted.hits()
    for kept, relation, side, entity, number in zip(
        *(part.tolist() for part in (queries.kept, queries.relation, queries.side, ids, times)), strict=True
    ):
        assert ((entity, relation, kept) if side == HEAD else (kept, relation, entity)) in hidden
        assert number == sum(row[1] == relation and row[TAIL - side] == kept for row in known) > 0
    side = torch.full((len(triples),), TAIL)
    found = planted.contains(Queries.from_triples(triples, side), triples[:, TAIL])
    assert found.tolist() == [tuple(row) in hidden for row in triples.tolist()]


def test_repeated_triples_count_once() -> None:
    triples = torch.tensor([[0, 0, 1], [0, 0, 2], [1, 0, 2], [2, 1, 3]])
    planted = plant(triples.repeat(9, 1), share=0.5, **SIZES)
    assert (len(planted.known), len(planted.hidden)) == (2, 2)


def test_the_seed_decides_and_nothing_else(nations: Any) -> None:
    state = torch.get_rng_state()
    first, again, other = (plant(nations.known, seed=seed, **nations.sizes).hidden for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_uniform_rate_is_that_of_uniform_negatives(umls: Any, planted: Planted) -> None:
    corruptor = UniformCorruptor(index=planted.index, seed=0, **umls.sizes)
    drawn = corruptor(planted.known, 60).triples.reshape(-1, 3)
    hidden = TripleIndex(planted.hidden, **umls.sizes).contains(drawn)
    rate = planted.uniform_rate()
    spread = (rate / len(drawn)) ** 0.5
    assert float(hidden.double().mean()) == pytest.approx(rate, abs=5 * spread)


@pytest.mark.parametrize("share", [0.0, 1.0, 0, 1])
def test_shares_that_hide_nothing_or_everything(share: float) -> None:
    with pytest.raises(InvalidInputError, match="share must be larger than 0 and smaller than 1"):
        plant(torch.tensor([[0, 0, 1], [0, 0, 2]]), share=share, **SIZES)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), True])
def test_what_is_no_share(share: float) -> None:
    with pytest.raises(InvalidInputError, match="share must be between 0 and 1"):
        plant(torch.tensor([[0, 0, 1], [0, 0, 2]]), share=share, **SIZES)


@pytest.mark.parametrize("triples", [torch.zeros(0, 3, dtype=torch.long), torch.tensor([[0, 0, 1], [0, 0, 1]])])
def test_too_few_triples(triples: LongTensor) -> None:
    with pytest.raises(InvalidInputError, match=r"at least two distinct ones, got \d"):
        plant(triples, **SIZES)


def test_ids_out_of_range() -> None:
    with pytest.raises(InvalidInputError, match="out of range"):
        plant(torch.tensor([[0, 0, 1], [0, 5, 2]]), **SIZES)


def test_inverse_triples_are_hidden_together(nations: Any) -> None:
    triples = nations.known
    forward = triples * torch.tensor([1, 2, 1])
    both = torch.cat([forward, forward.flip(-1) + torch.tensor([0, 1, 0])])
    planted = plant(both, num_entities=14, num_relations=110)
    hidden = {tuple(triple) for triple in planted.hidden.tolist()}
    assert len(hidden) == 2 * round(0.1 * len(triples))
    assert {(t, r ^ 1, h) for h, r, t in hidden} == hidden
    one_missing = plant(both[:-1], num_entities=14, num_relations=110)
    found = {tuple(triple) for triple in one_missing.hidden.tolist()}
    assert {(t, r ^ 1, h) for h, r, t in found} != found
