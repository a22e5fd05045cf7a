from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgneg.selfinstruct import dedup_text
from kgneg.selfinstruct.dedup_text import encode_words, normalise, words_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("To Buy\ta  cat ", "to buy a cat"),
        ("STRASSE", "stra\u00dfe"),
        ("cafe\u0301", "CAF\u00c9"),
        ("\uff21\uff22", "ab"),
        ("a\u3000b", "a b"),
    ],
)
def test_equal_texts(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@given(st.text())
def test_normalise_is_idempotent(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't stop, 3 cats!", ["don", "t", "stop", "3", "cats"]),
        ("\u4e70\u4e00\u53eadog", ["\u4e70", "\u4e00", "\u53ea", "dog"]),
        ("\u00fcber gr\u00f6\u00dfe", ["\u00fcber", "gr\u00f6\u00dfe"]),
        ("\u043a\u043e\u0442 \u0441\u043f\u0438\u0442", ["\u043a\u043e\u0442", "\u0441\u043f\u0438\u0442"]),
        # vowel signs and accents belong to the letter before; one alone is no word
        (
            "\u0915\u093e\u0932\u093e \u0918\u094b\u0921\u093c\u093e",
            ["\u0915\u093e\u0932\u093e", "\u0918\u094b\u0921\u093c\u093e"],
        ),
        (normalise("\u0130stanbul"), ["i\u0307stanbul"]),
        ("\u0301 a\u0301b\u0302\u0303c", ["a\u0301b\u0302\u0303c"]),
        ("!?", []),
        ("a_b", ["a", "b"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.lists(st.lists(st.integers(0, 60).map(str))))
def test_codes_are_one_to_one(lists: list[list[str]]) -> None:
    codes = encode_words(lists)
    assert [len(code) for code in codes] == [len(words) for words in lists]
    pairs = {
        (word, letter)
        for words, code in zip(lists, codes, strict=True)
        for word, letter in zip(words, code, strict=True)
    }
    assert len({word for word, _ in pairs}) == len({letter for _, letter in pairs}) == len(pairs)


def test_no_surrogates_and_more_words_than_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [str(number) for number in range(0xD800 + 10)]
    (text,) = encode_words([words])
    assert isinstance(text, str)
    assert len(set(text)) == len(words)
    assert not any(0xD800 <= ord(letter) < 0xE000 for letter in text)
    monkeypatch.setattr(dedup_text, "_NUM_POINTS", dedup_text._NUM_SURROGATES + 2)
    assert encode_words([["a", "b", "c"], ["c"]]) == [[0, 1, 2], [2]]
