"""Vectors of items against cosines by hand."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.item_vectors import ItemVectors, item_vectors_from_graph, neighbour_agreement

ENTITIES, RELATIONS = 40, 3
SIZES = {"num_entities": ENTITIES, "num_relations": RELATIONS}


def random_graph(seed: int, number: int = 120) -> LongTensor:
    draw = torch.rand(number, 3, generator=torch.Generator().manual_seed(seed))
    return (draw * torch.tensor([ENTITIES, RELATIONS, ENTITIES])).long()


def cosines(triples: LongTensor, entities: list[int]) -> np.ndarray:
    """Return the cosines of the weighted facts of items, one fact at a time."""
    facts: dict[int, set[tuple[str, int, int]]] = {entity: set() for entity in entities if entity >= 0}
    for head, relation, tail in triples.tolist():
        if head != tail:
            if head in facts:
                facts[head].add(("out", relation, tail))
            if tail in facts:
                facts[tail].add(("in", relation, head))
    everything = sorted(set().union(*facts.values()))
    frequency = {fact: sum(fact in own for own in facts.values()) for fact in everything}
    number = sum(bool(own) for own in facts.values())
    weight = {fact: math.log((number + 1) / often) if often > 1 else 0.0 for fact, often in frequency.items()}
    rows = np.zeros((len(entities), len(everything)))
    for (item, entity), (column, fact) in product(enumerate(entities), enumerate(everything)):
        rows[item, column] = weight[fact] if entity >= 0 and fact in facts[entity] else 0.0
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return rows @ rows.T


@pytest.mark.parametrize("seed", range(5))
def test_all_singular_vectors_give_the_cosines_of_the_facts(seed: int) -> None:
    triples = random_graph(seed)
    entities = torch.randperm(ENTITIES, generator=torch.Generator().manual_seed(seed))[:12]
    entities[[2, 7]] = -1
    entities[9] = entities[0]  # two items may be one entity
    expected = cosines(triples, entities.tolist())
    found = item_vectors_from_graph(triples, entities, dim=100, seed=seed, **SIZES)
    assert found.known.tolist() == (np.diag(expected) > 0).tolist()
    assert found.missing == int((np.diag(expected) == 0).sum()) >= 2
    np.testing.assert_allclose((found.vectors @ found.vectors.T).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("hops", [1, 2])
def test_what_always_holds(hops: int) -> None:
    triples = random_graph(8)
    entities = torch.arange(-1, 20)
    found = item_vectors_from_graph(triples, entities, dim=5, hops=hops, **SIZES)
    assert found.vectors.shape == (21, 5)
    assert found.vectors.dtype == torch.float32
    lengths = found.vectors.norm(dim=-1)
    torch.testing.assert_close(lengths, found.known.float())
    assert not found.known[0]
    again = item_vectors_from_graph(triples.flip(0), entities, dim=5, hops=hops, **SIZES)
    torch.testing.assert_close(again.vectors, found.vectors)
    same = item_vectors_from_graph(triples, entities, dim=5, hops=hops, seed=0, **SIZES)
    assert torch.equal(same.vectors, found.vectors)


def test_two_hops_see_what_one_does_not() -> None:
    """Items 0 and 1 have different directors, who come from one town; item 2 has another; 3 shares nothing."""
    triples = torch.tensor([[0, 0, 10], [1, 0, 11], [10, 1, 20], [11, 1, 20], [2, 0, 12], [12, 1, 21], [13, 1, 21]])
    sizes = {"num_entities": 22, "num_relations": 2}
    items = torch.arange(4)
    with pytest.raises(InvalidInputError, match=r"no two of the 4 linked items have a neighbour in common.*hops=2"):
        item_vectors_from_graph(triples, items, **sizes)
    found = item_vectors_from_graph(triples, items, hops=2, **sizes)
    cosine = found.vectors @ found.vectors.T
    assert cosine[0, 1] > 0.99
    assert cosine[0, 2].abs() < 0.01
    assert found.known.tolist() == [True, True, True, False]


def test_direction_and_relation_count() -> None:
    """All four items have the neighbour 9, but only the first two in the same way."""
    triples = torch.tensor([[0, 0, 9], [1, 0, 9], [2, 1, 9], [9, 0, 3]])
    found = item_vectors_from_graph(triples, torch.arange(4), num_entities=10, num_relations=2)
    assert found.known.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item_entities": torch.tensor([0, 40])}, "entity 40 of item 1 is out of range.*-1"),
        ({"item_entities": torch.tensor([-2, 3])}, "entity -2 of item 0"),
        ({"item_entities": torch.tensor([0.5])}, "must be a vector of ids, got torch.float32"),
        ({"item_entities": torch.tensor([[1]])}, r"of shape \(1, 1\)"),
        ({"item_entities": torch.tensor([-1, -1])}, "no two of the 0 linked items"),
        ({"triples": torch.tensor([[0, 3, 1]])}, "relation id 3"),
        ({"triples": torch.empty(0, 3, dtype=torch.int64)}, "no two of the 2 linked items"),
        ({"dim": 0}, "dim must be at least 1"),
        ({"hops": 3}, "hops must be 1 or 2, got 3"),
    ],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    arguments = {"triples": random_graph(0), "item_entities": torch.tensor([0, 1]), **SIZES, **change}
    with pytest.raises(InvalidInputError, match=message):
        item_vectors_from_graph(arguments.pop("triples"), arguments.pop("item_entities"), **arguments)


# Agreement


def grouped(seed: int) -> tuple[Interactions, ItemVectors]:
    """Return users who choose within one of five groups of items, and vectors that say which group an item is in."""
    generator = torch.Generator().manual_seed(seed)
    users = torch.arange(100).repeat_interleave(8)
    items = (users % 5) * 20 + torch.randint(20, users.shape, generator=generator)
    vectors = torch.eye(5).repeat_interleave(20, 0) + 0.1 * torch.randn(100, 5, generator=generator)
    return Interactions(users, items, num_users=100, num_items=100), ItemVectors(vectors, vectors.any(dim=-1))


def test_agreement_tells_right_vectors_from_wrong_ones() -> None:
    pairs, found = grouped(0)
    assert neighbour_agreement(pairs, found) > 3
    shuffled = found.vectors[torch.randperm(100, generator=torch.Generator().manual_seed(1))]
    assert neighbour_agreement(pairs, ItemVectors(shuffled, found.known)) == pytest.approx(1, abs=0.35)
    assert neighbour_agreement(pairs, found, seed=4) == neighbour_agreement(pairs, found, seed=4)


def test_agreement_by_hand() -> None:
    pairs = Interactions(
        torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 1, 1, 2, 3]), num_users=2, num_items=5
    )  # nobody has item 4
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    found = ItemVectors(vectors, vectors.any(dim=-1))
    shuffled = [neighbour_agreement(pairs, found, k=1, seed=seed) for seed in range(20)]
    # the numerator is the mean of 1/sqrt(2), twice, and of 1, twice
    mean = (2 / math.sqrt(2) + 2) / 4
    assert all(math.isnan(ratio) or ratio <= mean / (1 / math.sqrt(2) / 4) + 1e-6 for ratio in shuffled)
    assert any(ratio > 1 for ratio in shuffled)
    few = ItemVectors(vectors, torch.tensor([True, False, False, False, True]))
    assert math.isnan(neighbour_agreement(pairs, few))
    with pytest.raises(InvalidInputError, match="5 vectors do not fit 6 items"):
        neighbour_agreement(Interactions(pairs.users, pairs.items, num_users=2, num_items=6), found)
