from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from kgneg.core.errors import ExhaustedPoolError, InvalidInputError, KeyOverflowError
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor, Side

LAYOUTS = ("triple", "pair", "auto")
SIDES = (Side.HEAD, Side.TAIL)


def tensor(triples: list[tuple[int, int, int]]) -> LongTensor:
    return torch.tensor(triples, dtype=torch.long).view(-1, 3)


class Oracle:
    """The same answers from Python sets."""

    def __init__(self, triples: LongTensor, num_entities: int) -> None:
        self.known = set(map(tuple, triples.tolist()))
        self.entities = range(num_entities)
        self.rows: dict[tuple[int, int, int], set[int]] = defaultdict(set)
        for head, relation, tail in self.known:
            self.rows[tail, relation, HEAD].add(head)
            self.rows[head, relation, TAIL].add(tail)

    def unknown(self, kept: int, relation: int, side: int, exclude: int | None = None) -> list[int]:
        row = self.rows.get((kept, relation, side), set()) | {exclude}
        return [entity for entity in self.entities if entity not in row]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int, int]]]:
    num_entities = draw(st.integers(1, 9))
    num_relations = draw(st.integers(1, 3))
    entity, relation = st.integers(0, num_entities - 1), st.integers(0, num_relations - 1)
    triples = draw(st.lists(st.tuples(entity, relation, entity), max_size=60))
    if draw(st.booleans()):  # a pair with all its completions
        kept, kind = draw(entity), draw(relation)
        side = draw(st.sampled_from(SIDES))
        triples += [(e, kind, kept) if side == Side.HEAD else (kept, kind, e) for e in range(num_entities)]
    return num_entities, num_relations, triples


def pairs_of(num_entities: int, num_relations: int) -> tuple[LongTensor, LongTensor, LongTensor]:
    every = torch.cartesian_prod(torch.arange(num_entities), torch.arange(num_relations), torch.tensor(SIDES))
    kept, relation, side = every.view(-1, 3).unbind(-1)
    return kept, relation, side


@pytest.mark.parametrize("keys", LAYOUTS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(graph=graphs(), repeat=st.integers(1, 2))
@example(graph=(1, 1, []), repeat=1)
@example(graph=(1, 1, [(0, 0, 0)]), repeat=2)
@example(graph=(5, 2, [(3, 1, 4)] * 7), repeat=1)
def test_agrees_with_sets(keys: str, graph: tuple[int, int, list[tuple[int, int, int]]], repeat: int) -> None:
    num_entities, num_relations, triples = graph
    known = tensor(triples * repeat)
    index = TripleIndex(known, num_entities=num_entities, num_relations=num_relations, keys=keys)
    oracle = Oracle(known, num_entities)
    assert index.num_triples == len(oracle.known)
    assert index.longest_row == max(map(len, oracle.rows.values()), default=0)

    every = torch.cartesian_prod(*map(torch.arange, (num_entities, num_relations, num_entities))).view(-1, 3)
    truth = torch.tensor([triple in oracle.known for triple in map(tuple, every.tolist())])
    assert torch.equal(index.contains(every), truth)

    kept, relation, side = pairs_of(num_entities, num_relations)
    rows = [oracle.rows.get(key, set()) for key in zip(*(part.tolist() for part in (kept, relation, side)), strict=True)]
    assert index.count(kept, relation, side).tolist() == [len(row) for row in rows]

    codes = index.codes(kept, relation, side)
    grid = torch.arange(num_entities, dtype=torch.int32).expand(len(kept), -1).contiguous()
    table = torch.tensor([[entity in row for entity in range(num_entities)] for row in rows])
    assert not (table & ~index.suspect(codes, grid)).any(), "a known triple is no suspect"
    flat = codes.repeat_interleave(num_entities), grid.view(-1)
    assert torch.equal(index.confirm(*flat).view(table.shape), table)
    assert torch.equal(index.contains_codes(*flat).view(table.shape), table)
    assert torch.equal(index.free(*flat).view(table.shape), num_entities - table.sum(-1, keepdim=True) - (~table).long())


@pytest.mark.parametrize("keys", LAYOUTS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(graph=graphs(), excluded=st.one_of(st.none(), st.integers(0, 8)))
def test_complement_agrees_with_sets(
    keys: str, graph: tuple[int, int, list[tuple[int, int, int]]], excluded: int | None
) -> None:
    num_entities, num_relations, triples = graph
    known = tensor(triples)
    index = TripleIndex(known, num_entities=num_entities, num_relations=num_relations, keys=keys)
    oracle = Oracle(known, num_entities)
    kept, relation, side = pairs_of(num_entities, num_relations)
    other = None if excluded is None else excluded % num_entities
    allowed = [oracle.unknown(*key, other) for key in zip(kept.tolist(), relation.tolist(), side.tolist(), strict=True)]
    exclude = None if other is None else torch.full_like(kept, other)
    generator = torch.Generator().manual_seed(0)

    def complement(rows: LongTensor, n: int) -> LongTensor:
        rest = None if exclude is None else exclude[rows]
        return index.complement(kept[rows], relation[rows], side[rows], n, exclude=rest, generator=generator)

    some = torch.tensor([row for row, entities in enumerate(allowed) if entities], dtype=torch.long)
    none = torch.tensor([row for row, entities in enumerate(allowed) if not entities], dtype=torch.long)
    draws = complement(some, 200)
    assert draws.shape == (len(some), 200)
    assert draws.dtype == torch.int64
    for row, draw in zip(some.tolist(), draws.tolist(), strict=True):
        # 200 draws from at most 9 entities miss one with probability below 1e-9
        assert sorted(set(draw)) == allowed[row]
    if len(none):
        with pytest.raises(ExhaustedPoolError, match=rf"^{len(none)} of {len(kept)} pairs have all {num_entities}"):
            complement(torch.arange(len(kept)), 1)


@pytest.mark.parametrize("keys", ["triple", "pair"])
@pytest.mark.parametrize("exclude", [None, 0, 7, 19])  # nothing, a known one, an unknown one, the last one
@pytest.mark.parametrize("side", SIDES)
def test_complement_is_uniform(keys: str, exclude: int | None, side: Side) -> None:
    known = [0, 1, 2, 5, 6, 12, 18]
    noise = torch.randint(20, (60, 3), generator=torch.Generator().manual_seed(1))
    noise[:, RELATION] = 1
    rows = tensor([(3, 0, e) if side == Side.TAIL else (e, 0, 3) for e in known])
    index = TripleIndex(torch.cat([rows, noise]), num_entities=20, num_relations=2, keys=keys)
    three, relation = torch.full((50,), 3), torch.zeros(50, dtype=torch.long)
    excluded = None if exclude is None else torch.full((50,), exclude)
    generator = torch.Generator().manual_seed(5)
    draw = index.complement(three, relation, side, 400, exclude=excluded, generator=generator)
    counts = torch.bincount(draw.view(-1), minlength=20)
    allowed = [entity for entity in range(20) if entity not in known and entity != exclude]
    assert counts[allowed].sum() == draw.numel()
    assert chisquare(counts[allowed].numpy()).pvalue > 1e-3
    # successive draws of a row are independent of each other
    first, second = draw.view(-1, 2).unbind(-1)
    joint = torch.bincount(first * 20 + second, minlength=400).view(20, 20)[allowed][:, allowed]
    assert chisquare(joint.view(-1).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("keys", LAYOUTS)
def test_larger_random_graph(keys: str) -> None:
    generator = torch.Generator().manual_seed(3)
    limits = torch.tensor([300, 7, 300])
    known = (torch.rand((20_000, 3), generator=generator) ** 2 * limits).long()  # skewed: long and short rows
    index = TripleIndex(known, num_entities=300, num_relations=7, keys=keys)
    oracle = Oracle(known, 300)
    asked = torch.cat([known[:500], (torch.rand((5000, 3), generator=generator) * limits).long()])
    assert index.contains(asked).tolist() == [triple in oracle.known for triple in map(tuple, asked.tolist())]
    assert index.contains(asked.view(50, 110, 3)).shape == (50, 110)
    assert index.contains(asked[0]).shape == ()
    side = torch.randint(2, (len(asked),), generator=generator) * 2
    kept = torch.where(side == HEAD, asked[:, TAIL], asked[:, HEAD])
    replaced = torch.where(side == HEAD, asked[:, HEAD], asked[:, TAIL])
    draws = index.complement(kept, asked[:, RELATION], side, 9, exclude=replaced, generator=generator)
    assert (draws != replaced[:, None]).all()
    triples = asked[:, None].repeat(1, 9, 1).scatter(-1, side[:, None, None].expand(-1, 9, 1), draws[..., None])
    assert not index.contains(triples).any()
    assert not {tuple(triple) for triple in triples.view(-1, 3).tolist()} & oracle.known
    false_alarms = index.suspect(index.codes(kept, asked[:, RELATION], side), draws.int()).double().mean()
    assert 0 < false_alarms < 0.1


def test_one_side_for_all_equals_one_per_pair() -> None:
    known = tensor([(0, 0, 1), (0, 0, 2), (3, 1, 2), (1, 1, 2)])
    index = TripleIndex(known, num_entities=4, num_relations=2)
    kept, relation = torch.tensor([0, 2, 2]), torch.tensor([0, 1, 0])
    assert index.count(kept, relation, Side.TAIL).tolist() == [2, 0, 0]
    assert index.count(kept, relation, Side.HEAD).tolist() == [0, 2, 1]
    for side in SIDES:
        assert torch.equal(index.codes(kept, relation, side), index.codes(kept, relation, torch.full((3,), int(side))))


# Sizes


def test_overflow_is_refused_with_numbers() -> None:
    sizes = {"num_entities": 4_600_000, "num_relations": 822}
    triples = tensor([(0, 0, 1)])
    with pytest.raises(KeyOverflowError, match=r"4,600,000 entities x 822 relations x 4,600,000.*1\.739e\+16") as caught:
        TripleIndex(triples, num_entities=4_600_000, num_relations=822_000, keys="triple") if False else TripleIndex(
            triples, **{**sizes, "num_relations": 822_000}, keys="triple"
        )
    assert "keys='pair'" in str(caught.value)


def test_placeholder() -> None:
    pass
