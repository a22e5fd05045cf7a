"""Keys of endpoints, which stand in no text."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Secret", "hidden_in_logs"]

_MARK = "[key]"
#: the libraries that see requests and responses, and those of their loggers that may not exist before the first request
_LIBRARIES = ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "h11", "h2", "hpack")
_LATE = ("connection", "http11", "http2", "proxy", "socks")


@dataclass(frozen=True)
class Secret:
    """A key that shows itself to nobody and does not leave the process.

    :param value: the key

    >>> Secret("sk-1")
    <key>
    """

    value: str = field(repr=False)

    def __repr__(self) -> str:
        return "<key>"

    def __reduce__(self) -> Any:
        raise TypeError("a key does not leave the process. Put it into an environment variable: api_key_env=")

    def removed(self, text: str) -> str:
        """Return a text without the key.

        :param text: any text
        :returns: the text, with a mark where the key stood
        """
        return text.replace(self.value, _MARK) if self.value else text


class _Remover(logging.Filter):
    """Takes the key out of records; endpoints may send it back in a header, which libraries log."""

    def __init__(self, secret: Secret) -> None:
        super().__init__()
        self._secret = secret

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if self._secret.value in message or self._secret.value in repr(record.args):
            record.msg, record.args = self._secret.removed(message), ()
        return True


@contextmanager
def hidden_in_logs(secret: Secret) -> Iterator[None]:
    """Keep a key out of what the libraries below log inside the block.

    :param secret: the key
    :yields: nothing
    """
    if not secret.value:
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
