"""Bytes of text files, and what can be told from their first lines."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from kgneg.core.errors import InvalidInputError

__all__ = [
    "FORMATS",
    "check_file",
    "guess_format",
    "guess_separator",
    "is_number",
    "read_bytes",
    "sample_lines",
    "split_line",
]

FORMATS = ("table", "inter", "movielens", "adjacency", "counted")

_SAMPLE = 1000  # lines that guesses look at
_SEPARATORS = ("\t", "::", ",", ";", "|", " ")
_MOVIELENS = re.compile(r"(u\.data|u[0-9ab]\.(base|test)|ratings\.dat)(\.gz)?$")
_TYPED = re.compile(r"[^:]+:(token|token_seq|float|float_seq)$")


def check_file(path: Path) -> Path:
    """Return the path of a file that is there.

    :param path: the path
    :returns: the same
    :raises InvalidInputError: if it is missing or a folder
    """
    if not path.is_file():
        got = f"{path} is a folder; name a file in it" if path.is_dir() else f"there is no file {path}"
        raise InvalidInputError(got)
    return path


def read_bytes(path: Path) -> bytes:
    r"""Return the content of a text file, unpacked, without a byte order mark and without blank lines at its end.

    :param path: the file; gzip is recognised by its first bytes
    :returns: the bytes, at least one
    :raises InvalidInputError: if the file is empty or truncated

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.tsv.gz"
    ...     _ = path.write_bytes(gzip.compress(b"ann\ttea\n"))
    ...     read_bytes(path)
    b'ann\ttea'
    """
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidInputError(f"{path} is no complete gzip file ({error}); fetch or write it again") from error
    data = data.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
    if not data.strip():
        raise InvalidInputError(f"{path} is empty: there must be at least one interaction")
    return data


def sample_lines(path: Path, data: bytes) -> list[str]:
    """Return the first lines, decoded.

    :param path: the file
    :param data: its content
    :returns: at least one line
    :raises InvalidInputError: if they are no UTF-8
    """
    lines = data.split(b"\n", _SAMPLE)[:_SAMPLE]
    try:
        return [line.decode("utf-8").rstrip("\r") for line in lines]
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is no text in UTF-8 ({error}); convert it, or name its format") from error


def guess_separator(path: Path, lines: Sequence[str]) -> str:
    """Return what is between the fields: the first candidate that gives all lines the same number of fields.

    :param path: the file
    :param lines: its first lines
    :returns: the separator
    :raises InvalidInputError: if there is none

    >>> guess_separator(Path("a"), ["1::5::3", "2::5::4"]), guess_separator(Path("a"), ["1 5", "2 5"])
    ('::', ' ')
    """
    for separator in _SEPARATORS:
        counts = {len(split_line(line, separator)) for line in lines}
        if len(counts) == 1 and counts != {1}:
            return separator
    raise InvalidInputError(
        f"{path}: no separator divides all lines into the same number of fields, at least 2; the first line is "
        f"{lines[0][:80]!r}. Give separator=... (--separator), or format=... (--format) if it is no table: "
        f"{', '.join(FORMATS)}."
    )


def split_line(line: str, separator: str) -> list[str]:
    """Return the fields of a line as the reader of tables sees them.

    :param line: the line
    :param separator: what is between the fields; runs of spaces count as one
    :returns: the fields, without spaces around them

    >>> split_line('7, "a, b"', ","), split_line("1  2 ", " ")
    (['7', 'a, b'], ['1', '2'])
    """
    if separator == " ":
        return line.split()
    if separator in (",", ";"):
        return [field.strip() for field in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [""])]
    return [field.strip() for field in line.split(separator)]


def is_number(text: str) -> bool:
    """Return whether a text is a number.

    :param text: the text
    :returns: whether Python reads it as a float
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


def guess_format(path: Path, lines: Sequence[str], *, table: bool = False) -> str:
    """Return the format of a text file by its name and first lines.

    :param path: the file
    :param lines: its first lines
    :param table: whether it is known to have columns
    :returns: table, inter, movielens, adjacency or counted
    :raises InvalidInputError: if it could be more than one

    >>> guess_format(Path("a"), ["2 7 9", "1 7", "1 9"]), guess_format(Path("a"), ["0 7 9", "1 7"])
    ('counted', 'adjacency')
    """
    name = path.name.removesuffix(".gz")
    fields = lines[0].split("\t")
    if name.endswith(".inter") or (len(fields) > 1 and all(_TYPED.match(field) for field in fields)):
        return "inter"
    if _MOVIELENS.match(name):
        return "movielens"
    return "table" if table else _guess_by_content(path, lines)


def _guess_by_content(path: Path, lines: Sequence[str]) -> str:
    """Tell tables from lists of items; only files of nothing but integers can be lists."""
    rows = [line.split() for line in lines]
    if not all(field.isascii() and field.isdecimal() for row in rows for field in row) or not all(rows):
        return "table"
    even = len({len(row) for row in rows}) == 1
    if even and ("\t" in lines[0] or len(rows[0]) == 1):
        return "table"
    counted = all(int(row[0]) == len(row) - 1 for row in rows)
    adjacency = len({row[0] for row in rows}) == len(rows)
    if even and len(rows[0]) == 2:  # lines of `user item` mean the same as a table and as an adjacency
        adjacency = False
    possible = [kind for kind, fits in (("table", even), ("adjacency", adjacency), ("counted", counted)) if fits]
    if len(possible) == 1:
        return possible[0]
    found = f"its first lines fit {' and '.join(possible)}" if possible else "its first lines of integers fit none"
    raise InvalidInputError(
        f"{path}: {found}; the first line is {lines[0][:80]!r}. Say which it is: format=... (--format) with one "
        f"of {', '.join(FORMATS)}."
    )
