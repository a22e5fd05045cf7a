"""What follows from a status other than success."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest

from kgneg.selfinstruct.chat_fault import Fault, status_fault


def fault(status: int, body: Any = None, *, code: Any = None, kind: Any = None, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = SimpleNamespace(headers=named)
    return status_fault(SimpleNamespace(status_code=status, body=body, code=code, type=kind, response=response), str)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "no"}, " (no)"),
        ("no", " (no)"),
        ({"message": {"a": 1}}, ' ({"a": 1})'),
        ({"error": "x"}, ""),
        (None, ""),
        ([1], " ([1])"),
    ],
)
def test_what_it_says(body: Any, said: str) -> None:
    assert fault(400, body).reason == f"endpoint: status 400{said}"


def test_what_follows() -> None:
    assert {status for status in range(300, 600) if fault(status).passing} == {408, 409, 425, 429, *range(500, 600)}
    assert {status for status in range(300, 600) if fault(status).paid} == {408, *range(500, 600)}
    assert [status for status in range(300, 600) if fault(status).ends] == [402]
    assert [status for status in range(300, 600) if fault(status).of_the_text] == [413]
    quota = fault(429, kind="insufficient_quota")
    assert (quota.passing, quota.ends) == (False, True)
    assert fault(400, code="context_length_exceeded").of_the_text
    assert not fault(400, code=400, kind=["x"]).of_the_text


def test_seconds_and_dates_to_wait() -> None:
    assert fault(429, retry_after="1.5").wait == 1.5
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28 < (fault(429, retry_after=date).wait or 0) <= 30
    assert fault(503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT").wait == 0
    assert fault(503, retry_after="Wed, 21 Oct 2015 07:28:00").wait == 0
    for wrong in ("soon", "", "-1", "inf", "nan", "Wed, 99 Oct 2015"):
        assert fault(429, retry_after=wrong).wait is None
    assert fault(429).wait is None
