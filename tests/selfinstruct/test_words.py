from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgneg.selfinstruct.words import SPACELESS, word_pattern

WORD = re.compile(word_pattern(SPACELESS))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("two_words, 3x", ["two", "words", "3x"]),
        ("\u092a\u093e\u0928\u0940 \u0995\u09be\u09b2\u09be", ["\u092a\u093e\u0928\u0940", "\u0995\u09be\u09b2\u09be"]),
        ("cafe\u0301s", ["cafe\u0301s"]),
        ("\u0e41\u0e21\u0e27", ["\u0e41", "\u0e21", "\u0e27"]),
        ("\u0301!", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert WORD.findall(text) == words


@given(st.text())
def test_no_letter_and_no_mark_of_a_letter_is_lost(text: str) -> None:
    found = "".join(WORD.findall(text))
    assert [one for one in text if one.isalnum()] == [one for one in found if one.isalnum()]
    for letter, mark in pairwise(text):
        if letter.isalnum() and unicodedata.category(mark)[0] == "M" and ord(mark) < 0x20000:
            assert letter + mark in found or re.match(f"[{SPACELESS}]", letter)
