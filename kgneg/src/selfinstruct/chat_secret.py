"""Keys of endpoints, which stand in no text."""

from __future__ import annotations

import base64
import json
import logging
import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

__all__ = ["Secret", "hidden_in_logs"]

_MARK = "[key]"
#: a key of fewer characters is no secret, such as the "EMPTY" or "none" of local servers; words would be taken for it
_SHORTEST = 8
#: from this length on, a key and its parts are found however they are written
_PART = 12
_PLAIN = frozenset(string.ascii_letters + string.digits)
_ESCAPE = re.compile(r"(?:\\+u00|\\+x|%)([0-9a-fA-F]{2})")
#: the libraries that see requests and responses, and those of their loggers that may not exist before the first request
_LIBRARIES = ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "h11", "h2", "hpack")
_LATE = ("connection", "http11", "http2", "proxy", "socks")


@dataclass(frozen=True)
class Secret:
    """A key that shows itself to nobody and does not leave the process.

    A key of at least 12 characters is found in any case, cut into pieces, escaped, in hexadecimal, in base64 and
    reversed, and so are its longer parts. One of 8 to 11 characters is found where it stands as it is, between other
    signs than letters and digits; one of fewer characters is no secret.

    :param value: the key
    :param others: further texts that are kept secret, such as a key in an address

    >>> Secret("sk-1")
    <key>
    """

    value: str = field(repr=False)
    others: tuple[str, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        return "<key>"

    def __reduce__(self) -> Any:
        raise TypeError("a key does not leave the process. Put it into an environment variable: api_key_env=")

    def removed(self, text: str, *, part: int = _PART, short: bool = True) -> str:
        """Return a text without the key, and without long parts of it.

        :param text: any text
        :param part: letters and digits in a row from which on a part of the key is removed as it stands; parts that
            are written otherwise are removed from 12 on
        :param short: also remove a key of fewer than 12 characters, which may be a word
        :returns: the text, with a mark where the key stood; nothing but a mark if that is not enough
        """
        for one in (self.value, *self.others):
            if len(one) >= _PART:
                text = _without(text.replace(one, _MARK), _pieces(one, part))  # a key may be of other signs only
                if (plain := _ESCAPE.sub(_unescaped, text)) != text and _spans(plain, _pieces(one, part)):
                    return _MARK
            elif short and len(one) >= _SHORTEST:
                text = re.sub(rf"(?<![^\W_]){re.escape(one)}(?![^\W_])", _MARK, text)
        return text

    def stands_in(self, text: str) -> bool:
        """Return whether a text has the key or a long part of it; keys of fewer than 12 characters do not count.

        :param text: any text, such as a reply
        :returns: whether it does
        """
        return self.removed(text, short=False) != text

    def removed_from(self, value: Any) -> Any:
        """Return a JSON value without the key.

        :param value: a value
        :returns: the same, with marks in its texts
        """
        if isinstance(value, str):
            return self.removed(value)
        if isinstance(value, dict):
            return {self.removed_from(name): self.removed_from(one) for name, one in value.items()}
        return [self.removed_from(one) for one in value] if isinstance(value, list | tuple) else value


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))


def _letters(text: str) -> str:
    """Return the letters and digits of a text, in lower case."""
    return "".join(one for one in text if one in _PLAIN).lower()


@lru_cache(16)
def _pieces(key: str, part: int) -> dict[int, frozenset[str]]:
    """Return what gives a key away, by its length: runs of letters and digits of the key in all its spellings."""
    raw = key.encode("utf-8", "replace")
    spellings = [quote(key, safe=""), unquote(key), json.dumps(key)[1:-1], key[::-1], raw.hex()]
    for before in range(3):  # base64 depends on where the key stands in what is encoded
        coded = base64.b64encode(b"\0" * before + raw).decode("ascii")
        spellings.append(coded[before + (before > 0) : len(coded) - 4])  # the ends depend on what is beside the key
    found: dict[int, set[str]] = {}
    for spelling, least in ((key, part), *((one, _PART) for one in spellings)):
        letters = _letters(spelling)
        length = min(least, len(letters))
        if length >= min(least, _SHORTEST):
            runs = {letters[place : place + length] for place in range(len(letters) - length + 1)}
            found.setdefault(length, set()).update(runs)
    return {length: frozenset(runs) for length, runs in found.items()}


def _spans(text: str, pieces: dict[int, frozenset[str]]) -> list[tuple[int, int]]:
    """Return from where to where a text has pieces of a key, whatever stands between their letters; in order."""
    places = [place for place, one in enumerate(text) if one in _PLAIN]
    letters = "".join([text[place] for place in places]).lower()
    spans: list[tuple[int, int]] = []
    for length, runs in pieces.items():
        for start in range(len(letters) - length + 1):
            if letters[start : start + length] in runs:
                begin, end = places[start], places[start + length - 1] + 1
                if spans and spans[-1][0] <= begin <= spans[-1][1]:
                    spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
                else:
                    spans.append((begin, end))
    return sorted(spans)


def _without(text: str, pieces: dict[int, frozenset[str]]) -> str:
    """Return a text with a mark for each stretch that has pieces of a key."""
    parts: list[str] = []
    end = 0
    for begin, stop in _spans(text, pieces):
        if not parts or begin > end:
            parts += [text[end:begin], _MARK]
        end = max(end, stop)
    return "".join([*parts, text[end:]])


class _Remover(logging.Filter):
    """Takes the key out of records; endpoints may send it back in a header, which libraries log."""

    def __init__(self, secret: Secret) -> None:
        super().__init__()
        self._secret = secret

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        clean = self._secret.removed(message)
        if clean != message or self._secret.removed(shown := repr(record.args)) != shown:
            record.msg, record.args = clean, ()
        return True


@contextmanager
def hidden_in_logs(secret: Secret) -> Iterator[None]:
    """Keep a key out of what the libraries below log inside the block.

    :param secret: the key
    :yields: nothing
    """
    if not (secret.value or any(secret.others)):
        yield
        return
    names = {name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _LIBRARIES}
    names |= {f"{library}.{part}" for library in _LIBRARIES if library.startswith("httpcore") for part in _LATE}
    loggers = [logging.getLogger(name) for name in sorted(names | set(_LIBRARIES))]
    remover = _Remover(secret)
    for logger in loggers:
        logger.addFilter(remover)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(remover)
