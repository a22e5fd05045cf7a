"""What went wrong with a request, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["Fault", "status_fault"]

_PASSING = {408, 409, 425, 429}
_TOO_LONG = 413
#: codes of faults that are about the text of one question
_OF_THE_TEXT = {"content_filter", "content_policy_violation", "context_length_exceeded"}
_NO_MONEY, _QUOTA = 402, "insufficient_quota"


class Fault(Exception):  # noqa: N818 - it never leaves the session
    """A try that failed.

    :param reason: why, as it is shown
    :param passing: another try may succeed
    :param paid: it may have cost something
    :param wait: seconds that the endpoint asks to wait
    :param of_the_text: it says nothing about other questions
    :param ends: no other question will succeed either
    """

    def __init__(
        self,
        reason: str,
        *,
        passing: bool = False,
        paid: bool = False,
        wait: float | None = None,
        of_the_text: bool = False,
        ends: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason, self.passing, self.paid, self.wait = reason, passing, paid, wait
        self.of_the_text, self.ends = of_the_text, ends


def status_fault(error: Any, clean: Callable[[str], str]) -> Fault:
    """Return what a status other than success means.

    :param error: the ``APIStatusError`` of the client
    :param clean: makes a text of the endpoint one that can be shown
    :returns: the fault; its reason is what the endpoint says, without the key
    """
    status, headers = error.status_code, error.response.headers
    said = clean(_message(error.body))
    if 300 <= status < 400 and "location" in headers:
        said = f"it leads to {clean(headers['location'])}, which is not asked; give that address if it is the right one"
    codes = {one for one in (error.code, error.type) if isinstance(one, str)}
    ends = status == _NO_MONEY or _QUOTA in codes
    return Fault(
        f"endpoint: status {status}" + (f" ({said})" if said else ""),
        passing=(status in _PASSING or status >= 500) and not ends,
        paid=status >= 500 or status == 408,
        wait=_retry_after(headers.get("retry-after")),
        of_the_text=status == _TOO_LONG or bool(codes & _OF_THE_TEXT),
        ends=ends,
    )


def _message(body: Any) -> str:
    """Return what the endpoint says about a fault."""
    message = body.get("message") if isinstance(body, dict) else body
    return message if isinstance(message, str) else "" if message is None else json.dumps(message)


def _retry_after(value: str | None) -> float | None:
    """Return the seconds that an endpoint asks to wait, if it says so in seconds or as a date."""
    try:
        seconds = float(value or "nan")
    except ValueError:
        try:
            when = parsedate_to_datetime(value or "")
        except ValueError:
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = max(0.0, (when - datetime.now(UTC)).total_seconds())
    return seconds if 0 <= seconds < float("inf") else None
