"""Texts as deduplication compares them: normalised keys, and words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from kgneg.selfinstruct.words import SPACELESS, word_pattern

__all__ = ["encode_words", "normalise", "words_of"]

# letters of scripts that are written without spaces are words of their own; here kana and Han
_ALONE = SPACELESS + "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(word_pattern(_ALONE))
_ASCII_WORD = re.compile(r"[a-z0-9]+")
#: Code points that are no characters by themselves.
_SURROGATES, _NUM_SURROGATES, _NUM_POINTS = 0xD800, 0x800, 0x110000


def normalise(text: str) -> str:
    r"""Return what equal texts have in common, whatever their case, spaces, or Unicode composition.

    :param text: any text
    :returns: NFKC, case folded, one space between words

    >>> normalise("  Ein\tCAFE\u0301 ") == normalise("ein caf\u00e9")
    True
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        return " ".join(text.split())
    return " ".join(text.lower().split())


def words_of(text: str) -> list[str]:
    """Return the words of a normalised text.

    For ASCII these are the tokens of ROUGE: runs of letters and digits. Elsewhere vowel signs and accents belong to the
    letter before them. Each letter of Chinese, Japanese, Thai and
    other scripts without spaces is a word of its own.

    :param text: from :func:`normalise`
    :returns: the words in order; there may be none

    >>> words_of("to buy a cat, now"), words_of("\u4e70\u732b")
    (['to', 'buy', 'a', 'cat', 'now'], ['\u4e70', '\u732b'])
    """
    return (_ASCII_WORD if text.isascii() else _WORD).findall(text)


def encode_words(lists: Sequence[Sequence[str]]) -> list[str] | list[list[int]]:
    r"""Return one character per word, such that equal words of these lists have equal characters.

    :param lists: words of each text
    :returns: one text per list; lists of numbers when there are more words than characters

    >>> encode_words([["a", "cat"], ["a", "dog"]])
    ['\x00\x01', '\x00\x02']
    """
    ids: dict[str, int] = {}
    numbers = [[ids.setdefault(word, len(ids)) for word in words] for words in lists]
    if len(ids) > _NUM_POINTS - _NUM_SURROGATES:
        return numbers
    if len(ids) <= _SURROGATES:
        return ["".join(map(chr, row)) for row in numbers]
    return ["".join(chr(one if one < _SURROGATES else one + _NUM_SURROGATES) for one in row) for row in numbers]
