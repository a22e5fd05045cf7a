"""Texts to learn from."""

from __future__ import annotations

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.skills import ConceptSet, Examples
from kgneg.skills.sources import Gold


def test_pairs_are_there_once() -> None:
    found = Examples.of([("we  weld", 1), ("we weld", 1), ("we weld", 0), (" ", 2)])
    assert list(found.pairs()) == [("we weld", 0), ("we weld", 1)]
    assert found.left_out == {"blank": 1}


def test_mentions(concepts: ConceptSet) -> None:
    found = Examples.mentioned(concepts.matcher(), ["You weld metal", "nothing", "We bake bread, weld metal"])
    names = [(text, concepts.names[one]) for text, one in found.pairs()]
    assert names == [
        ("You weld metal", "weld"), ("We bake bread, weld metal", "bread"), ("We bake bread, weld metal", "weld"),
    ]  # fmt: skip
    assert found.left_out == {"nothing mentioned": 1}


def test_names(concepts: ConceptSet) -> None:
    found = {(text, concepts.names[one]) for text, one in Examples.named(concepts).pairs()}
    assert found == {
        ("join pieces of steel", "weld"), ("make loaves", "bread"), ("manage soup", "soup"), ("make loaves", "soup"),
        ("lead the team", "team"),
    }  # fmt: skip
    assert len(Examples.named(concepts, alternatives=1)) == 4
    assert not Examples.named(concepts).left_out


def test_annotated() -> None:
    gold = Gold(["a b", "c d", "e"], torch.tensor([0, 0]), torch.tensor([1, 2]), {"NONE": 3})
    found = Examples.annotated(gold)
    assert list(found.pairs()) == [("a b", 1), ("a b", 2)]
    assert found.left_out == {"without a concept": 2, "unknown label": 3}


def test_what_is_held_out() -> None:
    found = Examples.of([("We weld -- metal!", 0), ("we bake", 1)]).without(["we WELD metal", "..."])
    assert found.texts == ["we bake"] and found.left_out == {"held out": 1}
    marks = Examples.of([("caf\u00e9", 0), ("C++", 1), ("C#", 2)]).without(["cafe\u0301", "C"])
    assert marks.texts == ["C++", "C#"]


def test_joined() -> None:
    joined = Examples.joined(Examples.of([("a", 0)], {"x": 1}), Examples.of([("a", 1), ("b", 0)], {"x": 2}))
    assert list(joined.pairs()) == [("a", 0), ("a", 1), ("b", 0)] and joined.left_out == {"x": 3}
    assert "pairs=3" in repr(joined) and len(joined) == 3


def test_frequent() -> None:
    examples = Examples.of([("a", 0), ("b", 0), ("b", 3), ("c", 3), ("d", 1)])
    found = examples.frequent(2)
    assert list(found.pairs()) == [("a", 0), ("b", 0), ("b", 3), ("c", 3)]
    assert found.left_out == {"rare concept": 1} and len(examples.frequent(3)) == 0


def test_refusals() -> None:
    with pytest.raises(InvalidInputError, match="there is no text to learn from"):
        Examples.of([]).check(3)
    with pytest.raises(InvalidInputError, match=r"concept 3 is out of range: must be in \[0, 3\)"):
        Examples.of([("a", 3)]).check(3)
