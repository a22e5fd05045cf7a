"""Phrases as sequences of words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgneg.datasets._phrases import ATOMIC_PERSONS, shielded, spans_of_words, words_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PersonX doesn't eat", "personx doesn t eat"),
        ("PersonX abandons the _ altogether", "personx abandons the _ altogether"),
        ("___ is here", "___ is here"),
        ("hot_dog", "hot dog"),
        ("ice-cream, twice!", "ice cream twice"),
        ("CAFE\u0301 na\u00efve", "caf\u00e9 na\u00efve"),
        (" \t ", ""),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert " ".join(words_of(text)) == expected


def test_persons() -> None:
    assert words_of("John's tomb of Tom", ATOMIC_PERSONS) == ["personx", "s", "tomb", "of", "persony"]
    assert shielded("personx meets a person") == "PERSONX meets a person"


@given(st.text("ab_' .", max_size=20))
def test_spans_are_those_of_words(text: str) -> None:
    words = [word for word in words_of(text) if "_" not in word]
    assert [text[start:end] for start, end in spans_of_words(text)] == words
