"""From phrases to features."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import (
    ConceptFeatures,
    ConceptTable,
    Conceptualiser,
    Taxonomy,
    read_atomic,
    read_concepts,
    read_wordnet,
)

TABLE = ConceptTable.from_rows(
    [
        ("PersonX makes [art]", "Creation", None),
        ("PersonX sees [PersonY's dog]", "pet", 0.5),
        ("PersonX sees [a person]", "human", 0.5),
        ("[PersonX] sees PersonY", "somebody", 0.5),
    ]
)
WORDNET = Taxonomy.from_pairs(
    [("dog-n", "canine-n"), ("canine-n", "animal-n"), ("takeoff-v", "go-v"), ("leaf-n", "organ-n"), ("saw-n", "x-n")],
    labels={
        "dog-n": "dog",
        "canine-n": "canine",
        "animal-n": "animal",
        "takeoff-v": "take off",
        "go-v": "move",
        "leaf-n": "leaf",
        "organ-n": "plant organ",
        "saw-n": "saw",
        "x-n": "tool",
    },
    alternatives={"saw-n": ("dog",), "organ-n": ("hot dog", "the")},
    kinds={"takeoff-v": "verb", "go-v": "verb", "dog-n": "noun"},
)


def named(made: ConceptFeatures, row: int = 0) -> list[str]:
    return [f"{made.kinds[one]}:{made.names[one]}" for one in made.features.members(row).tolist()]


def test_words() -> None:
    made = Conceptualiser().conceptualise(["PersonX's DOGS eat the _ of John", "Tom", "_"])
    assert named(made) == ["word:dogs", "word:eat"]
    assert dict(made.report) == {"phrases": 3, "without_word": 2, "without_feature": 2}


def test_names_and_stop_words() -> None:
    made = Conceptualiser(persons={"Ada": "PersonZ"}, stop_words=["Eats"]).conceptualise(["Ada eats the tomb of Tom"])
    assert named(made) == ["word:of", "word:the", "word:tom", "word:tomb"]


def test_instances_stand_for_whole_words() -> None:
    phrases = ["John makes a party", "John makes art", "John meets Tom's dog", "Tom's dogs"]
    made = Conceptualiser(table=TABLE, keywords=False).conceptualise(phrases)
    assert [named(made, row) for row in range(4)] == [[], ["concept:creation"], ["concept:pet"], []]
    assert made.report["without_concept"] == 2


def test_instances_inside_words() -> None:
    phrases = ["John makes a party", "Tom's dogs", "a personality", "PersonX runs"]
    made = Conceptualiser(table=TABLE, keywords=False).conceptualise(phrases, exact=False)
    expected = [["concept:creation"], ["concept:pet"], ["concept:human"], []]
    assert [named(made, row) for row in range(4)] == expected


def test_persons_alone_are_no_instances() -> None:
    made = Conceptualiser(table=TABLE).conceptualise(["PersonX makes art"])
    assert "somebody" not in made.names


def test_synsets() -> None:
    phrases = ["John takes off", "the dogs", "leaves", "a hot dog", "off take", "the"]
    made = Conceptualiser(wordnet=WORDNET, keywords=False).conceptualise(phrases)
    assert [named(made, row) for row in range(6)] == [
        ["synset:go-v", "synset:takeoff-v"],
        ["synset:animal-n", "synset:canine-n", "synset:dog-n", "synset:saw-n", "synset:x-n"],
        ["synset:leaf-n", "synset:organ-n"],
        ["synset:animal-n", "synset:canine-n", "synset:dog-n", "synset:organ-n", "synset:saw-n", "synset:x-n"],
        [],
        [],
    ]


@pytest.mark.parametrize(
    ("depth", "expected"), [(0, ["canine-n"]), (1, ["animal-n", "canine-n"]), (5, ["animal-n", "canine-n"])]
)
def test_depth(depth: int, expected: list[str]) -> None:
    made = Conceptualiser(wordnet=WORDNET, depth=depth, keywords=False).conceptualise(["canine"])
    assert list(made.names) == expected


def test_max_senses() -> None:
    made = Conceptualiser(wordnet=WORDNET, max_senses=1).conceptualise(["dog"])
    assert named(made) == ["word:dog"]
    assert made.report["ambiguous_label"] == 1


def test_given_keywords() -> None:
    made = Conceptualiser().conceptualise(["a lion eats", "a cat sits"], keywords=[["Lion", "big cat", "the"], None])
    assert named(made, 0) == ["word:big cat", "word:lion"]
    assert named(made, 1) == ["word:cat", "word:sits"]


def test_max_share() -> None:
    phrases = ["lion eats", "lion sits", "lion runs", "zebra runs"]
    made = Conceptualiser(max_share=0.5).conceptualise(phrases)
    assert made.names == ("eats", "runs", "sits", "zebra")
    assert made.report["common_feature"] == 1


def test_features_are_apart() -> None:
    table = ConceptTable.from_rows([("[dog] barks", "dog", None)])
    made = Conceptualiser(table=table).conceptualise(["dog"])
    assert named(made) == ["word:dog", "concept:dog"]
    assert made.merge().names == ("dog",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": -1}, "depth must be at least 0"),
        ({"max_senses": 0}, "max_senses must be at least 1"),
        ({"max_share": 1.5}, "max_share must be between"),
        ({"keywords": "no"}, "keywords must be true or false"),
        ({"keywords": False}, "no feature is left"),
        ({"stop_words": "the"}, "several words"),
    ],
)
def test_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Conceptualiser(**options)


def test_phrases() -> None:
    made = Conceptualiser()
    with pytest.raises(InvalidInputError, match="at least one phrase"):
        made.conceptualise([])
    with pytest.raises(InvalidInputError, match="at least one phrase"):
        made.conceptualise("lion")
    with pytest.raises(InvalidInputError, match="phrase 1 must be a text, got 3"):
        made.conceptualise(["lion", 3])  # type: ignore[list-item]
    with pytest.raises(InvalidInputError, match="1 of them for 2 phrases"):
        made.conceptualise(["lion", "cat"], keywords=[["lion"]])
    with pytest.raises(InvalidInputError, match="keywords=False"):
        Conceptualiser(table=TABLE, keywords=False).conceptualise(["lion"], keywords=[["lion"]])
    with pytest.raises(InvalidInputError, match="none of the 2 phrases has a feature"):
        made.conceptualise(["the", "PersonX"])


WORDS = st.sampled_from(["art", "party", "dog", "dogs", "hot", "the", "john", "personx", "ar", "t"])
PHRASES = st.lists(WORDS, min_size=1, max_size=5).map(" ".join)
IGNORED = {"the", "t", "personx", "john"}


@given(st.lists(PHRASES, min_size=1, max_size=6), st.lists(PHRASES, min_size=1, max_size=6, unique=True))
def test_against_a_search_by_hand(phrases: list[str], instances: list[str]) -> None:
    table = ConceptTable.from_rows([(f"[{one}]", f"concept of {one}", None) for one in instances])

    def plain(text: str) -> str:
        return f" {text} ".replace(" john ", " personx ").replace(" john ", " personx ")

    expected = []
    for phrase in phrases:
        words = {f"word:{word}" for word in phrase.split() if word not in IGNORED}
        inside = [one for one in instances if plain(one) in plain(phrase) and not IGNORED.issuperset(one.split())]
        expected.append(words | {f"concept:concept of {one}" for one in inside})
    if any(expected):
        made = Conceptualiser(table=table).conceptualise(phrases)
        assert [set(named(made, row)) for row in range(len(phrases))] == expected
        assert made.report["without_feature"] == sum(not one for one in expected)


@pytest.mark.slow
def test_the_real_files(commonsense_folder: Path) -> None:
    parts = [commonsense_folder / "concepts" / f"stage2_event_concepts_{part}.tsv.gz" for part in ("trn", "dev", "tst")]
    wordnet = read_wordnet(commonsense_folder / "oewn" / "oewn_noun_verb_synsets.tsv.gz", cache=False)
    graph = read_atomic(commonsense_folder / "atomic" / "atomic_valid.tsv.gz", blank="drop")
    heads = [graph.entities[one] for one in sorted(set(graph.train[:, 0].tolist()))]
    conceptualiser = Conceptualiser(wordnet=wordnet, table=read_concepts(parts))
    start = time.perf_counter()
    exact = conceptualiser.conceptualise(heads)
    assert time.perf_counter() - start < 30
    loose = conceptualiser.conceptualise(heads, exact=False)
    mean = {kind: len(exact.of_kind(kind).features.indices) / len(heads) for kind in ("word", "concept", "synset")}
    assert 1.5 < mean["word"] < 2.5
    assert 4 < mean["concept"] < 5.5
    assert 6 < mean["synset"] < 11
    assert len(loose.of_kind("concept").features.indices) > 1.15 * mean["concept"] * len(heads)
    assert exact.report["without_word"] < 0.02 * len(heads)
