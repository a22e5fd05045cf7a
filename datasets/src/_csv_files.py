"""Read columns of CSV files, with quotation marks and line ends inside fields."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from kgneg.core.errors import InvalidInputError
from kgneg.datasets._files import COMPRESSIONS, malformed, read_text

__all__ = ["header_of", "read_rows"]


def _separator(path: Path, given: str | None) -> str:
    if given is not None:
        return given
    name = Path(path.stem) if path.suffix.lower() in COMPRESSIONS[1:] else path
    return "\t" if name.suffix.lower() in (".tsv", ".tab", ".txt") else ","


def header_of(path: Path, separator: str | None = None) -> list[str]:
    """Return the first row of a file.

    :param path: the file
    :param separator: what separates columns; ``None``: by the suffix
    :returns: the names of the columns
    """
    rows = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=_separator(path, separator))
    return [one.strip() for one in next(rows, [])]


def read_rows(
    path: Path, columns: Sequence[str | int], *, separator: str | None = None, header: bool = True
) -> list[tuple[int, list[str]]]:
    """Read some columns; blank lines are skipped.

    :param path: the file, packed or not
    :param columns: names of the header, or numbers from 0
    :param separator: what separates columns; ``None`` takes tabs for ``.tsv``, ``.tab`` and ``.txt``, commas otherwise
    :param header: whether the first row names the columns
    :returns: for each row the line where it ends, from 1, and its fields
    :raises InvalidInputError: if the file is missing, empty or malformed, or lacks a column
    """
    mark = _separator(path, separator)
    if len(mark) != 1:
        raise InvalidInputError(f"separator must be one character, got {mark!r}")
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=mark, strict=True)
    found: list[tuple[int, list[str]]] = []
    places: list[int] | None = None
    width = 0
    try:
        for row in reader:
            if not any(row):
                continue
            if places is None:
                width = len(row)
                places = [_place(path, one, row, header=header) for one in columns]
                if header:
                    continue
            if len(row) != width:
                raise malformed(path, reader.line_num, f"{len(row)} columns", f"{width}, as in the first row")
            found.append((reader.line_num, [row[place] for place in places]))
    except csv.Error as error:
        raise malformed(path, reader.line_num, f"a row that cannot be read ({error})", "complete CSV") from error
    if not found:
        raise malformed(path, max(reader.line_num, 1), "the end of the file", "at least one row")
    return found


def _place(path: Path, column: str | int, first: Sequence[str], *, header: bool) -> int:
    names = [one.strip() for one in first]
    if isinstance(column, str):
        if not header or column not in names:
            raise InvalidInputError(f"{path}: there is no column {column!r}; the first row is {', '.join(names)}")
        return names.index(column)
    if not 0 <= column < len(names):
        raise InvalidInputError(f"{path}: there is no column {column}; the first row has {len(names)}")
    return column
