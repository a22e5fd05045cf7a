"""Features against dictionaries and a decomposition by numpy."""

from __future__ import annotations

import copy
import math
import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility import PlausibilityFeatures, features
from kgneg.core.queries import Queries
from kgneg.core.typing import HEAD, TAIL, LongTensor

ENTITIES, RELATIONS = 9, 2
SIZES = {"num_entities": ENTITIES, "num_relations": RELATIONS}


def every_pair(num_entities: int, num_relations: int) -> tuple[Queries, torch.Tensor]:
    """Ask for all entities of all pairs at both ends."""
    kept, relation, side = torch.cartesian_prod(
        torch.arange(num_entities), torch.arange(num_relations), torch.tensor([HEAD, TAIL])
    ).unbind(-1)
    ids = torch.arange(num_entities, dtype=torch.int32).expand(len(kept), num_entities).contiguous()
    return Queries(kept, relation, torch.zeros_like(kept), side), ids


def small_graph() -> LongTensor:
    """A graph with loops and repeated triples; two entities have none, and relation 1 is rare."""
    generator = torch.Generator().manual_seed(2)
    triples = torch.randint(ENTITIES - 2, (14, 3), generator=generator)
    triples[:, 1] = 0
    return torch.cat([triples, triples[:3], torch.tensor([[0, 1, 0], [0, 1, 5]])])


class Oracle:
    """The plain features, by dictionaries of Python."""

    def __init__(self, triples: LongTensor) -> None:
        self.popularity: Counter[tuple[int, ...]] = Counter()
        self.known: Counter[tuple[int, ...]] = Counter()
        self.size: Counter[tuple[int, ...]] = Counter()
        self.links: set[tuple[int, int]] = set()
        for h, r, t in {tuple(row) for row in triples.tolist()}:
            self.links |= {(h, t), (t, h)}
            for side, asked, kept in ((HEAD, h, t), (TAIL, t, h)):
                self.popularity[side, r, asked] += 1
                self.known[side, r, kept] += 1
                self.size[side, r] += 1

    def __call__(self, queries: Queries, ids: torch.Tensor) -> torch.Tensor:
        found = []
        columns = (queries.kept.tolist(), queries.relation.tolist(), queries.side.tolist(), ids.tolist())
        for kept, r, side, row in zip(*columns, strict=True):
            same = [math.log1p(self.known[side, r, kept]), math.log1p(self.size[side, r])]
            found.append(
                [[math.log1p(self.popularity[side, r, e]), *same, float((kept, e) in self.links)] for e in row]
            )
        return torch.tensor(found)


def table_of(triples: LongTensor, num_entities: int, num_relations: int) -> np.ndarray:
    """Return the known triples, a row per entity and a column per pair of :func:`every_pair`."""
    table = np.zeros((num_entities, num_entities, num_relations, 2))
    for h, r, t in triples.tolist():
        table[h, t, r, 0] = table[t, h, r, 1] = 1
    return table.reshape(num_entities, -1)


@pytest.fixture(params=["table", "search"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Hold popularity in a plain table, or as a sorted list."""
    if request.param == "search":
        monkeypatch.setattr(features, "_DENSE", 0)
    return request.param


def test_plain_features_of_nations(nations: Any, way: str) -> None:
    built = PlausibilityFeatures(nations.known, rank=0, **nations.sizes)
    assert bool(len(built.popular)) == (way == "search")
    queries, ids = every_pair(*nations.sizes.values())
    found = built(queries, ids)
    torch.testing.assert_close(found[..., :4], Oracle(nations.known)(queries, ids))
    assert not found[..., 4].any()
    assert torch.allclose(found[..., 5], torch.tensor(math.log(1e-3)))


def test_plain_features_of_a_small_graph(way: str) -> None:
    triples = small_graph()
    queries, ids = every_pair(ENTITIES, RELATIONS)
    found = PlausibilityFeatures(triples, rank=3, **SIZES)(queries, ids)
    torch.testing.assert_close(found[..., :4], Oracle(triples)(queries, ids))


def test_affinity_of_full_rank_gives_back_the_table() -> None:
    triples = small_graph()
    queries, ids = every_pair(ENTITIES, RELATIONS)
    built = PlausibilityFeatures(triples, rank=ENTITIES, **SIZES)
    assert built.entity_factors.shape[1] == ENTITIES - 1  # no more than a truncated decomposition may have
    expected = torch.from_numpy(table_of(triples, ENTITIES, RELATIONS).T).float()
    found = built(queries, ids)
    torch.testing.assert_close(found[..., 4], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[..., 5], expected.clamp(min=1e-3).log(), atol=1e-2, rtol=0)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_affinity_is_the_truncated_decomposition(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    triples = small_graph()
    left, values, right = np.linalg.svd(table_of(triples, ENTITIES, RELATIONS), full_matrices=False)
    assert values[rank - 1] > values[rank] + 1e-3  # otherwise it would not be unique
    expected = torch.from_numpy((left[:, :rank] * values[:rank]) @ right[:rank]).float().T
    queries, ids = every_pair(ENTITIES, RELATIONS)
    built = PlausibilityFeatures(triples, rank=rank, **SIZES)
    torch.testing.assert_close(built(queries, ids)[..., 4], expected, atol=1e-4, rtol=0)
    monkeypatch.setattr(features, "_CELLS", 1)  # row by row
    torch.testing.assert_close(built(queries, ids)[..., 4], expected, atol=1e-4, rtol=0)


def test_pairs_that_are_not_known() -> None:
    """Nothing is known of them but how popular candidates are and how large the relation is."""
    built = PlausibilityFeatures(torch.tensor([[0, 0, 1], [2, 0, 1], [2, 1, 3]]), rank=2, **SIZES)
    queries = Queries.from_triples(torch.tensor([[7, 0, 8], [1, 1, 3]]), torch.tensor([TAIL, TAIL]))
    found = built(queries, torch.tensor([[1, 3], [3, 1]], dtype=torch.int32))
    assert found[..., 1].tolist() == [[0, 0], [0, 0]]
    assert found[..., 4].tolist() == [[0, 0], [0, 0]]
    assert found[..., 0].exp().round().tolist() == [[3, 1], [2, 1]]
    assert found[..., 2].exp().round().tolist() == [[3, 3], [2, 2]]


graphs = st.lists(
    st.tuples(st.integers(0, ENTITIES - 1), st.integers(0, RELATIONS - 1), st.integers(0, ENTITIES - 1)),
    min_size=1,
    max_size=30,
)


@settings(max_examples=25, deadline=None)
@given(graphs, st.integers(0, 5), st.lists(st.floats(-3, 3, width=32), min_size=6, max_size=6))
def test_invariants(rows: list[tuple[int, int, int]], rank: int, numbers: list[float]) -> None:
    triples, weights = torch.tensor(rows), torch.tensor(numbers)
    built = PlausibilityFeatures(triples, rank=rank, **SIZES)
    queries, ids = every_pair(ENTITIES, RELATIONS)
    found = built(queries, ids)
    assert found.shape == (*ids.shape, len(PlausibilityFeatures.NAMES))
    torch.testing.assert_close(built.weighted(queries, ids, weights), found @ weights, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[..., :4], Oracle(triples)(queries, ids))
    again = PlausibilityFeatures(triples.flip(0).repeat(2, 1), rank=rank, **SIZES)  # neither order nor repeats matter
    assert torch.equal(again(queries, ids), found)


def test_rank_zero_and_graphs_too_small_for_a_factorisation() -> None:
    for triples, sizes, rank in (
        (small_graph(), SIZES, 0),
        (torch.tensor([[0, 0, 0]]), {"num_entities": 1, "num_relations": 1}, 8),
    ):
        built = PlausibilityFeatures(triples, rank=rank, **sizes)
        assert built.pair_factors.shape[1] == built.entity_factors.shape[1] == 0
        queries, ids = every_pair(*sizes.values())
        assert not built(queries, ids)[..., 4].any()
        weights = torch.arange(6.0)
        torch.testing.assert_close(built.weighted(queries, ids, weights), built(queries, ids) @ weights)


def test_it_depends_on_nothing_but_its_arguments() -> None:
    queries, ids = every_pair(ENTITIES, RELATIONS)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    found = [PlausibilityFeatures(small_graph(), rank=3, seed=seed, **SIZES)(queries, ids) for seed in (4, 4)]
    assert torch.equal(*found)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()
    PlausibilityFeatures(small_graph(), rank=3, seed=2**70, **SIZES)


@pytest.mark.parametrize("kind", ["to", "pickle", "deepcopy", "state_dict"])
def test_copies(kind: str, way: str) -> None:
    queries, ids = every_pair(ENTITIES, RELATIONS)
    original = PlausibilityFeatures(small_graph(), rank=3, **SIZES)
    expected = original(queries, ids)
    if kind == "to":
        twin = original.to("cpu")
    elif kind == "state_dict":
        twin = PlausibilityFeatures(torch.tensor([[0, 0, 1], [3, 1, 1]]), rank=1, **SIZES)
        assert not torch.equal(twin(queries, ids), expected)
        twin.load_state_dict(original.state_dict())
    else:
        twin = pickle.loads(pickle.dumps(original)) if kind == "pickle" else copy.deepcopy(original)  # noqa: S301
    assert torch.equal(twin(queries, ids), expected)


@pytest.mark.parametrize(
    ("triples", "options", "message"),
    [
        (torch.zeros(0, 3, dtype=torch.long), {}, "no known triples.*at least one"),
        (torch.tensor([[0, 0, ENTITIES]]), {}, "out of range"),
        (torch.tensor([[0, 0, 1]]), {"rank": -1}, "rank must be at least 0, got -1"),
        (torch.tensor([[0, 0, 1]]), {"rank": 1.5}, "rank must be an integer"),
        (torch.tensor([[0, 0, 1]]), {"num_relations": 0}, "num_relations must be at least 1"),
    ],
)
def test_refusals(triples: LongTensor, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        PlausibilityFeatures(triples, **(SIZES | options))
