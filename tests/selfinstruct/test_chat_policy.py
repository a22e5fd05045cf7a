"""How an endpoint is asked."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.chat_policy import Pace, RequestPolicy


def test_waits_double_differ_and_end() -> None:
    policy = RequestPolicy(first_wait=1, longest_wait=20)
    waits = [policy.wait("key", tries) for tries in range(1, 12)]
    for tries, wait in enumerate(waits):
        assert min(20, 0.5 * 2**tries) <= wait <= min(20, 2**tries)
    assert len({policy.wait(f"key {number}", 1) for number in range(50)}) == 50
    assert policy.wait("key", 1) == policy.wait("key", 1)
    assert policy.wait("key", 1, asked=7) == 7
    assert policy.wait("key", 1, asked=86_400) == 20
    assert policy.wait("key", 10_000) == 20


def test_no_wait() -> None:
    assert RequestPolicy(first_wait=0).wait("key", 5) == 0


def begins(pace: Pace, number: int) -> list[float]:
    times: list[float] = []

    async def one() -> None:
        await pace.turn()
        times.append(time.monotonic())

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(number)))

    asyncio.run(all_of_them())
    return times


def test_the_pace_is_even_also_for_many_at_once() -> None:
    times = begins(Pace(60 / 0.05), 6)
    assert all(later - earlier >= 0.03 for earlier, later in pairwise(times))
    assert times[-1] - times[0] >= 0.2


def test_all_are_held_back() -> None:
    for pace in (Pace(None), Pace(100_000)):
        start = time.monotonic()
        pace.hold(0.2)
        assert min(begins(pace, 3)) - start >= 0.19


def test_a_hold_meets_those_who_wait_already() -> None:
    pace, start = Pace(60 / 0.05), time.monotonic()

    async def one() -> float:
        await pace.turn()
        return time.monotonic() - start

    async def all_of_them() -> list[float]:
        waiting = [asyncio.create_task(one()) for _ in range(4)]
        await asyncio.sleep(0.005)
        pace.hold(0.3)
        return sorted(await asyncio.gather(*waiting))

    first, *others = asyncio.run(all_of_them())
    assert first < 0.2
    assert others[0] >= 0.29
    assert all(later - earlier >= 0.03 for earlier, later in pairwise(others))


def test_no_limit_no_wait() -> None:
    start = time.monotonic()
    begins(Pace(None), 100)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"retries": -1},
        {"format_retries": 1.5},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"requests_per_minute": 0},
        {"first_wait": -1},
        {"longest_wait": float("inf")},
        {"give_up_after": 0},
        {"timeout": "60"},
        {"timeout": None},
        {"first_wait": None},
        {"longest_wait": "1"},
        {"requests_per_minute": "60"},
    ],
)
def test_malformed_policies(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        RequestPolicy(**options)
