"""Phrases as sequences of words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

__all__ = ["ATOMIC_PERSONS", "PLACEHOLDERS", "WILDCARD", "shielded", "spans_of_words", "squeeze", "words_of"]

#: Names that some copies of ATOMIC have in place of the persons.
ATOMIC_PERSONS: Mapping[str, str] = {"john": "personx", "tom": "persony"}

#: The persons of ATOMIC, which every event has and which say nothing about it.
PLACEHOLDERS = frozenset({"personx", "persony", "personz"})

#: What stands for anything in an event of ATOMIC.
WILDCARD = "_"

# a run of letters and digits, or underscores that stand alone; those inside a label part its words
_WORD = re.compile(r"[^\W_]+|(?<![^\W_])_+(?![^\W_])")
_PERSON = re.compile(r"\bperson[xyz]\b")


def squeeze(text: str) -> str:
    """Return a text with single blanks between its words and none around it.

    :param text: the text
    :returns: the text
    """
    return " ".join(text.split())


def words_of(text: str, persons: Mapping[str, str] | None = None) -> list[str]:
    """Return the words of a phrase in small letters, without punctuation.

    :param text: the phrase
    :param persons: word -> the person that it stands for
    :returns: the words

    >>> words_of("PersonX gives Tom's hot_dog to _!", ATOMIC_PERSONS)
    ['personx', 'gives', 'persony', 's', 'hot', 'dog', 'to', '_']
    """
    plain = text if text.isascii() else unicodedata.normalize("NFC", text)
    words = _WORD.findall(plain.lower())
    return [persons.get(word, word) for word in words] if persons else words


def shielded(words: str) -> str:
    """Return words with the persons in capitals, so that the word "person" is not a part of them.

    :param words: words in small letters, with single blanks between them
    :returns: the words
    """
    return _PERSON.sub(lambda found: found.group().upper(), words)


def spans_of_words(text: str) -> list[tuple[int, int]]:
    """Return where the words of a phrase begin and end, in characters; wildcards are no words here.

    :param text: the phrase
    :returns: (start, end) of each word
    """
    return [found.span() for found in _WORD.finditer(text) if WILDCARD not in found.group()]
