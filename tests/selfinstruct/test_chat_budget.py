"""What asking may cost."""

from __future__ import annotations

import json
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.chat_budget import Budget


def test_tokens_are_reserved_and_settled() -> None:
    budget = Budget(tokens=100)
    first = budget.reserve(50, 20)
    assert first is not None
    assert budget.reserve(20, 11) is None
    budget.settle(first, 10, 5)
    assert budget.spent() == {"input_tokens": 10, "output_tokens": 5, "cost": 0.0}
    assert budget.reserve(80, 5) is not None
    assert budget.reserve(0, 1) is None


def test_money_is_counted_exactly() -> None:
    budget = Budget(cost="0.3", input_price="0.1", output_price=1)
    for _ in range(3):
        assert budget.reserve(1_000_000, 0) is not None  # 3 times 0.1 is not more than 0.3
    assert budget.reserve(1, 0) is None
    assert "0.3 of money" in budget.limits()


def test_one_side_may_be_free_if_that_is_said() -> None:
    budget = Budget(cost=1, input_price=0, output_price=2)
    assert budget.reserve(10**9, 500_000) is not None
    assert budget.reserve(0, 1) is None


def test_no_limit() -> None:
    budget = Budget()
    assert budget.reserve(10**12, 10**12) is not None
    assert budget.limits() == "no limit"


def test_a_file_keeps_what_is_spent(tmp_path: Path) -> None:
    path = tmp_path / "new" / "budget.json"
    first = Budget(tokens=100, path=path)
    reserved = first.reserve(60, 0)
    assert reserved is not None
    second = Budget(tokens=100, path=path)  # as after a kill: what was reserved counts as spent
    assert second.reserve(41, 0) is None
    first.settle(reserved, 30, 0)
    assert second.reserve(70, 0) is not None
    assert json.loads(path.read_text(encoding="utf-8"))["input_tokens"] == 100


def test_what_is_reserved_is_known_to_all(tmp_path: Path) -> None:
    path = tmp_path / "budget.json"
    path.write_text('{"input_tokens": 5, "output_tokens": 0, "cost": "0"}', encoding="utf-8")  # of an older version
    first, second = Budget(path=path), Budget(path=path)
    assert first.reserved() == second.reserved() == 0
    reserved = first.reserve(60, 4)
    assert reserved is not None
    assert second.reserved() == 64
    first.settle(reserved, 60, 4)
    assert second.reserved() == 0
    assert second.spent()["input_tokens"] == 65


@pytest.mark.parametrize("text", ["", "{}", '{"input_tokens": -1, "output_tokens": 0, "cost": "0"}', "[]", '{"a": 1'])
def test_a_damaged_file_is_an_error_and_not_a_fresh_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "budget.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match="remove it"):
        Budget(tokens=1, path=path)


def test_threads_do_not_exceed_it() -> None:
    budget, taken = Budget(tokens=1_000), []

    def take() -> None:
        while (got := budget.reserve(3, 4)) is not None:
            taken.append(got)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(taken) == 1_000 // 7


def test_only_a_file_can_be_shared_with_processes(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="path="):
        pickle.dumps(Budget(tokens=1))
    for budget in (Budget(), Budget(tokens=9, path=tmp_path / "b.json")):
        again = pickle.loads(pickle.dumps(budget))  # noqa: S301 - our own
        assert again.reserve(1, 1) is not None


@pytest.mark.parametrize(
    "options",
    [
        {"tokens": -1},
        {"tokens": 1.5},
        {"cost": -1, "input_price": 1},
        {"cost": "x", "input_price": 1},
        {"cost": 1},
        {"cost": 1, "input_price": 0.25},
        {"cost": 1, "output_price": 2},
        {"cost": 1, "input_price": 0, "output_price": 0},
        {"input_price": False},
        {"input_price": float("nan")},
        {"output_price": True},
    ],
)
def test_malformed_limits(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        Budget(**options)
