from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import RelationPairs

TOKENS = ("Marie", "Curie", "of", "Warsaw", "met", "Einstein")


@pytest.fixture
def pairs() -> RelationPairs:
    return RelationPairs(
        sentences=(("unused",), TOKENS, ("Warsaw", "lies", "in", "Poland")),
        sentence=torch.tensor([1, 1, 2, 1]),
        head=torch.tensor([[0, 2], [3, 4], [0, 1], [5, 6]]),
        tail=torch.tensor([[3, 4], [0, 2], [3, 4], [0, 2]]),
        head_type=("PER", "LOC", "LOC", "PER"),
        tail_type=("LOC", "PER", "LOC", "PER"),
        labels=("born in", "NA", "part of", "met"),
        all_labels=(("born in", "lived in"), (), ("part of",), ("met",)),
        groups=("a", "a", "b", "a"),
        ids=("a#0-1", "a#1-0", "b#0-1", "a#2-0"),
        negative_label="NA",
        report={"pair_overlapping": 1},
    )


def test_words(pairs: RelationPairs) -> None:
    assert pairs.words(0) == "[H] Marie Curie [/H] of [T] Warsaw [/T] met Einstein"
    assert pairs.words(3) == "[T] Marie Curie [/T] of Warsaw met [H] Einstein [/H]"
    inside = replace(pairs, head=torch.tensor([[0, 2]] * 4), tail=torch.tensor([[1, 2]] * 4))
    assert inside.words(0).startswith("[H] Marie [T] Curie [/T] [/H] of")
    around = replace(pairs, head=torch.tensor([[0, 1]] * 4), tail=torch.tensor([[0, 3]] * 4))
    assert around.words(0).startswith("[T] [H] Marie [/H] Curie of [/T] Warsaw")
    with pytest.raises(InvalidInputError, match="got -1, expected 0 to 3"):
        pairs.words(-1)


def test_types_and_repr(pairs: RelationPairs) -> None:
    assert pairs.types == ("PER LOC", "LOC PER", "LOC LOC", "PER PER")
    assert repr(pairs) == "RelationPairs(pairs=4, positive=3, relations=3, sentences=3, groups=2)"
    assert len(pairs) == 4


def test_places(pairs: RelationPairs) -> None:
    assert pairs.places == ("HT 1", "TH 1", "HT 2", "TH 3-4")


@pytest.mark.parametrize(
    ("words", "bucket"),
    [
        *((0, "0"), (1, "1"), (2, "2"), (3, "3-4"), (4, "3-4"), (5, "5-7"), (7, "5-7"), (8, "8-11"), (11, "8-11")),
        *((12, "12-19"), (19, "12-19"), (20, "20+"), (90, "20+")),
    ],
)
def test_places_by_distance(pairs: RelationPairs, words: int, bucket: str) -> None:
    one = replace(
        pairs.select([0]),
        sentences=(("w",) * 100,),
        head=torch.tensor([[2, 4]]),
        tail=torch.tensor([[4 + words, 6 + words]]),
    )
    assert one.places == (f"HT {bucket}",)
    assert replace(one, head=one.tail, tail=one.head).places == (f"TH {bucket}",)
    assert replace(one, tail=torch.tensor([[3, 8]])).places == ("HT 0",)  # they overlap


@pytest.mark.parametrize("rows", [[3, 2], torch.tensor([3, 2])])
def test_select_keeps_the_order_and_only_the_sentences_in_use(pairs: RelationPairs, rows: Any) -> None:
    some = pairs.select(rows)
    assert some.ids == ("a#2-0", "b#0-1")
    assert some.sentences == pairs.sentences[1:]
    assert [some.words(row) for row in (0, 1)] == [pairs.words(row) for row in (3, 2)]
    assert some.all_labels == (("met",), ("part of",))
    assert some.report == pairs.report
    mask = torch.tensor([False, False, True, True])
    assert pairs.select(mask).ids == ("b#0-1", "a#2-0")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "m > 0"),
        ([4], "got 4, expected 0 to 3"),
        ([-1, 0], "got -1"),
        ([0, 0], "chosen twice"),
        (torch.tensor([True]), r"mask of shape \(1,\), expected \(4,\)"),
        (torch.zeros(4, dtype=torch.bool), "m > 0"),
    ],
)
def test_select_refuses(pairs: RelationPairs, rows: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        pairs.select(rows)


def test_with_labels(pairs: RelationPairs) -> None:
    other = pairs.with_labels(["NA", "met", "NA", "NA"])
    assert other.all_labels == ((), ("met",), (), ())
    assert other.ids == pairs.ids
    several = pairs.with_labels(["NA", "met", "NA", "NA"], [[], ["knows", "met"], [], []])
    assert several.all_labels[1] == ("knows", "met")
    with pytest.raises(InvalidInputError, match="labels: got 1 values for 4 pairs"):
        pairs.with_labels(["NA"])
    with pytest.raises(InvalidInputError, match="the label must be among them"):
        pairs.with_labels(["NA", "met", "NA", "NA"], [[], ["knows"], [], []])


def test_merged(pairs: RelationPairs, caplog: pytest.LogCaptureFixture) -> None:
    labelled = pairs.with_labels(["met", "met", "born in", "NA"], [["met"], ["met", "born in", "x"], ["born in"], []])
    with caplog.at_level(logging.INFO, logger="kgneg"):
        merged = labelled.merged(2)
    assert merged.labels == ("met", "met", "other", "NA")
    assert merged.all_labels == (("met",), ("met", "other"), ("other",), ())
    assert "merged 2 of 3 relations with fewer than 2 pairs (1 pairs in total) into 'other'" in caplog.text
    assert labelled.merged(1, other="rest").labels == labelled.labels
    for other in ("NA", "met"):
        with pytest.raises(InvalidInputError, match="choose another name"):
            labelled.merged(2, other=other)
    with pytest.raises(InvalidInputError, match="min_count must be at least 1"):
        labelled.merged(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("NA",)}, "labels: got 1 values for 4 pairs"),
        ({"sentence": torch.tensor([1, 1, 3, 1])}, r"pair 2 \('b#0-1'\) is in sentence 3, but there are 3"),
        ({"sentence": torch.tensor([1, 1, 2])}, r"sentence: got shape \(3,\)"),
        ({"head": torch.tensor([[0, 2], [3, 4], [0, 5], [5, 6]])}, r"\[0, 5\] in a sentence of 4 tokens"),
        ({"tail": torch.tensor([[3, 3], [0, 2], [3, 4], [0, 2]])}, r"tail: pair 0 .* start < end <= 6"),
        ({"tail": torch.tensor([[-1, 3], [0, 2], [3, 4], [0, 2]])}, "tail: pair 0"),
        ({"tail": torch.tensor([[0.0, 3], [0, 2], [3, 4], [0, 2]])}, "torch.float32"),
        ({"ids": ("a", "b", "c", "a")}, "'a' is the id of 2 pairs"),
        ({"all_labels": (("born in",), ("met",), ("part of",), ("met",))}, "pair 1 .* is a negative but has"),
        ({"all_labels": ((), (), ("part of",), ("met",))}, "pair 0 .* has the label 'born in'"),
        ({"negative_label": "lived in"}, "pair 0"),
    ],
)
def test_constructor_refuses(pairs: RelationPairs, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        replace(pairs, **changes)


def test_constructor_refuses_no_pairs() -> None:
    none = torch.empty((0, 2), dtype=torch.int64)
    with pytest.raises(InvalidInputError, match="got no pair"):
        RelationPairs((("a",),), none[:, 0], none, none, (), (), (), (), (), (), "NA")
