"""Which columns of a table make the vectors, and what is in them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from kgneg.core.errors import InvalidInputError

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

__all__ = ["Column", "list_vectors", "number_vectors", "texts", "vector_columns"]

_NUMBERED = re.compile(r"(.*?)(\d+)", re.DOTALL)
_SHOWN = 20


class Column(NamedTuple):
    """What is known of a column before it is read.

    :param name: its name
    :param number: whether it may hold numbers
    :param lists: whether it holds lists
    """

    name: str
    number: bool
    lists: bool


def vector_columns(path: Path, columns: Sequence[Column], vector: str | None) -> list[str]:
    """Find the columns that make the vectors.

    :param path: the file, for messages
    :param columns: the columns that are not named otherwise
    :param vector: the name of a column of lists, a prefix, or ``None`` to guess
    :returns: one column of lists, or the columns of numbers in ascending order
    :raises InvalidInputError: if there is no such column, more than one choice, or a number is missing
    """
    lists = [column.name for column in columns if column.lists]
    wanted = [name for name in lists if name == (vector or "vector")] or (lists if vector is None else [])
    if len(wanted) == 1:
        return wanted
    numbered: dict[str, dict[int, str]] = defaultdict(dict)
    for column in columns:
        match = _NUMBERED.fullmatch(column.name)
        if column.number and match:
            if int(match[2]) in numbered[match[1]]:
                raise InvalidInputError(
                    f"{path}: {numbered[match[1]][int(match[2])]!r} and {column.name!r} have one number; rename one"
                )
            numbered[match[1]][int(match[2])] = column.name
    choices = [*wanted, *(prefix for prefix in numbered if vector in (None, prefix))]
    if len(choices) != 1:
        listed = ", ".join(repr(column.name) for column in columns[:_SHOWN]) or "none"
        raise InvalidInputError(
            f"{path}: {'several' if choices else 'no'} columns of vectors"
            f"{f' that start with {vector!r}' if vector else ''}"
            f"{f' ({_list(choices)})' if choices else ''}; name a column of lists, or a prefix of columns that end "
            f"in a number: vector=... The columns that are left are {listed}"
        )
    (prefix,) = choices
    places = sorted(numbered[prefix])
    missing = sorted(set(range(places[0], places[-1])) - set(places))
    if missing or places[0] > 1:
        gap = missing[0] if missing else 0
        raise InvalidInputError(
            f"{path}: the columns {prefix}{places[0]} to {prefix}{places[-1]} lack {prefix}{gap}; count from 0 or 1"
        )
    return [numbered[prefix][place] for place in places]


def texts(path: Path, name: str, column: pa.ChunkedArray) -> tuple[str, ...]:
    """Read a column of texts or integers.

    :param path: the file, for messages
    :param name: the name of the column
    :param column: the column
    :returns: one text per row; an integer is spelled
    :raises InvalidInputError: if the column holds anything else, or a value is missing
    """
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise InvalidInputError(f"{path}: the column {name!r} holds {kind}, expected texts or integers")
    values = column.to_pylist()
    empty = [row for row, value in enumerate(values) if value is None or not str(value).strip()]
    if empty:
        raise InvalidInputError(
            f"{path}: the column {name!r} has no value in {len(empty)} of {len(values)} rows, in the rows (from 0) "
            f"{_list(empty)}; fill them or leave them out"
        )
    return tuple(map(str, values))


def number_vectors(columns: Sequence[pa.ChunkedArray]) -> npt.NDArray[np.float32]:
    """Put columns of numbers side by side.

    :param columns: the columns
    :returns: shape: (n, d), NaN where a value is missing
    """
    vectors = np.empty((len(columns[0]), len(columns)), dtype=np.float32)
    with np.errstate(over="ignore"):  # found later, as an infinite value
        for place, column in enumerate(columns):
            vectors[:, place] = column.to_numpy()
    return vectors


def list_vectors(path: Path, column: pa.Array) -> npt.NDArray[np.float32]:
    """Put lists below each other.

    :param path: the file, for messages
    :param column: the column of lists
    :returns: shape: (n, d), NaN where a value inside a list is missing
    :raises InvalidInputError: if a list is missing, they differ in length, or hold no numbers
    """
    import pyarrow as pa
    from pyarrow import compute

    if not (pa.types.is_floating(column.type.value_type) or pa.types.is_integer(column.type.value_type)):
        raise InvalidInputError(f"{path}: the vectors are lists of {column.type.value_type}, expected numbers")
    lengths = compute.fill_null(compute.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    if not lengths.any():
        raise InvalidInputError(f"{path}: all vectors are missing or empty, expected lists of numbers")
    common = 1 + int(np.bincount(lengths)[1:].argmax())
    wrong = np.flatnonzero(lengths != common).tolist()
    if wrong:
        raise InvalidInputError(
            f"{path}: most vectors have {common} numbers, but that of row {wrong[0]} (from 0) has "
            f"{int(lengths[wrong[0]])}; {len(wrong)} of {len(lengths)} rows differ ({_list(wrong)})"
        )
    with np.errstate(over="ignore"):
        flat: npt.NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return flat.reshape(len(lengths), -1)


def _list(values: Sequence[object]) -> str:
    """List the first values."""
    return ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
