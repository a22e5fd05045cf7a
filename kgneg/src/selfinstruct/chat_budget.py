"""What asking may cost at most: reserved before a request is sent, settled when its reply is there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.core.validation import validate_count

__all__ = ["Budget", "Reservation"]

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True)
class Reservation:
    """What a request can cost at most.

    :param input_tokens: tokens of the prompt
    :param output_tokens: tokens of the reply
    """

    input_tokens: int
    output_tokens: int


@dataclass
class _Spent:
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    reserved: int = 0


class Budget:
    """A limit on tokens and money that is kept even when replies are lost.

    Before a request is sent, the most that it can cost is reserved; if that does not fit, it is not sent. When the
    reply is there, the reservation becomes what the endpoint says it has used. Where it says nothing, or a reply is
    lost and may have been paid for, the whole reservation counts.

    With a path, what is spent is kept in a file, so the limit holds over all runs and processes that name the file.
    What a process that was killed had reserved stays spent.

    :param tokens: the most tokens, of prompts and replies together; ``None`` for no limit
    :param cost: the most money, in the currency of the prices; ``None`` for no limit
    :param input_price: of a million tokens of prompts; 0 if they are free
    :param output_price: of a million tokens of replies; 0 if they are free
    :param path: a JSON file that keeps what is spent
    :raises InvalidInputError: if a limit or a price is negative, or there is a limit on money but not both prices

    >>> budget = Budget(tokens=100)
    >>> budget.reserve(60, 10) is not None, budget.reserve(30, 10) is None
    (True, True)
    """

    def __init__(
        self,
        *,
        tokens: int | None = None,
        cost: float | str | None = None,
        input_price: float | str | None = None,
        output_price: float | str | None = None,
        path: str | Path | None = None,
    ) -> None:
        self.tokens = None if tokens is None else validate_count("tokens", tokens, 0)
        self.cost = None if cost is None else _amount("cost", cost)
        if self.cost is not None and (input_price is None or output_price is None):
            given = f"got input_price={input_price} and output_price={output_price}"
            raise InvalidInputError(
                f"a limit of {self.cost} on money needs both prices, {given}. Give the missing one, 0 if it is free."
            )
        self.input_price = _amount("input_price", 0 if input_price is None else input_price)
        self.output_price = _amount("output_price", 0 if output_price is None else output_price)
        if self.cost is not None and not (self.input_price or self.output_price):
            raise InvalidInputError(f"a limit of {self.cost} on money needs a price above 0. Limit tokens instead.")
        self.path = None if path is None else Path(path)
        self._spent = _Spent()
        self._lock = threading.Lock()
        if self.path is not None:
            self._read()  # a damaged file is an error now, not after the first request

    def __getstate__(self) -> dict[str, Any]:
        if self.path is None and (self.tokens is not None or self.cost is not None):
            raise TypeError("a budget in memory cannot be shared with other processes. Give it path= to keep it there.")
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def reserve(self, input_tokens: int, output_tokens: int) -> Reservation | None:
        """Set aside what a request can cost at most.

        :param input_tokens: an upper bound on the tokens of the prompt
        :param output_tokens: an upper bound on the tokens of the reply
        :returns: the reservation, or ``None`` if it does not fit
        """
        with self._open() as spent:
            total = spent.input_tokens + spent.output_tokens + input_tokens + output_tokens
            price = self._price(input_tokens, output_tokens)
            if self.tokens is not None and total > self.tokens:
                return None
            if self.cost is not None and spent.cost + price > self.cost:
                return None
            self._add(spent, input_tokens, output_tokens)
            spent.reserved += input_tokens + output_tokens
        return Reservation(input_tokens, output_tokens)

    def settle(self, reserved: Reservation, input_tokens: int, output_tokens: int) -> None:
        """Replace a reservation by what was used.

        :param reserved: the reservation
        :param input_tokens: tokens of the prompt; 0 with 0 below for a request that was turned away
        :param output_tokens: tokens of the reply; where it is lost, both as they were reserved
        """
        with self._open() as spent:
            self._add(spent, input_tokens - reserved.input_tokens, output_tokens - reserved.output_tokens)
            spent.reserved = max(0, spent.reserved - reserved.input_tokens - reserved.output_tokens)

    def spent(self) -> dict[str, float]:
        """Return what is spent, reservations included.

        :returns: ``input_tokens``, ``output_tokens`` and ``cost``
        """
        with self._open(write=False) as spent:
            return {
                "input_tokens": spent.input_tokens,
                "output_tokens": spent.output_tokens,
                "cost": float(spent.cost),
            }

    def reserved(self) -> int:
        """Return what is reserved and not settled, by all who share the file.

        :returns: tokens of prompts and replies
        """
        with self._open(write=False) as spent:
            return spent.reserved

    def limits(self) -> str:
        """Return the limits in words.

        :returns: the words, for messages
        """
        parts = [] if self.tokens is None else [f"{self.tokens:,} tokens"]
        parts += [] if self.cost is None else [f"{self.cost} of money"]
        return " and ".join(parts) or "no limit"

    def _price(self, input_tokens: int, output_tokens: int) -> Decimal:
        return (self.input_price * input_tokens + self.output_price * output_tokens) / _MILLION

    def _add(self, spent: _Spent, input_tokens: int, output_tokens: int) -> None:
        spent.input_tokens += input_tokens
        spent.output_tokens += output_tokens
        spent.cost += self._price(input_tokens, output_tokens)

    @contextmanager
    def _open(self, *, write: bool = True) -> Iterator[_Spent]:
        """Yield what is spent, alone among threads and processes, and keep it."""
        with self._lock:
            if self.path is None:
                yield self._spent
                return
            from filelock import FileLock

            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock"):
                spent = self._read()
                yield spent
                if write:
                    self._write(spent)

    def _write(self, spent: _Spent) -> None:
        if self.path is None:
            return
        content = asdict(spent) | {"cost": str(spent.cost)}
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")

    def _read(self) -> _Spent:
        if self.path is None or not self.path.exists():
            return _Spent()
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return _Spent(
                validate_count("input_tokens", content["input_tokens"], 0),
                validate_count("output_tokens", content["output_tokens"], 0),
                _amount("cost", content["cost"]),
                validate_count("reserved", content.get("reserved", 0), 0),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInputError(
                f"{self.path} is no file of what a budget has spent ({error}). Correct it, or remove it to begin at 0."
            ) from error


def _amount(name: str, value: float | str) -> Decimal:
    """Return an amount of money that is finite and not negative."""
    try:
        amount = Decimal(str(value))
    except ArithmeticError:
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or amount < 0:
        raise InvalidInputError(f"{name} must be a number of at least 0, got {value!r}")
    return amount
