"""Concepts and their relatives."""

from __future__ import annotations

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import Taxonomy
from kgneg.samplers.pairs import pair_triples
from kgneg.skills import ConceptSet, Examples


def members(concepts: ConceptSet, strategy: str, name: str) -> set[str]:
    pools = concepts.neighbours(strategy, encoder="lexical")
    assert pools is not None
    return {concepts.names[one] for one in pools.members(list(concepts.names).index(name)).tolist()}


def test_of_one_kind(concepts: ConceptSet, taxonomy: Taxonomy) -> None:
    assert list(concepts.names) == ["bend", "bread", "cut", "soup", "staff", "team", "weld"]
    assert len(ConceptSet.of(taxonomy)) == 10
    assert concepts.descriptions[1] == "make loaves" and concepts.alternatives[5] == ("lead the team",)
    assert concepts.matcher().num_concepts == 7


def test_strategies(concepts: ConceptSet) -> None:
    assert members(concepts, "sibling", "weld") == {"cut", "bend"}
    assert members(concepts, "sibling:group", "weld") == {"cut", "bend"}
    assert members(concepts, "relation:occupation", "weld") == {"team"}
    assert members(concepts, "relation", "bread") == set()
    assert len(members(concepts, "edit", "weld")) == 6  # all others, fewer than ten
    assert members(concepts, "embedding:1", "staff") == {"team"}
    assert concepts.neighbours("random") is None
    assert concepts.neighbours("sibling") is concepts.neighbours("sibling")


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("cousins", "sibling"),
        ("sibling:occupation", "the kinds of"),
        ("edit:words", "normalised"),
        ("embedding:many", "expected a positive number"),
        ("cousin:0", "expected a positive number"),
        ("relation:employer", "employer"),
    ],
)
def test_unknown_strategies(concepts: ConceptSet, strategy: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        concepts.neighbours(strategy, encoder="lexical")


def test_without_a_taxonomy() -> None:
    concepts = ConceptSet(["a", "b"], ["weld metal", "cut metal"], [(), ["weld metal"]])
    with pytest.raises(InvalidInputError, match="needs a taxonomy"):
        concepts.neighbours("sibling")
    assert concepts.near().members(0).tolist() == [1]
    with pytest.raises(InvalidInputError, match="2 labels, but 1 names"):
        ConceptSet(["a"], ["weld metal", "cut metal"], [(), ()])


def test_near(taxonomy: Taxonomy) -> None:
    everything = ConceptSet.of(taxonomy)
    near = everything.near()
    names = list(everything.names)
    found = {names[one] for one in near.members(names.index("weld")).tolist()}
    assert found == {"metal"}
    assert {names[one] for one in near.members(names.index("metal")).tolist()} == {"weld", "cut", "bend"}


def test_corruptor(concepts: ConceptSet, examples: Examples) -> None:
    corruptor = concepts.corruptor(
        {"sibling": 1, "random": 1}, examples.queries, examples.concepts, num_queries=len(examples.texts), seed=0
    )
    drawn = corruptor(pair_triples(examples.queries, examples.concepts), 40).entity
    names = list(concepts.names)
    weld = (examples.concepts == names.index("weld")).nonzero()[0, 0]
    assert {names[one] for one in drawn[weld, :20].tolist()} == {"cut", "bend"}
    assert {names[one] for one in drawn[weld, 20:].tolist()} == set(names) - {"weld"}
    for row, query in zip(drawn, examples.queries.tolist(), strict=True):
        assert not set(row.tolist()) & set(examples.concepts[examples.queries == query].tolist())


def test_places_must_fit(taxonomy: Taxonomy) -> None:
    with pytest.raises(InvalidInputError, match="places of 3"):
        ConceptSet(["a"], ["weld metal"], [()], (), taxonomy, torch.tensor([0, -1, -1]))
