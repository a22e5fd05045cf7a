"""The phrases that a graph is made of: what can stand in a table, and which are the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from kgneg.core.errors import InvalidInputError

__all__ = ["distinct_heads", "is_writable", "plain_phrase"]

_STOPS = " .\u3002!\uff01"
#: control characters, and halves of characters
_UNWRITABLE = ("Cc", "Cs")


def plain_phrase(phrase: str) -> str:
    """Return how phrases are compared.

    :param phrase: the phrase
    :returns: the same without case, width and a final full stop

    >>> plain_phrase("A Cat.")
    'a cat'
    """
    return unicodedata.normalize("NFKC", phrase).casefold().strip(_STOPS)


def is_writable(text: str) -> bool:
    """Return whether a text can stand in a table: it is not blank and has no control characters.

    :param text: the text
    :returns: the answer
    """
    return bool(text.strip()) and not any(unicodedata.category(one) in _UNWRITABLE for one in text)


def distinct_heads(heads: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return heads with single spaces, without blank ones, and the first of those that are the same.

    :param heads: kind -> its heads
    :returns: the same, in order
    :raises InvalidInputError: if a head is no text, or cannot stand in a table
    """
    return {kind: list(_distinct(kind, many).values()) for kind, many in heads.items()}


def _distinct(kind: str, heads: Iterable[str]) -> dict[str, str]:
    if isinstance(heads, str):
        raise InvalidInputError(
            f"the heads of the kind {kind!r} must be several texts, got {heads!r}. Put it in a list."
        )
    found: dict[str, str] = {}
    for head in heads:
        text = " ".join(head.split()) if isinstance(head, str) else None
        if text is None or (text and not is_writable(text)):
            raise InvalidInputError(
                f"the head {head!r} of the kind {kind!r} is no text, or has a control character. Correct it, or leave "
                "it out."
            )
        if text:
            found.setdefault(plain_phrase(text), text)
    return found
