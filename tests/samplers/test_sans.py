"""SANS against shortest paths, found one entity at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from kgneg.core.errors import InvalidInputError
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, TAIL, LongTensor
from kgneg.samplers import SansCorruptor, build_sans_pools, sans

ENTITIES, RELATIONS = 60, 3
SIZES = {"num_entities": ENTITIES, "num_relations": RELATIONS}


def random_graph(seed: int = 0, edges: int = 60, entities: int = ENTITIES) -> LongTensor:
    """Return a graph with loops, repeated triples, both directions, and entities without neighbours."""
    rng = np.random.default_rng(seed)
    triples = torch.from_numpy(rng.integers([0, 0, 0], [entities - 5, RELATIONS, entities - 5], size=(edges, 3)))
    loops = torch.tensor([[7, 0, 7], [entities - 1, 1, entities - 1]])
    return torch.cat([triples, loops, triples[:4], triples[:2, [TAIL, 1, HEAD]]])


def within(triples: LongTensor, hops: int, entities: int = ENTITIES) -> list[list[int]]:
    graph = nx.Graph()
    graph.add_nodes_from(range(entities))
    graph.add_edges_from(triples[:, [HEAD, TAIL]].tolist())
    found = (nx.single_source_shortest_path_length(graph, entity, cutoff=hops) for entity in range(entities))
    return [sorted(set(lengths) - {entity}) for entity, lengths in enumerate(found)]


@pytest.fixture(params=["products", "bits", "small blocks"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Find neighbours in one way or the other, whatever suits the graph."""
    if request.param == "small blocks":
        monkeypatch.setattr(sans, "_PRODUCTS", 7)
        monkeypatch.setattr(sans, "_BYTES", 130)
    else:
        monkeypatch.setattr(sans, "_MOST_CELLS", 0 if request.param == "products" else 1 << 31)
        monkeypatch.setattr(sans, "_SHARE", 0.0)
    return request.param


@pytest.mark.parametrize("hops", [1, 2, 3, 4])
@pytest.mark.parametrize("edges", [0, 3, 60, 300])
def test_all_entities_within_some_hops(hops: int, edges: int, way: str) -> None:
    triples = random_graph(hops, edges)[-edges - 8 :]
    pools = build_sans_pools(triples, num_entities=ENTITIES, hops=hops)
    assert [pools.members(row).tolist() for row in range(ENTITIES)] == within(triples, hops)


@pytest.mark.parametrize("entities", [8, 63, 64, 65, 129])
def test_sizes_that_fill_words_and_those_that_do_not(entities: int, way: str) -> None:
    triples = random_graph(1, 2 * entities, entities)
    pools = build_sans_pools(triples, num_entities=entities)
    assert [pools.members(row).tolist() for row in range(entities)] == within(triples, 2, entities)


def test_which_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    for name in ("_by_bits", "_by_products"):
        monkeypatch.setattr(sans, name, lambda *_, name=name: iter(taken.append(name) or ()))
    ring = torch.tensor([[entity, 0, (entity + 1) % 400] for entity in range(400)])
    build_sans_pools(random_graph(0, 300), num_entities=ENTITIES)
    build_sans_pools(ring, num_entities=400)
    assert taken == ["_by_bits", "_by_products"]


# Walks


@pytest.mark.parametrize("hops", [1, 2, 3, 4])
@pytest.mark.parametrize("walks", [1, 5, 300])
def test_walks_stay_within_reach(hops: int, walks: int) -> None:
    triples = random_graph(hops, 70)
    pools = build_sans_pools(triples, num_entities=ENTITIES, hops=hops, walks=walks, seed=3)
    reach = within(triples, hops)
    assert any(len(reach[row]) > 3 for row in range(ENTITIES))
    for row in range(ENTITIES):
        members = pools.members(row).tolist()
        assert set(members) <= set(reach[row])
        assert len(members) <= walks * hops
        assert bool(members) == bool(reach[row])  # the first step leads away


def test_many_walks_find_everything() -> None:
    triples = random_graph(0, 60)
    pools = build_sans_pools(triples, num_entities=ENTITIES, hops=2, walks=2000, seed=0)
    assert [pools.members(row).tolist() for row in range(ENTITIES)] == within(triples, 2)


def test_every_walk_begins_at_its_entity() -> None:
    """The ends of a long path are hundreds of steps apart: a walk that went on where another ended would get far."""
    path = torch.tensor([[entity, 0, entity + 1] for entity in range(299)])
    pools = build_sans_pools(path, num_entities=300, hops=3, walks=500, seed=0)
    assert [pools.members(row).tolist() for row in range(300)] == within(path, 3, 300)


def test_steps_are_uniform() -> None:
    star = torch.tensor([[0, 0, leaf] for leaf in range(1, 11)])
    found = torch.zeros(11)
    for seed in range(300):
        found[build_sans_pools(star, num_entities=11, hops=1, walks=1, seed=seed).members(0)] += 1
    assert found.sum() == 300
    assert chisquare(found[1:]).pvalue > 1e-4


def test_walks_depend_on_their_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    triples = random_graph(0, 100)

    def build(seed: int | None) -> str:
        return build_sans_pools(triples, num_entities=ENTITIES, walks=4, seed=seed).fingerprint()

    before = torch.get_rng_state()
    first = build(1)
    assert first == build(1) != build(2)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert build(None) == first
    assert len({build_sans_pools(triples, num_entities=ENTITIES, seed=seed).fingerprint() for seed in (1, 2)}) == 1
    monkeypatch.setattr(sans, "_STEPS", 16)  # in many blocks
    pools = build_sans_pools(triples, num_entities=ENTITIES, walks=2000, seed=1)
    assert [pools.members(row).tolist() for row in range(ENTITIES)] == within(triples, 2)


# Draws


@pytest.mark.parametrize("anchor", ["kept", "replaced"])
@pytest.mark.parametrize("policy", ["uniform", "single"])
def test_neighbours_are_equally_likely(anchor: str, policy: str) -> None:
    triples = random_graph(4, 60)
    index = TripleIndex(triples, **SIZES)
    options = {"index": index, "sides": SidePolicy(policy), "seed": 0, **SIZES}
    corruptor = SansCorruptor.from_triples(triples, anchor=anchor, **options)
    reach = within(triples, 2)
    positive = next(row for row in triples.tolist() if len(reach[row[0]]) > 5 < len(reach[row[2]]) and row[0] != row[2])
    negatives = corruptor(torch.tensor(positive).expand(400, 3), 20)
    assert not negatives.fallback.any()
    for column in (HEAD, TAIL):
        centre = positive[TAIL - column] if anchor == "kept" else positive[column]
        expected = []
        for entity in reach[centre]:
            triple = list(positive)
            triple[column] = entity
            if triple != positive and triple not in triples.tolist():
                expected.append(entity)
        found = torch.bincount(negatives.entity[negatives.side == column], minlength=ENTITIES)
        assert found.nonzero().squeeze(-1).tolist() == expected
        assert chisquare(found[expected]).pvalue > 1e-4


def test_entities_without_neighbours_get_uniform_draws() -> None:
    triples = torch.tensor([[0, 0, 1], [1, 0, 2], [3, 0, 3]])
    corruptor = SansCorruptor.from_triples(triples, num_entities=6, num_relations=1, seed=0, sides=SidePolicy("tail"))
    negatives = corruptor(torch.tensor([[3, 0, 4], [0, 0, 5]]), 200)
    assert negatives.fallback.all(-1).tolist() == [True, False]
    assert negatives.entity[0].unique().tolist() == [0, 1, 2, 3, 5]
    assert negatives.entity[1].unique().tolist() == [1, 2]
    assert corruptor.counts["fallback"] == 200
    empty = SansCorruptor.from_triples(triples[:0], num_entities=6, num_relations=1, seed=0)
    assert empty(torch.tensor([[0, 0, 1]]), 4).fallback.all()
    assert not len(build_sans_pools(triples[:0], num_entities=6, walks=3).indices)


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hops": 0}, "hops must be at least 1"),
        ({"hops": 5}, "hops must be at most 4, got 5"),
        ({"hops": 1.5}, "hops must be an integer"),
        ({"walks": 0}, "walks must be at least 1"),
        ({"max_members": 0}, "max_members must be at least 1"),
        ({"num_entities": 0}, "num_entities must be at least 1"),
        ({"num_entities": 30}, "out of range"),
        ({"max_members": 100}, r"more than max_members=100: give a number of walks"),
        ({"max_members": 100, "walks": 50}, r"more than max_members=100: take fewer walks"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build_sans_pools(random_graph(), **({"num_entities": ENTITIES} | options))


def test_a_bound_that_is_just_met() -> None:
    triples = random_graph()
    number = sum(map(len, within(triples, 2)))
    assert len(build_sans_pools(triples, num_entities=ENTITIES, max_members=number).indices) == number
    with pytest.raises(InvalidInputError, match="raise max_members"):
        build_sans_pools(triples, num_entities=ENTITIES, max_members=number - 1)


def test_pools_that_do_not_fit() -> None:
    pools = build_sans_pools(random_graph(), num_entities=ENTITIES)
    with pytest.raises(InvalidInputError, match="one row per entity"):
        SansCorruptor(pools, num_entities=61, num_relations=RELATIONS)
    with pytest.raises(InvalidInputError, match="anchor must be one of kept, replaced"):
        SansCorruptor(pools, anchor="head", **SIZES)
