"""Files of one JSON object a line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from kgneg.core.errors import InvalidInputError

__all__ = ["Line", "read_json_lines"]

_PACKED = b"\x1f\x8b"


class Line(NamedTuple):
    """An object, and where it stands."""

    path: Path
    number: int
    content: dict[str, Any]

    def error(self, found: str, expected: str) -> InvalidInputError:
        """Return the refusal of this line.

        :param found: what is wrong
        :param expected: what is needed
        """
        return InvalidInputError(f"{self.path}, line {self.number}: got {found}, expected {expected}")

    def text(self, name: str) -> str:
        """Return a text that is not blank.

        :param name: its name
        :returns: the text, without blanks around it
        :raises InvalidInputError: if there is none
        """
        value = self.content.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"{name} {value!r}", "a text")
        return value.strip()

    def texts(self, name: str) -> list[str]:
        """Return a list of texts that are not blank.

        :param name: its name
        :returns: the texts, without blanks around them
        :raises InvalidInputError: if there is none
        """
        value = self.content.get(name)
        if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
            raise self.error(f"{name} {value!r}", "a list of texts")
        return [one.strip() for one in value]


def read_json_lines(path: str | Path) -> Iterator[Line]:
    """Read a file, packed by gzip or not; blank lines are skipped.

    :param path: the file
    :yields: the objects
    :raises InvalidInputError: if the file is missing, cut off, or a line is no JSON object; the message names the line
    """
    path, number = Path(path), 0
    if not path.is_file():
        raise InvalidInputError(f"there is no file {path}")
    try:
        with _opened(path) as handle:
            for number, text in enumerate(handle, start=1):
                if text.strip():
                    yield Line(path, number, _object(path, number, text))
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path}, line {number + 1}: no text in UTF-8 ({error})") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidInputError(f"{path}, line {number + 1}: the packed file is damaged ({error})") from error


def _opened(path: Path) -> IO[str]:
    with path.open("rb") as handle:
        packed = handle.read(len(_PACKED)) == _PACKED
    return gzip.open(path, "rt", encoding="utf-8-sig") if packed else path.open(encoding="utf-8-sig")


def _object(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path}, line {number}: no JSON ({error})") from error
    if not isinstance(found, dict):
        raise InvalidInputError(f"{path}, line {number}: got {type(found).__name__}, expected a JSON object")
    return found
