"""Columns of tables: text with any separator, and Parquet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.recsys._assemble import Columns
from kgneg.recsys._names import ColumnChoice, find_columns, known_kind
from kgneg.recsys._text_files import guess_separator, is_number, sample_lines, split_line

__all__ = ["parquet_columns", "text_columns"]

_UNIT = "\x1f"  # stands for separators of more than one character
_BLOCK = 1 << 24
_KINDS = ("user", "item", "rating", "time")


@dataclass(frozen=True)
class _Layout:
    separator: str
    header: bool
    names: list[str]
    places: dict[str, int]


def parquet_columns(path: Path, choices: Mapping[str, ColumnChoice]) -> Columns:
    """Read the wanted columns of a Parquet file.

    :param path: the file
    :param choices: user, item, rating and time -> a choice
    :returns: the columns
    :raises InvalidInputError: if the file is damaged or a column is missing
    """
    from pyarrow import parquet  # type: ignore[import-untyped]

    try:
        with parquet.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            places = find_columns(str(path), names, choices)
            table = file.read(columns=[names[at] for at in places.values()], use_threads=False)
    except InvalidInputError:
        raise
    except (ValueError, OSError) as error:  # pyarrow's errors are one or the other
        raise InvalidInputError(f"{path} is no complete Parquet file ({error}); fetch or write it again") from error
    called = {kind: names[at] for kind, at in places.items()}
    found = {kind: table.column(name) for kind, name in called.items()}
    return Columns(str(path), found["user"], found["item"], found.get("rating"), found.get("time"), called)


def text_columns(
    path: Path,
    data: bytes,
    form: str,
    choices: Mapping[str, ColumnChoice],
    separator: str | None,
    header: bool | None,
) -> Columns:
    """Read the wanted columns of a table of text.

    :param path: the file, for messages
    :param data: its content
    :param form: table, inter or movielens
    :param choices: user, item, rating and time -> a choice
    :param separator: what is between fields, or ``None``: guess
    :param header: whether the first line has names, or ``None``: guess
    :returns: the columns, as texts
    :raises InvalidInputError: if the layout cannot be guessed, or a row has another number of fields
    """
    lines = sample_lines(path, data)
    if separator is None:
        separator = "\t" if form == "inter" else guess_separator(path, lines)
    elif not separator:
        raise InvalidInputError("separator must not be empty; ' ' is any run of spaces")
    rows = [split_line(line, separator) for line in lines]
    if form == "inter":
        layout = _inter_layout(path, separator, rows[0], choices)
    else:
        layout = _table_layout(path, separator, rows, choices, form, header)
    arrays = _parse(path, data, layout)
    return Columns(
        str(path),
        arrays["user"],
        arrays["item"],
        arrays.get("rating"),
        arrays.get("time"),
        names={kind: layout.names[at] for kind, at in layout.places.items()},
        place=lambda row: f"line {row + 1 + layout.header}",
    )


def _inter_layout(path: Path, separator: str, first: Sequence[str], choices: Mapping[str, ColumnChoice]) -> _Layout:
    untyped = [name for name in first if ":" not in name]
    if untyped:
        raise InvalidInputError(
            f'{path}: the column {untyped[0]!r} has no type like "user_id:token"; if it is no .inter file of RecBole, '
            'read it with format="table", on the command line --format table'
        )
    names = [name.rpartition(":")[0] for name in first]
    bare = {kind: names[first.index(one)] if one in first else one for kind, one in choices.items()}
    return _Layout(separator, True, names, find_columns(str(path), names, bare))


def _table_layout(
    path: Path,
    separator: str,
    rows: list[list[str]],
    choices: Mapping[str, ColumnChoice],
    form: str,
    header: bool | None,
) -> _Layout:
    if header is None:
        header = _has_header(path, rows, choices)
    if header:
        if len(rows) == 1:
            raise InvalidInputError(f"{path} has a line of names, {', '.join(rows[0])}, and no rows")
        return _Layout(separator, True, rows[0], find_columns(str(path), rows[0], choices))
    width = len(rows[0])
    names = [str(at) for at in range(width)]
    chosen = dict(choices)
    if chosen["user"] is None and chosen["item"] is None:
        chosen = _by_place(path, width, chosen, form)
    else:
        chosen = {kind: False if one is None and kind in ("rating", "time") else one for kind, one in chosen.items()}
    try:
        return _Layout(separator, False, names, find_columns(str(path), names, chosen))
    except InvalidInputError as error:
        first = ", ".join(map(repr, rows[0][:8]))
        raise InvalidInputError(
            f"{error}. Its first line, {first}, is read as a row; if it has names, say header=True, on "
            "the command line --header"
        ) from None


def _by_place(path: Path, width: int, choices: dict[str, ColumnChoice], form: str) -> dict[str, ColumnChoice]:
    """Take the columns of a table without names in the usual order: user, item, rating, time."""
    if width < 2 or (width > len(_KINDS) and form != "movielens"):
        raise InvalidInputError(
            f"{path} has {width} columns without names; say which are which by their position from 0, like user=0 "
            "and item=1, on the command line --user 0 --item 1"
        )
    chosen = {kind: at if choices[kind] is None and at < width else choices[kind] for at, kind in enumerate(_KINDS)}
    return {kind: False if one is None else one for kind, one in chosen.items()}


def _has_header(path: Path, rows: list[list[str]], choices: Mapping[str, ColumnChoice]) -> bool:
    """Guess whether the first row has names: usual ones of user and item, or no number in it but numbers below."""
    first = rows[0]
    kinds = {known_kind(name) for name in first}
    if {"user", "item"} <= kinds or any(isinstance(one, str) for one in choices.values()):
        return True
    if any(is_number(field) for field in first):
        return False
    if any(is_number(field) for row in rows[1:2] for field in row):
        return True
    if len(rows) == 1 and not kinds - {None}:
        return False
    raise InvalidInputError(
        f"{path}: the first line, {', '.join(map(repr, first[:8]))}, could be names or a row; say header=True or "
        "header=False, on the command line --header or --no-header"
    )


def _parse(path: Path, data: bytes, layout: _Layout) -> dict[str, Any]:
    """Return the wanted columns as arrays of texts."""
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]
    from pyarrow import csv

    separator, data = _single(layout.separator, data)
    names = [str(at) for at in range(len(layout.names))]
    wanted = [names[at] for at in layout.places.values()]
    quoted = '"' if separator in (",", ";") else False
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=names, skip_rows=int(layout.header)),
            csv.ParseOptions(delimiter=separator, quote_char=quoted, ignore_empty_lines=False),
            csv.ConvertOptions(
                column_types=dict.fromkeys(wanted, pa.large_string()),
                include_columns=list(dict.fromkeys(wanted)),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        found = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
        if found is None:
            raise InvalidInputError(f"{path} cannot be read as a table: {error}") from error
        row, expected, got = found.groups()
        raise InvalidInputError(
            f"{path}, line {row}: got {got} fields, expected {expected} divided by {layout.separator!r}; "
            "mend the line, or give another separator"
        ) from error
    return {kind: pc.utf8_trim_whitespace(table.column(names[at])) for kind, at in layout.places.items()}


def _single(separator: str, data: bytes) -> tuple[str, bytes]:
    """Return a separator of one character, and the text with it."""
    if separator == " ":
        if b"  " in data or b"\t" in data or b" \n" in data or b"\n " in data or data[:1] == b" " or b" \r" in data:
            data = re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", data)
            data = re.sub(rb"[ \t]+", b" ", data)
        return " ", data
    if len(separator) > 1 or not separator.isascii():
        return _UNIT, data.replace(separator.encode(), _UNIT.encode())
    return separator, data
