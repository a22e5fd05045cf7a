"""Columns of adjacency lists: one line per user."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kgneg.core.errors import InvalidInputError
from kgneg.recsys._assemble import Columns

__all__ = ["adjacency_columns"]

_SPACES = np.zeros(256, dtype=bool)
_SPACES[list(b" \t\r\n")] = True
_DIGITS = np.zeros(256, dtype=bool)
_DIGITS[list(b"0123456789")] = True


def adjacency_columns(path: Path, data: bytes, *, counted: bool) -> Columns:
    r"""Read lines of ``user item item ...`` or, counted, of ``count item item ...`` where the line is the user.

    :param path: the file, for messages
    :param data: its content
    :param counted: whether lines begin with the number of items
    :returns: the columns, integers
    :raises InvalidInputError: if something is no integer, or a count is wrong

    >>> columns = adjacency_columns(Path("users.dat"), b"2 7 9\n0\n1 7", counted=True)
    >>> columns.users.tolist(), columns.items.tolist(), columns.report.users_without_items
    ([0, 0, 2], [7, 9, 7], 1)
    """
    import pyarrow as pa  # type: ignore[import-untyped]

    values, lines = _integers(path, data)
    lengths = np.bincount(lines, minlength=data.count(b"\n") + 1)
    first = np.ones(len(values), dtype=bool)
    first[1:] = lines[1:] != lines[:-1]
    if counted:
        if (lengths == 0).any():
            line = int((lengths == 0).argmax())
            raise InvalidInputError(f"{path}, line {line + 1}: the line is blank; a user without items is written as 0")
        _check_counts(path, values[first], lengths - 1)
        users = lines
    else:
        users = np.repeat(values[first], lengths[lengths > 0])
    columns = Columns(str(path), pa.array(users[~first]), pa.array(values[~first]))
    columns.place = _Lines(lines[~first])
    columns.report = replace(columns.report, users_without_items=int((lengths == 1).sum()))
    return columns


class _Lines:
    """Says the line of a pair."""

    def __init__(self, lines: npt.NDArray[np.int64]) -> None:
        self.lines = lines

    def __call__(self, row: int) -> str:
        return f"line {int(self.lines[row]) + 1}"


def _integers(path: Path, data: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return all integers and the lines that they are in, from 0."""
    letters = np.frombuffer(data, dtype=np.uint8)
    space = _SPACES[letters]
    bad = ~(space | _DIGITS[letters])
    if bad.any():
        _refuse_word(path, data, int(bad.argmax()), "no integer id")
    start = ~space
    start[1:] &= space[:-1]
    begins = start.nonzero()[0]
    end = ~space
    end[:-1] &= space[1:]
    widths = end.nonzero()[0] - begins + 1
    if len(widths) and widths.max() > 18:
        _refuse_word(path, data, int(begins[widths.argmax()]), "too large an integer")
    values = np.fromstring(data.decode("ascii"), dtype=np.int64, sep=" ")
    lines = (letters == ord("\n")).cumsum()[begins]
    return values, lines.astype(np.int64)


def _refuse_word(path: Path, data: bytes, at: int, why: str) -> None:
    line = data.count(b"\n", 0, at) + 1
    start = max(data.rfind(mark, 0, at) for mark in (b" ", b"\t", b"\n")) + 1
    word = data[start : start + 40].split()[0].decode("utf-8", "replace")
    raise InvalidInputError(
        f"{path}, line {line}: {word!r} is {why}; adjacency files have integers only. Is it a table? Then read it with "
        'format="table".'
    )


def _check_counts(path: Path, counts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> None:
    wrong = counts != lengths
    if wrong.any():
        line = int(wrong.argmax())
        raise InvalidInputError(
            f"{path}, line {line + 1}: the count is {counts[line]}, but {lengths[line]} items follow. If lines begin "
            'with the user, take format="adjacency".'
        )
