"""Methods that draw distractors, by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import kgneg.samplers
from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.datasets import KnowledgeGraph
from kgneg.qa import DISTRACTORS, People, Templates, WindowedDistractors
from kgneg.qa.distractors import make_drawer
from kgneg.qa.material import Material, gather
from kgneg.samplers import TypedCorruptor

needs_concepts = pytest.mark.skipif(
    not hasattr(kgneg.samplers, "ConceptCorruptor"), reason="there is no ConceptCorruptor"
)


@pytest.fixture
def material(graph: KnowledgeGraph) -> Material:
    return gather(graph, Templates.load("atomic"), People(), generator=torch.Generator().manual_seed(0))


def drawn(material: Material, method: str, **options: Any) -> set[tuple[str, str]]:
    """Return which tails were drawn for which heads."""
    drawer = make_drawer(method, material, options, progress=False)
    found = drawer(material.triples, 40, torch.Generator().manual_seed(0))
    names, heads = material.graph.entities, material.triples[:, 0].tolist()
    return {
        (names[head], names[tail])
        for head, tails, flags in zip(heads, found.entity.tolist(), found.fallback.tolist(), strict=True)
        for tail, flag in zip(tails, flags, strict=True)
        if not flag
    }


def test_random(material: Material) -> None:
    drawer = make_drawer("random", material, {}, progress=False)
    assert isinstance(drawer, TypedCorruptor) and drawer.constraints == (material.rules,)
    assert ("PersonX bakes bread", "artistic") in drawn(material, "random")


@needs_concepts
@pytest.mark.parametrize("method", ["keyword", "concept"])
def test_no_tails_of_heads_that_are_alike(method: str) -> None:
    rows = [("PersonX bakes bread", "xWant", "to eat"), ("PersonX buys bread", "xWant", "to feast")]
    rows += [("PersonX sees a film", "xWant", "to talk"), ("PersonX likes sport", "xWant", "to run")]
    graph = KnowledgeGraph.from_labelled("bread", rows)
    material = gather(graph, Templates.load("atomic"), People(), generator=torch.Generator().manual_seed(0))
    found = drawn(material, method, mode="paper")
    assert ("PersonX bakes bread", "to feast") not in found and ("PersonX bakes bread", "to talk") in found
    assert ("PersonX bakes bread", "to feast") in drawn(material, "random")


@needs_concepts
def test_features_of_ones_own(material: Material) -> None:
    heads = {one: place for place, one in enumerate(material.graph.entities) if one.startswith("PersonX")}
    alike = ("PersonX bakes bread", "PersonX paints _ again")
    lists = [[0] if one in alike else [1] if one in heads else [] for one in material.graph.entities]
    features = CandidateIndex.from_lists(lists, num_columns=2)
    found = drawn(material, "concept", features=features, mode="paper")
    assert ("PersonX bakes bread", "artistic") not in found and ("PersonX bakes bread", "brave") in found


def test_adversarial(material: Material) -> None:
    options = {"base": "random", "encoder": "lexical", "window": (0.0, 0.9), "pool": 20, "against": "head"}
    drawer = make_drawer("adversarial", material, options, progress=False)
    assert isinstance(drawer, WindowedDistractors) and drawer.window == (0.0, 0.9) and drawer.pool == 20
    assert drawer(material.triples, 2).entity.shape == (14, 2)


def test_refusals(material: Material) -> None:
    with pytest.raises(InvalidInputError, match="distractors must be one of"):
        make_drawer("other", material, {})
    for method, allowed in DISTRACTORS.items():
        with pytest.raises(InvalidInputError, match=f"distractors {method!r} have no option 'odd'"):
            make_drawer(method, material, {"odd": 1})
        assert "odd" not in allowed
    with pytest.raises(InvalidInputError, match="base must be one of concept, keyword, random"):
        make_drawer("adversarial", material, {"base": "adversarial"})
    with pytest.raises(InvalidInputError, match="a corruptor for 20 entities, got int"):
        make_drawer(3, material, {})  # type: ignore[arg-type]
