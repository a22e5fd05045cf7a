"""Negatives from a hierarchy, from names and from vectors."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.sides import SidePolicy
from kgneg.samplers import (
    NeighbourhoodCorruptor,
    TaxonomyCorruptor,
    edit_distance_pools,
    embedding_pools,
    occurring_together,
    same_names,
    similar_pairs,
    unite,
)

SIZES = {"num_entities": 6, "num_relations": 1}
SIBLINGS = CandidateIndex.from_lists([[1, 2], [0, 2], [0, 1], [4], [3], []], num_columns=6)
OTHERS = CandidateIndex.from_lists([[5], [5], [5], [5], [5], [0]], num_columns=6)


def tails(corruptor: Any, anchor: int, n: int) -> torch.Tensor:
    corruptor.sides = SidePolicy("tail")
    return corruptor(torch.tensor([[0, 0, anchor]]), n).entity[0]


def levenshtein(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        previous, row[0] = row[0], i
        for j, b in enumerate(second, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


@given(st.lists(st.text("abcA ", min_size=1, max_size=6).filter(str.strip), min_size=4, max_size=9), st.booleans())
@settings(max_examples=50, deadline=None)
def test_edit_distance_is_that_of_a_plain_loop(names: list[str], normalised: bool) -> None:
    pools = edit_distance_pools(names, 2, normalised=normalised, workers=1)
    for number, name in enumerate(names):
        ranked = sorted(
            (levenshtein(name.casefold(), other.casefold()) / (max(len(name), len(other)) if normalised else 1), place)
            for place, other in enumerate(names)
            if place != number
        )
        assert pools.members(number).tolist() == sorted(place for _, place in ranked[:2])


def test_normalised_edits_do_not_pair_short_names() -> None:
    names = ["manage staff", "manage zoo staff", "wood", "wool"]
    assert edit_distance_pools(names, 1).members(1).tolist() == [0]
    assert edit_distance_pools(["cat", "dog", "catalogue"], 1, normalised=False).members(0).tolist() == [1]
    assert edit_distance_pools(["cat", "dog", "catalogue"], 1).members(0).tolist() == [2]


def test_embedding_neighbours_and_similar_pairs() -> None:
    vectors = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    cosine = (unit @ unit.T).fill_diagonal_(-2)
    pools = embedding_pools(vectors, 4)
    for row in range(30):
        assert set(pools.members(row).tolist()) == set(cosine[row].topk(4).indices.tolist())
    near = similar_pairs(vectors, 0.5)
    high = embedding_pools(vectors, 29, ceiling=0.5)
    for row in range(30):
        assert set(near.members(row).tolist()) == set((cosine[row] > 0.5).nonzero().view(-1).tolist())
        assert set(near.members(row).tolist()) | set(high.members(row).tolist()) == set(range(30)) - {row}


def test_who_is_too_near() -> None:
    names = same_names(["Manage cash", "handle money", "other"], [["x"], ["manage  CASH"], ["X", ""]])
    assert [names.members(row).tolist() for row in range(3)] == [[1, 2], [0], [0]]
    sentences, labels = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 1, 2, 0, 1, 3])
    together = occurring_together(sentences, labels, num_entities=4)
    assert [together.members(row).tolist() for row in range(4)] == [[1, 2], [0, 2], [0, 1], []]
    twice = occurring_together(sentences, labels, num_entities=4, least=2)
    assert [twice.members(row).tolist() for row in range(4)] == [[1], [0], [], []]
    assert unite(SIBLINGS, OTHERS).members(0).tolist() == [1, 2, 5]


def test_counts_are_met_in_every_row() -> None:
    strategies = {"sibling": SIBLINGS, "other": OTHERS, "random": None}
    corruptor = TaxonomyCorruptor(strategies, {"sibling": 4, "other": 2, "random": 2}, seed=0, **SIZES)
    drawn = tails(corruptor, 0, 8)
    assert set(drawn[:4].tolist()) <= {1, 2} and drawn[4:6].tolist() == [5, 5] and 0 not in drawn.tolist()


def test_weights_are_drawn_by() -> None:
    pools = CandidateIndex.from_pairs(
        torch.tensor([0, 0, 0]), torch.tensor([1, 2, 3]), num_rows=6, num_columns=6,
        weights=torch.tensor([1.0, 2.0, 5.0]),
    )  # fmt: skip
    drawn = Counter(tails(NeighbourhoodCorruptor(pools, seed=0, **SIZES), 0, 40_000).tolist())
    found = np.array([drawn[one] for one in (1, 2, 3)]) / 40_000
    assert abs(found - np.array([1, 2, 5]) / 8).max() < 0.01  # four standard deviations


def test_near_positives_are_never_drawn() -> None:
    near = CandidateIndex.from_lists([[1, 3], [], [], [], [], []], num_columns=6)
    strategies = {"sibling": SIBLINGS, "random": None}
    corruptor = TaxonomyCorruptor(strategies, near=near, seed=0, **SIZES)
    assert set(tails(corruptor, 0, 400).tolist()) == {2, 4, 5}
    corruptor.refresh("sibling", CandidateIndex.from_lists([[1, 4], [0], [], [], [], []], num_columns=6))
    assert set(tails(corruptor, 0, 400)[:200].tolist()) == {4}


def test_near_positives_are_not_drawn_as_a_last_resort_either() -> None:
    number = 100
    near = CandidateIndex.from_lists([list(range(1, 96)), *[[]] * 99], num_columns=number)
    for strategies in (
        {"random": None},
        {"sibling": CandidateIndex.from_lists([[], [0], *[[]] * 98], num_columns=number)},
    ):
        corruptor = TaxonomyCorruptor(strategies, near=near, seed=0, num_entities=number, num_relations=1)
        drawn = Counter(tails(corruptor, 0, 4_000).tolist())
        assert set(drawn) == {96, 97, 98, 99} and min(drawn.values()) > 850
    everything = CandidateIndex.from_lists([list(range(1, 6)), *[[]] * 5], num_columns=6)
    corruptor = TaxonomyCorruptor({"random": None}, near=everything, seed=0, **SIZES)
    assert set(tails(corruptor, 0, 100).tolist()) == {1, 2, 3, 4, 5}  # there is nothing else


def test_a_concept_without_relatives_is_flagged_at_once() -> None:
    corruptor = TaxonomyCorruptor({"sibling": SIBLINGS}, seed=0, sides=SidePolicy("tail"), **SIZES)
    calls = []
    propose = NeighbourhoodCorruptor.propose
    component: Any = corruptor.components[0]
    component.propose = lambda *given: calls.append(1) or propose(component, *given)
    found = corruptor(torch.tensor([[0, 0, 5], [0, 0, 3]]), 4)
    assert found.fallback.all(-1).tolist() == [True, False] and not found.fallback[1].any()
    assert len(calls) <= 2  # it is of no use to ask again and again


def test_refresh_follows_a_model() -> None:
    corruptor = TaxonomyCorruptor({"embedding": SIBLINGS}, seed=0, **SIZES)
    vectors = torch.eye(6)
    vectors[0] = vectors[4] + 0.1
    corruptor.refresh("embedding", embedding_pools(vectors, 1))
    assert set(tails(corruptor, 0, 9).tolist()) == {4}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TaxonomyCorruptor({}, **SIZES), "at least one strategy"),
        (lambda: TaxonomyCorruptor({"sibling": None}, **SIZES), "'sibling' has no lists"),
        (lambda: TaxonomyCorruptor({"sibling": SIBLINGS}, {"cousin": 1}, **SIZES), "see 'cousin'"),
        (lambda: TaxonomyCorruptor({"sibling": SIBLINGS}, {"sibling": 0}, **SIZES), "positive"),
        (lambda: TaxonomyCorruptor({"sibling": SIBLINGS}, near=SIBLINGS, **SIZES), "'sibling': none of the 6 entities"),
        (lambda: TaxonomyCorruptor({"a": SIBLINGS}, num_entities=7, num_relations=1), "do not fit 7 entities"),
        (lambda: TaxonomyCorruptor({"a": SIBLINGS}, **SIZES).refresh("b", SIBLINGS), "no strategy 'b'"),
        (lambda: TaxonomyCorruptor({"random": None}, **SIZES).refresh("random", SIBLINGS), "no strategy 'random'"),
        (lambda: edit_distance_pools(["a", " "], 1), "name 1 is ' '"),
        (lambda: edit_distance_pools(["a", "b"], 2), "at least 3 entities, there are 2"),
        (lambda: embedding_pools(torch.tensor([[1.0, torch.nan], [1.0, 1.0]]), 1), "NaN"),
        (lambda: same_names(["a", "b"], [[]]), "alternatives for 1"),
        (lambda: unite(), "no lists"),
    ],
)
def test_refusals(make: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()


@pytest.mark.parametrize("near", [False, True])
def test_probabilities_are_the_frequencies(near: bool) -> None:
    """With a weighted list, an entity without a list, and any other entity."""
    weighted = CandidateIndex.from_pairs(
        torch.tensor([0, 0, 1]), torch.tensor([1, 2, 5]), num_rows=6, num_columns=6,
        weights=torch.tensor([3.0, 1.0, 1.0]),
    )  # fmt: skip
    strategies = {"sibling": SIBLINGS, "weighted": weighted, "random": None}
    forbidden = CandidateIndex.from_lists([[4], [], [], [2], [], []], num_columns=6) if near else None
    corruptor = TaxonomyCorruptor(
        strategies, {"sibling": 2, "weighted": 1, "random": 1}, near=forbidden, seed=0, **SIZES
    )
    corruptor.sides = SidePolicy("tail")
    entities, everyone = torch.arange(6), torch.arange(6).expand(6, 6)
    found = corruptor.probability(entities, everyone)
    torch.testing.assert_close(found.sum(-1), torch.ones(6, dtype=torch.float64))
    triples = torch.stack([torch.full((6,), 5), torch.zeros(6, dtype=torch.long), entities], dim=-1)
    drawn = corruptor(triples, 40_000).entity.long()
    counts = torch.stack([torch.bincount(row, minlength=6) for row in drawn]) / 40_000
    assert (counts[found == 0] == 0).all()
    torch.testing.assert_close(counts.double(), found, atol=0.012, rtol=0)


def test_lists_that_are_loaded_or_changed_below_a_mixture_are_looked_at_again() -> None:
    own = CandidateIndex.from_lists([[0, 1], [0], [2], [4], [3], []], num_columns=6)
    loaded = NeighbourhoodCorruptor(SIBLINGS, seed=0, **SIZES)
    assert loaded.hits_are_others
    loaded.load_state_dict(NeighbourhoodCorruptor(own, seed=0, **SIZES).state_dict())
    assert 0 not in tails(loaded, 0, 200) and 2 not in tails(loaded, 2, 200)
    mixture = TaxonomyCorruptor({"sibling": SIBLINGS}, seed=0, **SIZES)
    mixture.components[0].refresh(own)
    assert 0 not in tails(mixture, 0, 200)


@pytest.mark.parametrize("kind", [torch.half, torch.bfloat16])
def test_a_cast_changes_no_draw(kind: torch.dtype) -> None:
    lists = CandidateIndex.from_lists([list(range(1, 600)), [0]] + [[]] * 598, num_columns=600)
    plain, cast = (
        NeighbourhoodCorruptor(lists, num_entities=600, num_relations=1, sides=SidePolicy("tail"), seed=0) for _ in "ab"
    )
    triples = torch.tensor([[2, 0, 0], [2, 0, 1]])
    assert torch.equal(plain(triples, 500).entity, cast.to(kind)(triples, 500).entity)
