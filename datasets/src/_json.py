"""Read records from JSON, and say the line of whatever is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kgneg.core.errors import InvalidInputError
from kgneg.datasets._files import malformed, read_text

__all__ = ["Record", "read_records"]

_KINDS: dict[type, str] = {str: "a text", int: "an integer", list: "a list"}


class Record(NamedTuple):
    """An object of a file and where it stands.

    :param where: the place, for messages
    :param values: the fields
    """

    where: str
    values: Mapping[str, Any]

    def get(self, name: str, kind: type) -> Any:
        """Return a field.

        :param name: the name of the field
        :param kind: ``str``, ``int`` or ``list``
        :returns: its value
        :raises InvalidInputError: if the field is missing or of another kind
        """
        if name not in self.values:
            raise InvalidInputError(f"{self.where}: no field {name!r}, got the fields {sorted(map(str, self.values))}")
        value = self.values[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.refuse(f"{name!r} is {value!r:.80}", _KINDS[kind])
        return value

    def get_tokens(self, name: str, value: Any = None) -> tuple[str, ...]:
        """Return a list of texts.

        :param name: the name of the field, or what to call ``value``
        :param value: the list; by default that of the field
        :returns: the texts
        :raises InvalidInputError: if it is no list of texts
        """
        tokens = self.get(name, list) if value is None else value
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise self.refuse(f"{name!r} is {tokens!r:.80}", "a list of texts")
        return tuple(tokens)

    def refuse(self, got: str, expected: str) -> InvalidInputError:
        """Describe what is wrong with the record.

        :param got: what was found
        :param expected: what is allowed
        :returns: the error, to be raised by the caller
        """
        return InvalidInputError(f"{self.where}: {got}, expected {expected}")


def read_records(path: Path, what: str) -> list[Record]:
    """Read a JSON list of objects, or one object per line.

    :param path: the file; may be packed
    :param what: what the objects are called in messages
    :returns: at least one record
    :raises InvalidInputError: if the file is missing, empty, truncated or malformed; the message names the line
    """
    text = read_text(path)
    if not text.strip():
        raise malformed(path, 1, "an empty file", f"a JSON list of {what}s, or one {what} per line")
    if text.lstrip().startswith("["):
        parsed = _parse(path, text, 1)
        records = [Record(f"{path}, {what} {number}", values) for number, values in enumerate(parsed)]
    else:
        lines = text.rstrip().split("\n")
        records = [Record(f"{path}, line {number}", _parse(path, line, number)) for number, line in enumerate(lines, 1)]
    if not records:
        raise malformed(path, 1, "an empty list", f"at least one {what}")
    for record in records:
        if not isinstance(record.values, dict):
            raise record.refuse(f"got {record.values!r:.80}", f"a {what}, which is a JSON object")
    return records


def _parse(path: Path, text: str, line: int) -> Any:
    """Parse JSON that begins in a line of a file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        found = f"{error.msg} in column {error.colno}"
        raise malformed(
            path, line + error.lineno - 1, f"broken JSON ({found})", "complete JSON; was the file cut off?"
        ) from error
    except RecursionError as error:
        raise malformed(path, line, "JSON that is nested too deeply", "lists of objects") from error
