"""Features of phrases."""

from __future__ import annotations

import math

import pytest
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.datasets import ConceptFeatures


@pytest.fixture
def made() -> ConceptFeatures:
    lists = [[0, 1, 2], [0, 3], [], [0, 2, 3]]
    features = CandidateIndex.from_lists(lists, num_columns=4)
    return ConceptFeatures(features, ("cat", "lion", "animal", "cat"), ("word", "word", "concept", "concept"))


def rows(features: ConceptFeatures) -> list[list[int]]:
    return [features.features.members(row).tolist() for row in range(len(features))]


def test_idf(made: ConceptFeatures) -> None:
    assert made.frequencies().tolist() == [3, 1, 2, 2]
    assert made.idf().dtype == torch.float32
    assert made.idf().tolist() == pytest.approx([math.log(4 / 3), math.log(4), math.log(2), math.log(2)])


def test_kinds(made: ConceptFeatures) -> None:
    concepts = made.of_kind("concept")
    assert concepts.names == ("animal", "cat")
    assert rows(concepts) == [[0], [1], [], [0, 1]]
    assert rows(made.of_kind("concept", "word")) == rows(made)
    with pytest.raises(InvalidInputError, match="no features of the kind 'synset'; the kinds are concept, word"):
        made.of_kind("synset")
    with pytest.raises(InvalidInputError, match="no features of the kind"):
        made.of_kind()


def test_select(made: ConceptFeatures) -> None:
    chosen = made.select(torch.tensor([3, 0]))
    assert (chosen.names, chosen.kinds) == (("cat", "cat"), ("concept", "word"))
    assert rows(chosen) == [[1], [0, 1], [], [0, 1]]
    flags = torch.tensor([True, False, False, True])
    assert rows(made.select(flags)) == [[0], [0, 1], [], [0, 1]]
    for wrong in ([], [4], [-1], [1, 1]):
        with pytest.raises(InvalidInputError, match="expected distinct ones below 4"):
            made.select(torch.tensor(wrong, dtype=torch.long))
    with pytest.raises(InvalidInputError, match="got 2 flags for 4 features"):
        made.select(torch.tensor([True, False]))


def test_merge(made: ConceptFeatures) -> None:
    merged = made.merge()
    assert (merged.names, merged.kinds) == (("animal", "cat", "lion"), ("concept", "word", "word"))
    assert rows(merged) == [[0, 1, 2], [1], [], [0, 1]]


def test_take(made: ConceptFeatures) -> None:
    taken = made.take(torch.tensor([3, 2, 3]))
    assert rows(taken) == [[0, 2, 3], [], [0, 2, 3]]
    assert taken.idf()[1] == pytest.approx(math.log(3))
    for wrong in (4, -1):
        with pytest.raises(InvalidInputError, match="of 4"):
            made.take(torch.tensor([wrong]))


def test_constructor(made: ConceptFeatures) -> None:
    assert repr(made) == "ConceptFeatures(phrases=4, features=4, concept=2, word=2)"
    with pytest.raises(InvalidInputError, match="got 1 names and 4 kinds for 4 features"):
        ConceptFeatures(made.features, ("cat",), made.kinds)
    with pytest.raises(InvalidInputError, match="twice"):
        ConceptFeatures(made.features, ("cat",) * 4, made.kinds)
