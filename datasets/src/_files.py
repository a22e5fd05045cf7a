"""Read whole text files, compressed or not, and say the line of whatever is wrong with them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kgneg.core.errors import InvalidInputError

__all__ = ["COMPRESSIONS", "LabelArray", "iterate_lines", "malformed", "read_columns", "read_lines", "read_text"]

#: An object array of ``str``.
LabelArray = npt.NDArray[np.object_]

#: Suffixes of compressed files; the empty one is a plain file.
COMPRESSIONS = ("", ".gz", ".bz2", ".xz")

_CHUNK = 1 << 20
_READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)
_WHOLE = "a complete file of the type its suffix says"


def malformed(path: Path, line: int, got: str, expected: str) -> InvalidInputError:
    """Describe a malformed line.

    :param path: the file
    :param line: the number of the line, from 1
    :param got: what was found
    :param expected: what is allowed
    :returns: the error, to be raised by the caller

    >>> str(malformed(Path("a.tsv"), 3, "2 columns", "3 columns"))
    'a.tsv, line 3: got 2 columns, expected 3 columns'
    """
    return InvalidInputError(f"{path}, line {line}: got {got}, expected {expected}")


def read_text(path: Path) -> str:
    """Read and decode a file; a byte order mark is removed.

    :param path: the file; ``.gz``, ``.bz2`` and ``.xz`` are unpacked
    :returns: the text, line ends as they are
    :raises InvalidInputError: if the file is missing, a folder, unreadable, truncated, or no UTF-8
    """
    data = _read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        mark = len(data) - len(error.object)  # the codec may cut off the byte order mark before it counts
        start = error.start + mark
        line = data.count(b"\n", 0, start) + 1
        raise malformed(path, line, f"the byte 0x{data[start]:02x}, which is no UTF-8", "UTF-8 text") from error


def read_lines(path: Path) -> list[str]:
    """Read the lines of a table.

    :param path: the file
    :returns: at least one line, none of them blank, without line ends
    :raises InvalidInputError: if the file has no line, a blank line before its end, or a control character
        that splits a line in some readers and not in others (a lone carriage return, a null)
    """
    return _lines(path, _body(path))


def iterate_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Read the lines of a file that may not fit into memory, one after the other.

    :param path: the file
    :yields: the number of a line, from 1, and the line without its end
    :raises InvalidInputError: if the file is missing, a folder, unreadable, truncated, or no UTF-8
    """
    _check_there(path)
    number = 0
    try:
        with _open(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="\n") as lines:
            for line in lines:
                number += 1
                yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise malformed(
            path, number + 1, f"bytes near here that are no UTF-8 ({error.reason})", "UTF-8 text"
        ) from error
    except _READ_ERRORS as error:
        raise malformed(path, number + 1, f"a read error ({error})", _WHOLE) from error


def read_columns(path: Path, num_columns: int) -> LabelArray:
    """Read a table without a header whose fields are separated by tabs and never empty.

    A compiled parser reads well-formed files; whatever it may understand in another way is read again line by line.

    :param path: the file
    :param num_columns: the number of columns
    :returns: shape: (m, num_columns), dtype: object, the fields; row ``i`` is line ``i + 1``
    :raises InvalidInputError: if any line has another number of fields or an empty one, or the file cannot be read
    """
    body = _body(path)
    table = _parse_fast(body, num_columns)
    if table is not None:
        return table
    rows = [_fields(path, i, line, num_columns) for i, line in enumerate(_lines(path, body), start=1)]
    return np.array(rows, dtype=object).reshape(-1, num_columns)


def _read_bytes(path: Path) -> bytes:
    """Read a file and unpack it according to its suffix."""
    _check_there(path)
    chunks: list[bytes] = []
    try:
        with _open(path) as file:
            while chunk := file.read(_CHUNK):
                chunks.append(chunk)
    except _READ_ERRORS as error:
        line = sum(chunk.count(b"\n") for chunk in chunks) + 1
        raise malformed(path, line, f"a read error ({error})", _WHOLE) from error
    return b"".join(chunks)


def _check_there(path: Path) -> None:
    if path.is_dir():
        raise InvalidInputError(f"{path}: got a folder, expected a file")
    if not path.exists():
        raise InvalidInputError(f"{path}: no such file")


@contextmanager
def _open(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]:
    """Open a file for reading, unpacked."""
    suffix = path.suffix.lower()
    with path.open("rb") as raw:
        if suffix == ".gz":
            with gzip.GzipFile(fileobj=raw) as packed:
                yield packed
        elif suffix == ".bz2":
            with bz2.BZ2File(raw) as packed:
                yield packed
        elif suffix == ".xz":
            with lzma.LZMAFile(raw) as packed:
                yield packed
        else:
            yield raw


def _body(path: Path) -> str:
    """Read a table without the line ends after its last line."""
    body = read_text(path).rstrip("\r\n")
    if not body:
        raise malformed(path, 1, "an empty file", "at least one line")
    return body


def _lines(path: Path, body: str) -> list[str]:
    """Split a table into lines and check that every reader would split it so."""
    lines = [line.removesuffix("\r") for line in body.split("\n")]
    for number, line in enumerate(lines, start=1):
        if not line:
            raise malformed(path, number, "a blank line", "blank lines at the end only")
        for character, name in (("\r", "a lone carriage return"), ("\0", "a null character")):
            if character in line:
                raise malformed(path, number, name, "no such character inside a line")
    return lines


def _fields(path: Path, number: int, line: str, num_columns: int) -> Sequence[str]:
    """Split one line and check its fields."""
    fields = line.split("\t")
    if len(fields) != num_columns:
        raise malformed(
            path, number, f"{_columns(len(fields))}: {_shorten(line)}", f"{_columns(num_columns)} separated by tabs"
        )
    for column, field in enumerate(fields, start=1):
        if not field.strip():
            raise malformed(path, number, f"an empty field in column {column}", f"{num_columns} non-empty columns")
    return fields


def _parse_fast(body: str, num_columns: int) -> LabelArray | None:
    """Parse a table with the compiled parser of pandas, or return None if a line may be malformed."""
    import pandas as pd

    num_lines, num_tabs = body.count("\n") + 1, num_columns - 1
    first = body.partition("\n")[0]
    if body[0] == "\ufeff" or "\0" in body:  # pandas would remove the one and may stop at the other
        return None
    if body.count("\t") != num_lines * num_tabs or first.count("\t") != num_tabs:
        return None
    try:
        # one column more than expected: a line that is too long is then seen, and means that another is too short
        frame = pd.read_csv(
            io.StringIO(body),
            sep="\t",
            header=None,
            names=list(range(num_columns + 1)),
            index_col=False,
            quoting=3,  # csv.QUOTE_NONE: a quotation mark is a character like any other
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            skip_blank_lines=False,
            engine="c",
        )
    except (ValueError, OSError):  # pandas' ParserError is a ValueError
        return None
    if len(frame) != num_lines:
        return None
    table = frame.iloc[:, :num_columns].to_numpy(dtype=object)
    if any(not isinstance(field, str) or not field.strip() for field in set(table.ravel().tolist())):
        return None
    return table


def _columns(count: int) -> str:
    """Count columns in words."""
    return f"{count} column" if count == 1 else f"{count} columns"


def _shorten(line: str, limit: int = 80) -> str:
    """Quote the beginning of a line."""
    return repr(line if len(line) <= limit else line[:limit] + "...")
