"""What a distractor must not be."""

from __future__ import annotations

import pytest
import torch

from kgneg.core.queries import Queries
from kgneg.core.typing import TAIL
from kgneg.datasets import KnowledgeGraph
from kgneg.qa import People, Templates
from kgneg.qa.material import Material, gather


@pytest.fixture
def material(graph: KnowledgeGraph) -> Material:
    return gather(graph, Templates.load("atomic"), People(), generator=torch.Generator().manual_seed(0))


def allowed(material: Material, head: str, relation: str, tail: str, *, sound: bool = False) -> set[str]:
    """Return which entities may be distractors of a triple."""
    graph = material.graph
    triple = [graph.entities.index(head), graph.relations.index(relation), graph.entities.index(tail)]
    queries = Queries.from_triples(torch.tensor([triple]), torch.tensor([TAIL]))
    everything = torch.arange(graph.num_entities)[None].int()
    found = material.rules.sound(queries, everything) if sound else material.rules(queries, everything)
    return {graph.entities[one] for one in found[0].nonzero()[:, 0].tolist()}


def test_known_tails_and_what_reads_alike(material: Material) -> None:
    found = allowed(material, "PersonX bakes bread", "xWant", "to sell loaves", sound=True)
    assert not found & {"to sell loaves", "to eat it", "eat it.", "none"}
    assert {"to buy brushes", "to be paid by PersonY"} <= found


def test_single_words_that_are_in_the_other(material: Material) -> None:
    found = allowed(material, "PersonX bakes bread", "xAttr", "skilled")
    assert "very skilled" not in found and "brave" in found
    assert "skilled" not in allowed(material, "PersonX welds metal for PersonY", "xAttr", "very skilled")


def test_persons_must_be_in_the_question(material: Material) -> None:
    assert "to be paid by PersonY" not in allowed(material, "PersonX bakes bread", "xWant", "to eat it")
    found = allowed(material, "PersonX welds metal for PersonY", "xWant", "eat it.")
    assert "to lead PersonX's team" in found


def test_rules_move_and_match_one_by_one(material: Material) -> None:
    queries = Queries.from_triples(material.triples, torch.full((len(material.triples),), TAIL))
    everything = torch.arange(material.graph.num_entities).int().expand(len(material.triples), -1)
    found = material.rules(queries, everything)
    known = {tuple(one) for one in material.rules.formed(material.source).tolist()}
    forms = material.rules.forms.tolist()
    texts = [one.lower() for one in material.graph.entities]
    for row, (head, relation, tail) in enumerate(material.triples.tolist()):
        for other in range(len(texts)):
            wrong = (forms[head], relation, forms[other]) in known or texts[other] == "none"
            mine, theirs = texts[tail].split(), texts[other].split()
            wrong |= (len(mine) == 1 and mine[0] in theirs) or (len(theirs) == 1 and theirs[0] in mine)
            wrong |= "persony" in texts[other] and "persony" not in texts[head]
            assert bool(found[row, other]) != wrong, (texts[head], texts[tail], texts[other])
