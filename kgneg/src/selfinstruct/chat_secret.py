"""Keys of endpoints, which stand in no text."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

__all__ = ["Secret", "hidden_in_logs"]

_MARK = "[key]"
_PART = 12
#: the libraries that see requests and responses, and those of their loggers that may not exist before the first request
_LIBRARIES = ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "h11", "h2", "hpack")
_LATE = ("connection", "http11", "http2", "proxy", "socks")


@dataclass(frozen=True)
class Secret:
    """A key that shows itself to nobody and does not leave the process.

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

    def removed(self, text: str) -> str:
        """Return a text without the key, however it is escaped, and without long parts of it.

        :param text: any text
        :returns: the text, with a mark where the key stood
        """
        for one in sorted(filter(None, (self.value, *self.others)), key=len, reverse=True):
            for form in {one, quote(one, safe=""), unquote(one), json.dumps(one)[1:-1]}:
                text = text.replace(form, _MARK)
            text = _without_parts(text, one)
        return text

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


def _without_parts(text: str, key: str) -> str:
    """Return a text without parts of a key that are long enough to be no accident; endpoints shorten keys."""
    place = 0
    while len(key) > _PART and place + _PART <= len(text):
        start = key.find(text[place : place + _PART])
        if start < 0:
            place += 1
            continue
        length = _PART
        while text[place : place + length + 1] == key[start : start + length + 1] and place + length < len(text):
            length += 1
        text = text[:place] + _MARK + text[place + length :]
        place += len(_MARK)
    return text


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
