from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.recsys import Interactions

TRIPLES = [("ann", "likes", "tea"), ("bob", "likes", "milk"), ("bob", "knows", "ann"), ("ann", "sells", "tea")]


def names_of(pairs: Interactions) -> list[tuple[str, str]]:
    assert pairs.user_labels is not None
    assert pairs.item_labels is not None
    users, items = pairs.users.tolist(), pairs.items.tolist()
    return [(pairs.user_labels[u], pairs.item_labels[i]) for u, i in zip(users, items, strict=True)]


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float64", "object", "str", "category", "Int64"])
def test_types_of_ids(dtype: str) -> None:
    frame = pd.DataFrame({"user": [2, 10, 2], "item": [1, 1, 0]}).astype({"user": dtype})
    assert names_of(Interactions.from_frame(frame)) == [("2", "0"), ("2", "1"), ("10", "1")]


def test_mixed_ids() -> None:
    frame = pd.DataFrame({"user": [1, "ann", "1"], "item": [5, 5, 5]})
    pairs = Interactions.from_frame(frame)
    assert (names_of(pairs), pairs.duplicates) == ([("1", "5"), ("ann", "5")], 1)


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_dates(zone: str | None) -> None:
    when = pd.to_datetime(["1970-01-02", "1970-01-01 00:00:00.5"], format="ISO8601").tz_localize("UTC")
    frame = pd.DataFrame({"user": [0, 1], "item": [0, 1], "date": when.tz_convert(zone)})
    pairs = Interactions.from_frame(frame)
    assert pairs.times is not None
    assert pairs.times.tolist() == [86400, 0.5]


def test_rows_of_an_index_do_not_matter() -> None:
    frame = pd.DataFrame({"u": [1, 2], "thing": [3, 4], "stars": ["1", "2.5"]}, index=[7, 7])
    pairs = Interactions.from_frame(frame, item="thing", min_rating=2)
    assert pairs.ratings is not None
    assert (names_of(pairs), pairs.ratings.tolist(), pairs.report.below_min_rating) == ([("2", "4")], [2.5], 1)
    wide = pd.DataFrame(np.array([[1, 9, 3], [2, 9, 4]]))
    assert names_of(Interactions.from_frame(wide, user=0, item=2)) == [("1", "3"), ("2", "4")]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"user": [1.0, None], "item": [1, 2]}, {}, r"the frame, row 1 \(from 0\), column 'user': the user is missing"),
        ({"user": ["a", None], "item": [1, 2]}, {}, "row 1 .* the user is missing"),
        ({"user": [1, 2], "item": [1.0, 2.5]}, {}, "row 1 .*column 'item': the item 2.5 is no integer"),
        ({"user": [1], "item": [""]}, {}, "row 0 .*: the item is empty"),
        ({"user": [1, 1], "item": [1, 2], "rating": ["3", "x"]}, {}, "row 1 .*the rating 'x' is no number"),
        ({"user": [1, 1], "item": [1, 2], "rating": [3, None]}, {}, "row 1 .*the rating is missing"),
        ({"user": [1, 1], "item": [1, 2], "time": [np.inf, 1]}, {}, "row 0 .*the time inf is not finite"),
        ({"user": [1], "item": [[1]]}, {}, "items of type list.* cannot be read"),
        ({"user": [], "item": []}, {}, "the frame has no rows"),
        ({"user": [1]}, {}, "the frame has the columns 'user'; none has a usual name for the item"),
        ({"user": [1], "item": [1]}, {"rating": "stars"}, "no column 'stars' for the rating; it has 'user', 'item'"),
    ],
)
def test_frames_refused(columns: dict[str, list[Any]], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Interactions.from_frame(pd.DataFrame(columns), **options)


def test_no_frame() -> None:
    with pytest.raises(InvalidInputError, match="frame must be a pandas DataFrame, got dict"):
        Interactions.from_frame({"user": [1]})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok"])
def test_sparse(kind: str) -> None:
    dense = np.array([[0, 5, 0], [0, 0, 0], [3, 1, 0]])
    pairs = Interactions.from_scipy(scipy.sparse.csr_array(dense).asformat(kind))
    assert pairs.ratings is not None
    assert (pairs.num_users, pairs.num_items, pairs.codes.tolist()) == (3, 3, [1, 6, 7])
    assert pairs.ratings.tolist() == [5, 3, 1]
    assert Interactions.from_scipy(pairs.to_scipy()).ratings is None


def test_stored_zeros_and_repetitions() -> None:
    entries = ([1, 0, 2, 4, 1], ([0, 0, 1, 1, 1], [0, 1, 2, 2, 0]))
    pairs = Interactions.from_scipy(scipy.sparse.coo_array(entries, shape=(2, 3)), min_rating=2, user_labels="ab")
    report = pairs.report
    assert (report.rows, report.kept, report.duplicates, report.zeros, report.below_min_rating) == (5, 1, 1, 1, 2)
    assert pairs.ratings is not None
    assert pairs.ratings.tolist() == [4]
    assert pairs.user_labels == ("a", "b")
    raw = scipy.sparse.csr_array((np.ones(3), np.array([2, 2, 0]), np.array([0, 2, 3])), shape=(2, 3))
    assert Interactions.from_scipy(raw).report.duplicates == 1


def test_sparse_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"matrix must be a scipy\.sparse matrix or array, got ndarray"):
        Interactions.from_scipy(np.eye(2))
    with pytest.raises(InvalidInputError, match="no entry of the matrix is left of 0"):
        Interactions.from_scipy(scipy.sparse.csr_array((2, 2)))
    with pytest.raises(InvalidInputError, match="the entry of user 0 and item 1 is nan"):
        Interactions.from_scipy(scipy.sparse.csr_array([[0, np.nan]]))


@pytest.mark.parametrize("form", ["list", "array", "ids"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"relation": "likes"}, [("ann", "tea"), ("bob", "milk")]),
        ({}, [("ann", "tea"), ("bob", "ann"), ("bob", "milk")]),
        (
            {"items": "facts"},
            [("ann", "likes: tea"), ("ann", "sells: tea"), ("bob", "knows: ann"), ("bob", "likes: milk")],
        ),
        ({"items": "facts", "relation": "sells"}, [("ann", "sells: tea")]),
    ],
)
def test_triples(form: str, options: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    triples: Any = TRIPLES
    if form == "array":
        triples = np.array(TRIPLES, dtype=object)
    if form == "ids":
        entities, relations = ["tea", "ann", "milk", "bob"], ["sells", "knows", "likes"]
        ids = [(entities.index(h), relations.index(r), entities.index(t)) for h, r, t in TRIPLES]
        triples = torch.tensor(ids)
        options = {**options, "entities": entities, "relations": relations}
    pairs = Interactions.from_triples(triples, **options)
    assert names_of(pairs) == expected
    assert pairs.report.rows == len(expected) + pairs.duplicates


def test_triples_of_ids_without_labels() -> None:
    triples = torch.tensor([[4, 0, 7], [4, 1, 7], [5, 1, 3]])
    assert names_of(Interactions.from_triples(triples, 1)) == [("4", "7"), ("5", "3")]
    assert Interactions.from_triples(triples, items="facts").item_labels == ("0: 7", "1: 3", "1: 7")
    train = Interactions.from_triples(triples[:2])
    more = Interactions.from_triples(torch.tensor([[4, 0, 7], [4, 0, 8]]), like=train)
    assert (more.codes.tolist(), more.report.unknown_items) == ([0], 1)


@pytest.mark.parametrize(
    ("triples", "options", "message"),
    [
        (TRIPLES, {"relation": "owns"}, "no triple has the relation 'owns'; there are knows, likes, sells"),
        (TRIPLES, {"items": "heads"}, "items must be one of tails, facts; got 'heads'"),
        (TRIPLES, {"entities": ["ann"]}, "these triples are labels; leave them out"),
        ([("a", "b")], {}, r"triples must have shape \(m, 3\), got \(1, 2\)"),
        ([("a", "b", "c"), ("a", "b")], {}, r"triples must have shape \(m, 3\)"),
        (torch.tensor([[0, 0, 9]]), {"entities": ["a", "b"]}, "entity ids are 9 to 9, but 2 labels are given"),
        (torch.tensor([[0, 0, 1]]), {"relation": 4, "relations": ["a"]}, r"relation id 4 is out of range"),
        (torch.tensor([[0.0, 0, 1]]), {}, "triples must be integer ids or labels that are texts"),
        ([("a", "b: c", "d"), ("a", "b", "c: d")], {"items": "facts"}, "two facts have the same label"),
    ],
)
def test_triples_refused(triples: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Interactions.from_triples(triples, **options)


@pytest.mark.parametrize("value", [1e19, 2.0**53])
def test_ids_that_are_too_large(value: float) -> None:
    with pytest.raises(
        InvalidInputError, match=r"row 1 \(from 0\), column 'user': the user .* is too large to be told"
    ):
        Interactions.from_frame(pd.DataFrame({"user": [1.0, value], "item": [1, 2]}))
