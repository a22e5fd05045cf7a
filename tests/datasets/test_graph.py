from __future__ import annotations

import copy
import logging
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError, MissingTextError
from kgneg.datasets import KnowledgeGraph
from kgneg.datasets._labels import humanise, map_triples

labels = st.text(min_size=1, max_size=4)
label_triples = st.lists(st.tuples(labels, labels, labels), max_size=20)


def test_ids_are_sorted_training_labels(zoo: KnowledgeGraph) -> None:
    assert zoo.entities == ("grass", "lion", "red_deer", "zebra")
    assert zoo.relations == ("eats", "fears")
    assert (zoo.num_entities, zoo.num_relations) == (4, 2)
    assert zoo.train.tolist() == [[1, 0, 3], [2, 0, 0], [3, 1, 1]]
    assert zoo.valid.tolist() == [[1, 0, 2]]
    assert zoo.test.tolist() == [[1, 0, 3], [2, 1, 1]]
    assert zoo.valid_negatives.tolist() == [[0, 0, 1]]
    assert zoo.test_negatives.tolist() == [[0, 1, 1], [0, 1, 1]]  # repetitions among negatives are kept
    for triples in (zoo.train, zoo.valid, zoo.test, zoo.valid_negatives, zoo.test_negatives):
        assert triples.dtype == torch.int64
        assert triples.is_contiguous()


def test_report_counts_what_was_dropped(zoo: KnowledgeGraph) -> None:
    assert zoo.report == {"valid_unseen_entity": 1, "test_unseen_relation": 1, "valid_negatives_unseen_entity": 1}
    assert zoo.report["duplicate_train"] == 0  # a missing key counts as 0


def test_one_warning_for_all_that_was_dropped(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        graph = KnowledgeGraph.from_labelled(
            "g",
            [("a", "r", "b"), ("a", "r", "b")],
            valid=[("a", "r", "c"), ("c", "s", "a")],
            test=[("a", "s", "b"), ("b", "r", "a"), ("b", "r", "a")],
            types=[("a", "t"), ("a", "t")],
        )
    assert graph.report == {
        "duplicate_train": 1,
        "valid_unseen_entity": 2,
        "test_unseen_relation": 1,
        "duplicate_test": 1,
        "duplicate_type": 1,
    }
    (record,) = caplog.records
    assert "duplicate_train 1" in record.getMessage()
    assert "valid_unseen_entity 2" in record.getMessage()


def test_no_warning_when_nothing_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    graph = KnowledgeGraph.from_labelled("g", [("a", "r", "b")], valid=[("b", "r", "a")])
    assert graph.report == {}
    assert not caplog.records
    assert graph.test.shape == graph.valid_negatives.shape == graph.test_negatives.shape == (0, 3)


@pytest.mark.parametrize(
    "triples",
    [
        np.array([["b", "r", "a"], ["a", "r", "b"]], dtype=object),
        np.array([["b", "r", "a"], ["a", "r", "b"]]),
        [["b", "r", "a"], ["a", "r", "b"]],
        (("b", "r", "a"), ("a", "r", "b")),
    ],
)
def test_forms_of_triples(triples: object) -> None:
    graph = KnowledgeGraph.from_labelled("g", triples)  # type: ignore[arg-type]
    assert graph.train.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert all(type(label) is str for label in graph.entities)


@given(train=label_triples.filter(bool), other=label_triples)
def test_against_brute_force(train: list[tuple[str, str, str]], other: list[tuple[str, str, str]]) -> None:
    graph = KnowledgeGraph.from_labelled("g", train, valid=other, valid_negatives=other)
    entities = sorted({label for head, _, tail in train for label in (head, tail)})
    relations = sorted({relation for _, relation, _ in train})
    known = [t for t in other if t[0] in entities and t[1] in relations and t[2] in entities]
    assert list(graph.entities) == entities
    assert list(graph.relations) == relations
    assert graph.labels_of(graph.train) == sorted(set(train))
    assert graph.labels_of(graph.valid) == sorted(set(known))
    assert graph.labels_of(graph.valid_negatives) == known
    dropped = graph.report["valid_unseen_entity"] + graph.report["valid_unseen_relation"]
    assert dropped == len(other) - len(known)
    assert graph.report["duplicate_valid"] == len(known) - len(set(known))


def test_key_too_large_for_64_bits_falls_back_to_rows() -> None:
    from collections import Counter

    class Huge(dict[str, int]):
        def __len__(self) -> int:
            return 2**40

    rows = np.array([["b", "r", "a"], ["a", "r", "b"], ["b", "r", "a"]], dtype=object)
    report: Counter[str] = Counter()
    mapped = map_triples(rows, Huge(a=0, b=2**39), Huge(r=0), what="train", report=report, unique=True)
    assert mapped.tolist() == [[0, 0, 2**39], [2**39, 0, 0]]
    assert report == {"duplicate_train": 1}


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([], "train: got no triple"),
        ([("a", "r")], r"train: got shape \(1, 2\), expected \(m, 3\)"),
        ([("a", "r", "b"), ("a", "r")], r"train: got shape \(2,\), expected \(m, 3\)"),
        ([np.zeros((2, 2)), np.zeros((2, 3))], "train: got rows of different lengths"),
        ([("a", 3, "b")], "train: got the label 3, expected non-empty text"),
        ([("a", None, "b")], "train: got the label None"),
        ([("a", "", "b")], "train: got the label ''"),
        ([("a", {}, "b")], "got a label that is no text"),
    ],
)
def test_malformed_triples_are_refused(train: list[tuple[str, str, str]], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        KnowledgeGraph.from_labelled("g", train)


def test_malformed_texts_and_types_are_refused() -> None:
    train = [("a", "r", "b")]
    with pytest.raises(InvalidInputError, match=r"texts: got 'a': 3"):
        KnowledgeGraph.from_labelled("g", train, texts={"a": 3})  # type: ignore[dict-item]
    with pytest.raises(InvalidInputError, match=r"relation_texts: got 'r': None"):
        KnowledgeGraph.from_labelled("g", train, relation_texts={"r": None})  # type: ignore[dict-item]
    for pair in (("a",), "ab", ("a", ""), ("a", 1)):
        with pytest.raises(InvalidInputError, match=r"types: got .*expected a pair"):
            KnowledgeGraph.from_labelled("g", train, types=[pair])  # type: ignore[list-item]


def test_constructor_takes_ids() -> None:
    graph = KnowledgeGraph("g", entities=("a", "b"), relations=("r",), train=torch.tensor([[0, 0, 1]]))
    assert graph.equals(KnowledgeGraph.from_labelled("g", [("a", "r", "b")]))


def test_constructor_checks_its_input(zoo: KnowledgeGraph) -> None:
    with pytest.raises(InvalidInputError, match=r"entities: got 'b' before 'a'"):
        replace(zoo, entities=("b", "a"))
    with pytest.raises(InvalidInputError, match=r"relations: got 'r' before 'r'"):
        replace(zoo, relations=("r", "r"))
    with pytest.raises(InvalidInputError, match=r"test: got shape \(0, 2\)"):
        replace(zoo, test=torch.empty(0, 2, dtype=torch.int64))
    with pytest.raises(InvalidInputError, match=r"test: .*torch.int32, expected .*torch.int64"):
        replace(zoo, test=zoo.test.int())
    for wrong in (torch.tensor([[0, 0, 4]]), torch.tensor([[-1, 0, 0]])):
        with pytest.raises(InvalidInputError, match=r"valid: got ids from .* in column [02], expected 0 to 3"):
            replace(zoo, valid=wrong)
    with pytest.raises(InvalidInputError, match=r"in column 1, expected 0 to 1"):
        zoo.labels_of(torch.tensor([[0, 2, 0]]))


def test_is_frozen_comparable_and_copyable(zoo: KnowledgeGraph) -> None:
    with pytest.raises(FrozenInstanceError):
        zoo.name = "other"  # type: ignore[misc]
    for twin in (copy.deepcopy(zoo), pickle.loads(pickle.dumps(zoo))):  # noqa: S301
        assert twin is not zoo
        assert zoo.equals(twin)
    assert not zoo.equals("zoo")
    assert not zoo.equals(replace(zoo, name="other"))
    assert not zoo.equals(replace(zoo, valid=zoo.train))
    assert not zoo.equals(replace(zoo, texts={}))
    assert repr(zoo) == (
        "KnowledgeGraph('zoo', entities=4, relations=2, train=3, valid=1, test=2, valid_negatives=1, "
        "test_negatives=2, texts=3, types=4)"
    )


def test_missing_texts_are_an_error(zoo: KnowledgeGraph) -> None:
    with pytest.raises(MissingTextError, match=r"2 of 4 entities of 'zoo' have no text.*'grass', 'red_deer'") as info:
        zoo.entity_texts()
    assert 'missing="label"' in str(info.value)
    assert "--missing-text label" in str(info.value)


def test_only_three_examples_are_given() -> None:
    graph = KnowledgeGraph.from_labelled("g", [("a", "r", "b"), ("c", "r", "d")])
    with pytest.raises(MissingTextError, match=r"4 of 4 .*'a', 'b', 'c'; add"):
        graph.entity_texts()


def test_labels_stand_in_for_texts(zoo: KnowledgeGraph, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        texts = zoo.entity_texts(missing="label")
    assert texts == ["grass", "a big cat", "red deer", "a striped horse"]
    assert "2 of 4 entities" in caplog.text
    full = replace(zoo, texts={**zoo.texts, "grass": "green", "red_deer": "brown"})
    assert full.entity_texts() == ["green", "a big cat", "brown", "a striped horse"]


def test_unknown_way_to_treat_missing_texts(zoo: KnowledgeGraph) -> None:
    with pytest.raises(InvalidInputError, match=r"missing: got 'drop', expected 'error' or 'label'"):
        zoo.entity_texts(missing="drop")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("red_deer", "red deer"),
        ("__house__1", "house 1"),
        ("___", "___"),
        ("/m/027rn", "/m/027rn"),
        ("http://example.org/a#Red_Deer", "Red Deer"),
        ("http://example.org/a/", "a"),
        ("a/b", "a/b"),
    ],
)
def test_humanise(label: str, expected: str) -> None:
    assert humanise(label) == expected


def test_type_ids_skip_unknown_entities(zoo: KnowledgeGraph, caplog: pytest.LogCaptureFixture) -> None:
    pairs, names = zoo.type_ids()
    assert names == ("horse", "predator", "prey")
    assert pairs.tolist() == [[1, 1], [3, 0], [3, 2]]
    assert pairs.dtype == torch.int64
    assert "skipped 1 of 4 types" in caplog.text


def test_type_ids_without_types() -> None:
    pairs, names = KnowledgeGraph.from_labelled("g", [("a", "r", "b")]).type_ids()
    assert pairs.shape == (0, 2)
    assert pairs.dtype == torch.int64
    assert names == ()
