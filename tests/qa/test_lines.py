"""Files of a JSON object a line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.qa.lines import read_json_lines


@pytest.mark.parametrize("packed", [False, True])
def test_lines(packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    content = '\ufeff{"a": " é "}\n\n{"a": ["b", "c "]}\n'.encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    first, second = read_json_lines(path)
    assert (first.number, first.text("a"), second.number, second.texts("a")) == (1, "é", 3, ["b", "c"])
    with pytest.raises(InvalidInputError, match=r"line 3: got a .*, expected a text"):
        second.text("a")
    with pytest.raises(InvalidInputError, match=r"line 1: got b None, expected a list"):
        first.texts("b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a": \n', "line 2: no JSON"),
        (b"[1]\n", "line 1: got list, expected a JSON object"),
        (b'{"a": 1}\n\xff\xfe\n', "no text in UTF-8"),
        (gzip.compress(b'{"a": 1}\n' * 50, mtime=0)[:-12], "the packed file is damaged"),
        (gzip.compress(b'{"a": 1}\n' * 500, mtime=0)[:10] + b"\xff" * 40, "the packed file is damaged"),
        (b"[" * 100_000, "line 1: no JSON"),
    ],
)
def test_broken_lines(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=message):
        list(read_json_lines(path))
    with pytest.raises(InvalidInputError, match="there is no file"):
        list(read_json_lines(tmp_path / "b.jsonl"))
