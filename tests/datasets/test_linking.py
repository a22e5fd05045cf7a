"""Known phrases inside others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kgneg.datasets import _linking
from kgneg.datasets._linking import PhraseLinker, based

WORDS = st.sampled_from(["a", "ab", "b", "ba", "aab", "_"])
PHRASES = st.lists(WORDS, min_size=1, max_size=3).map(tuple)


def stands_in(phrase: tuple[str, ...], words: tuple[str, ...]) -> bool:
    return any(words[start : start + len(phrase)] == phrase for start in range(len(words)))


@given(
    st.lists(PHRASES, min_size=1, max_size=8, unique=True),
    st.lists(st.lists(WORDS, max_size=6).map(tuple), min_size=1, max_size=8),
    st.booleans(),
)
def test_against_every_pair(phrases: list[tuple[str, ...]], texts: list[tuple[str, ...]], exact: bool) -> None:
    linker = PhraseLinker([" ".join(one) for one in phrases], exact=exact)
    found = linker.find([" ".join(one) for one in texts]).toarray().tolist()
    expected = [
        [int(stands_in(one, words) if exact else " ".join(one) in " ".join(words)) for one in phrases]
        for words in texts
    ]
    assert found == expected


def test_chunks() -> None:
    number = 2 * _linking._CHUNK + 3
    found = PhraseLinker(["lion", "tiger"]).find(["a lion", "lions"] * (number // 2) + ["tiger"])
    assert found.shape == (number, 2)
    assert found[:, [0]].toarray().ravel().tolist() == [1, 0] * (number // 2) + [0]
    assert found[[number - 1], :].toarray().tolist() == [[0, 1]]


def test_nothing_to_find() -> None:
    assert PhraseLinker([]).find(["a lion"]).shape == (1, 0)
    assert PhraseLinker(["lion"]).find([]).shape == (0, 1)


def test_base_forms() -> None:
    assert based([["takes", "off"], []], "verb", frozenset({"take"})) == ["take off", ""]
    assert based([["has", "has"]], "noun", frozenset({"ha"}), fixed=frozenset({"has"})) == ["has has"]
