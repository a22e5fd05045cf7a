"""Base forms of words."""

from __future__ import annotations

import pytest

from kgneg.datasets._inflection import base_form

NOUNS = frozenset(["dog", "box", "church", "story", "child", "man", "glass", "glasses", "bus", "leaf", "kiss", "wolf"])
VERBS = frozenset(["stop", "call", "hope", "go", "leave", "lie", "make", "try", "pass", "take", "be", "sing"])


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("dogs", "dog"),
        ("boxes", "box"),
        ("churches", "church"),
        ("stories", "story"),
        ("children", "child"),
        ("men", "man"),
        ("glass", "glass"),
        ("glasses", "glass"),
        ("leaves", "leaf"),
        ("kisses", "kiss"),
        ("unknowns", "unknowns"),
        ("s", "s"),
        ("as", "as"),
    ],
)
def test_nouns(word: str, expected: str) -> None:
    assert base_form(word, "noun", NOUNS) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("stopped", "stop"),
        ("calling", "call"),
        ("hoped", "hope"),
        ("goes", "go"),
        ("left", "leave"),
        ("lying", "lie"),
        ("tries", "try"),
        ("tried", "try"),
        ("passes", "pass"),
        ("taken", "take"),
        ("was", "be"),
        ("sings", "sing"),
        ("ing", "ing"),
        ("found", "found"),
    ],
)
def test_verbs(word: str, expected: str) -> None:
    assert base_form(word, "verb", VERBS) == expected
