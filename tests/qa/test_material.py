"""What questions are made of."""

from __future__ import annotations

import pytest
import torch

from kgneg.core.errors import InvalidInputError, MissingTextError
from kgneg.datasets import KnowledgeGraph
from kgneg.qa import People, Templates
from kgneg.qa.material import Material, gather


def gathered(graph: KnowledgeGraph, **options: object) -> Material:
    generator = torch.Generator().manual_seed(0)
    return gather(graph, Templates.load("atomic"), People(), generator=generator, **options)  # type: ignore[arg-type]


def test_what_is_left_out(graph: KnowledgeGraph) -> None:
    material = gathered(graph)
    assert material.report == {"triples": 16, "none": 1, "repeated": 0, "leaks": 1}
    assert len(material.triples) == 14 and len(material.source) == 15
    tails = {graph.entities[one] for one in material.triples[:, 2].tolist()}
    assert "to lead PersonX's team" not in tails and "none" not in tails


def test_repeated_triples_count_once() -> None:
    rows = [("a b", "xAttr", "kind"), ("a b", "xAttr", "Kind."), ("a  b", "xAttr", "kind")]
    material = gathered(KnowledgeGraph.from_labelled("twice", rows))
    assert material.report["repeated"] == 2 and len(material.triples) == 1


def test_limit(graph: KnowledgeGraph) -> None:
    material = gathered(graph, limit=5)
    assert len(material.triples) == 5 and material.report["over the limit"] == 9
    assert torch.equal(material.triples, gathered(graph, limit=5).triples)


def test_pools_are_as_likely_as_heads_and_their_tails() -> None:
    rows = [("a", "xAttr", "one"), ("a", "xAttr", "two"), ("b", "xAttr", "two"), ("c", "xAttr", "six")]
    graph = KnowledgeGraph.from_labelled("few", rows)
    tails = torch.tensor([[graph.entities.index(one) for one in ("one", "two", "six", "a")]])
    found = gathered(graph).pools().probability(torch.tensor([1]), tails)[0]
    torch.testing.assert_close(found, torch.tensor([1 / 6, 1 / 2, 1 / 3, 0], dtype=torch.float64))


def test_splits() -> None:
    rows = [("a", "xAttr", "one"), ("b", "xAttr", "two")]
    graph = KnowledgeGraph.from_labelled("split", rows, [("a", "xAttr", "two")], [("b", "xAttr", "one")])
    assert len(gathered(graph).source) == 2 and len(gathered(graph, known="all").source) == 4
    assert len(gathered(graph, split="valid").source) == 3 and len(gathered(graph, split="all").triples) == 4


def test_texts(graph: KnowledgeGraph) -> None:
    with pytest.raises(MissingTextError, match="have no text"):
        gathered(graph, missing_text="error")
    texts = {one: "" if one == "brave" else one for one in graph.entities}
    named = KnowledgeGraph(graph.name, graph.entities, graph.relations, graph.train, texts={**texts, "brave": " "})
    with pytest.raises(MissingTextError, match="the entity 'brave' of 'toy' has a blank text"):
        gathered(named)


def test_refusals(graph: KnowledgeGraph) -> None:
    with pytest.raises(InvalidInputError, match="has no valid triples to ask for"):
        gathered(graph, split="valid")
    with pytest.raises(InvalidInputError, match="no template for the relation 'likes'"):
        gathered(KnowledgeGraph.from_labelled("x", [("a", "likes", "b")]))
    with pytest.raises(InvalidInputError, match="has no triple that makes a question"):
        gathered(KnowledgeGraph.from_labelled("x", [("a b", "xWant", "none")]))
    with pytest.raises(InvalidInputError, match="split must be one of"):
        gathered(graph, split="dev")
