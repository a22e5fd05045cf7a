"""Triples in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates

THREE = [("a", "r", "b"), ("c", "s", "d"), ("e", "r", "f")]


def test_columns_and_rows() -> None:
    made = Candidates.from_triples(THREE)
    assert len(made) == 3
    assert list(made.triples()) == THREE
    assert made.heads == ["a", "c", "e"]


@pytest.mark.parametrize(
    "rows", [[2, 0], np.array([2, 0]), np.array([-1, 0]), np.array([2, 0], dtype=np.uint8)], ids=str
)
def test_picked_rows(rows: Any) -> None:
    assert list(Candidates.from_triples(THREE)[rows].triples()) == [THREE[2], THREE[0]]


def test_slices_masks_and_nothing() -> None:
    made = Candidates.from_triples(THREE)
    assert list(made[1:].triples()) == THREE[1:]
    assert list(made[np.array([True, False, True])].triples()) == [THREE[0], THREE[2]]
    assert len(made[[]]) == len(made[np.zeros(0, dtype=int)]) == len(Candidates.from_triples([])) == 0


@pytest.mark.parametrize("rows", [np.array([0.5]), np.array([[0]]), np.array([True]), 1, "a"])
def test_rows_that_are_none(rows: Any) -> None:
    with pytest.raises(InvalidInputError):
        Candidates.from_triples(THREE)[rows]


def test_keys_are_normalised() -> None:
    made = Candidates.from_triples([("cafe\u0301 ", "r", "\tb"), ("café", "r", "b")])
    one, other = made.keys()
    assert one == other == "café\x1fr\x1fb"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ((["a"], ["r"], ["b", "c"]), "1 heads, 1 relations, 2 tails"),
        ((["a"], ["r"], [None]), r"tails\[0\] is None"),
        ((["a"], ["r"], [" "]), r"tails\[0\] is empty"),
        (("a", ["r"], ["b"]), "single text"),
    ],
)
def test_malformed_columns(columns: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        Candidates(*columns)


@pytest.mark.parametrize("triple", [("a", "b"), "abc", ("a", "r", "b", "c")])
def test_malformed_triples(triple: Any) -> None:
    with pytest.raises(InvalidInputError, match="triple 1"):
        Candidates.from_triples([THREE[0], triple])


@pytest.mark.parametrize("text", ["a\x1fb", "a\x00", "a\x7f", "a\x85b"])
def test_control_characters_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"tails\[1\] is .* control character.*leave the row out"):
        Candidates(["a", "b"], ["r", "r"], ["x\ty\n", text])
