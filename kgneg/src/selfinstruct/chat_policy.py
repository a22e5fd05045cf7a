"""How an endpoint is asked: how many at once, how fast, how long to wait, and when to stop."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass

from kgneg.core.validation import validate_count, validate_number

__all__ = ["Pace", "RequestPolicy"]


@dataclass(frozen=True, kw_only=True)
class RequestPolicy:
    """How an endpoint is asked.

    :param concurrency: requests under way at once
    :param retries: further tries after faults that may pass: 408, 409, 425, 429, 5xx, time-outs, lost connections
    :param format_retries: further tries after replies that are not as asked for
    :param timeout: seconds for one try in all, however slowly its bytes drip
    :param first_wait: seconds before the second try; doubled for each further one
    :param longest_wait: seconds of a wait at most, also where the endpoint asks for a longer one
    :param requests_per_minute: the most requests begun in a minute, by this process; ``None`` for no limit
    :param give_up_after: requests in a row that fail after all their tries, until the rest is not tried any more;
        ``None`` for never. Faults of one text only, such as one that is too long or flagged, do not count
    :raises InvalidInputError: if a number is out of range

    >>> RequestPolicy(first_wait=1).wait("key", 3) <= 4
    True
    """

    concurrency: int = 8
    retries: int = 5
    format_retries: int = 2
    timeout: float = 60.0
    first_wait: float = 0.5
    longest_wait: float = 60.0
    requests_per_minute: float | None = None
    give_up_after: int | None = 20

    def __post_init__(self) -> None:
        validate_count("concurrency", self.concurrency)
        validate_count("retries", self.retries, 0)
        validate_count("format_retries", self.format_retries, 0)
        if self.give_up_after is not None:
            validate_count("give_up_after", self.give_up_after)
        validate_number("timeout", self.timeout, above=True)
        if self.requests_per_minute is not None:
            validate_number("requests_per_minute", self.requests_per_minute, above=True)
        validate_number("first_wait", self.first_wait)
        validate_number("longest_wait", self.longest_wait)

    def wait(self, key: str, tries: int, asked: float | None = None) -> float:
        """Return the seconds to wait after a failed try.

        The wait doubles with every try and differs between requests, so that they do not come back all at once.

        :param key: what is asked
        :param tries: how often it was tried, from 1
        :param asked: what the endpoint asks for, in seconds
        :returns: seconds, at most ``longest_wait``
        """
        digest = hashlib.blake2b(f"{key} {tries}".encode(), digest_size=4).digest()
        share = 0.5 + int.from_bytes(digest, "big") / 2**33
        own = self.first_wait * 2.0 ** min(tries - 1, 32) * share
        return min(self.longest_wait, max(own, asked or 0.0))


class Pace:
    """Lets requests begin evenly spaced, and holds all of them back when the endpoint asks for it.

    :param per_minute: requests in a minute, or ``None`` for no limit
    """

    def __init__(self, per_minute: float | None) -> None:
        self._gap = 0.0 if per_minute is None else 60.0 / per_minute
        self._next = 0.0
        self._turn = asyncio.Lock()

    def hold(self, seconds: float) -> None:
        """Let no request begin for some time.

        :param seconds: how long
        """
        self._next = max(self._next, time.monotonic() + seconds)

    async def turn(self) -> None:
        """Wait until a request may begin."""
        async with self._turn:  # one after another, so that a hold meets all who wait
            now = time.monotonic()
            while (wait := self._next - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            self._next = max(self._next, now) + self._gap
