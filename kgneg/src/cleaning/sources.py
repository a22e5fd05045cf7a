"""Which files an input is made of, and what is in them."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.datasets import unique_titles

__all__ = ["RELATION_NAMES", "JsonFile", "Source", "document_names", "read_plain", "read_relation_names", "write_plain"]

#: In a folder in the format of DocRED, the file of the names of relations.
RELATION_NAMES = "rel_info.json"

_PACKED = (".gz", ".bz2", ".xz")
_TABLES = (".csv", ".tsv", ".parquet")
_JSON = (".json", ".jsonl")
_CHUNK = 1 << 20
#: A field that only records of a format have.
_MARKS = {"docred": "vertexSet", "tacred": "subj_start"}


class JsonFile(NamedTuple):
    """The records of a JSON file.

    :param records: a list of objects
    :param lines: whether the file has an object per line, not one list
    """

    records: list[Any]
    lines: bool

    @classmethod
    def read(cls, path: Path) -> JsonFile:
        """Read a file.

        :param path: the file, packed or not
        :returns: its records
        :raises InvalidInputError: if it is missing, truncated or no JSON
        """
        text = read_plain(path)
        lines = not text.lstrip().startswith("[")
        try:
            return cls([json.loads(line) for line in text.rstrip().split("\n")] if lines else json.loads(text), lines)
        except json.JSONDecodeError as error:
            raise InvalidInputError(
                f"{path}: broken JSON ({error.msg}), expected a list of objects, or one object per line; was the file "
                "cut off?"
            ) from error

    def text(self, records: Sequence[Any]) -> str:
        """Spell records in the manner of this file, one per line.

        :param records: the records
        :returns: a JSON list, or lines
        """
        spelled = [json.dumps(record, ensure_ascii=False) for record in records]
        if self.lines:
            return "".join(f"{record}\n" for record in spelled)
        return "[\n" + ",\n".join(spelled) + "\n]\n" if spelled else "[]\n"


class Source(NamedTuple):
    """An input.

    :param path: the file or folder
    :param files: the files; of a folder those that are read, by name
    :param format: ``"vectors"``, ``"docred"`` or ``"tacred"``
    """

    path: Path
    files: tuple[Path, ...]
    format: str

    @classmethod
    def find(cls, path: str | Path, format: str = "auto") -> Source:
        """Find the files of an input and its format.

        :param path: a file, or a folder of JSON files
        :param format: the format, or ``"auto"``
        :returns: the source
        :raises InvalidInputError: if there is no such file, or its format cannot be told
        """
        path = Path(path)
        if not path.exists():
            raise InvalidInputError(f"{path}: no such file")
        files: tuple[Path, ...] = (path,)
        if path.is_dir():
            named = [one for one in sorted(path.iterdir()) if _kind(one) in _JSON and not one.name.startswith(".")]
            files = tuple(one for one in named if one.name != RELATION_NAMES and one.is_file())
            if not files:
                raise InvalidInputError(f"{path}: a folder without JSON files; name a file, or another folder")
        kind = _kind(files[0])
        if kind in _TABLES:
            if format not in ("auto", "vectors"):
                raise InvalidInputError(f"{path}: {kind} is a table of vectors, but format is {format!r}")
            return cls(path, files, "vectors")
        if format == "vectors":
            raise InvalidInputError(f"{path}: {kind or 'no suffix'!r} is no table; expected .csv, .tsv or .parquet")
        return cls(path, files, _json_format(files[0]) if format == "auto" else format)

    def fingerprint(self) -> str:
        """Return a hash of the contents of the files, and of their names if they are several."""
        digest = hashlib.blake2b(digest_size=16)
        for file in self.files:
            own = hashlib.blake2b(digest_size=16)
            with file.open("rb") as handle:
                while chunk := handle.read(_CHUNK):
                    own.update(chunk)
            digest.update((file.name if self.path.is_dir() else "").encode() + b"\0" + own.digest())
        return digest.hexdigest()


def read_plain(path: Path) -> str:
    """Read a text, unpacked by its suffix.

    :param path: the file
    :returns: the text without byte order mark; line ends are as they are
    :raises InvalidInputError: if it is missing, truncated or no UTF-8
    """
    unpack = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}.get(path.suffix.lower(), bytes)
    try:
        return unpack(path.read_bytes()).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InvalidInputError(f"{path}: no such file") from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise InvalidInputError(f"{path}: no complete UTF-8 text ({error}); was the file cut off?") from error


def write_plain(path: Path, text: str) -> None:
    """Write a text, packed by its suffix; it replaces an older file when it is complete.

    :param path: the file
    :param text: the text
    """
    data = text.encode()
    suffix = path.suffix.lower()
    if suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    elif suffix in (".bz2", ".xz"):
        data = bz2.compress(data) if suffix == ".bz2" else lzma.compress(data)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def read_relation_names(source: Source, path: str | None) -> dict[str, str]:
    """Read the names of relations.

    :param source: the input; a folder may have a file of its own
    :param path: a JSON object of ids and names, or ``None``
    :returns: the names by id; nothing if there is no file
    :raises InvalidInputError: if the file is no such object
    """
    own = source.path / RELATION_NAMES
    file = Path(path) if path is not None else own if source.format == "docred" and own.is_file() else None
    if file is None:
        return {}
    try:
        names = json.loads(read_plain(file))
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"{file}: broken JSON ({error})") from error
    if not isinstance(names, Mapping) or not all(isinstance(name, str) for name in names.values()):
        raise InvalidInputError(f"{file}: expected a JSON object of relation ids and their names")
    return dict(names)


def document_names(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a name for each document: its title, and after a title that is repeated the number of the document.

    :param documents: documents with ``title``
    :returns: a name each, no two the same
    """
    return unique_titles([str(document.get("title")) for document in documents])


def _kind(path: Path) -> str:
    """Return the suffix of the format, without that of the compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _json_format(path: Path) -> str:
    """Tell the format by the first record."""
    records = JsonFile.read(path).records
    first = records[0] if records else None
    if isinstance(first, Mapping):
        for format, mark in _MARKS.items():
            if mark in first:
                return format
    raise InvalidInputError(
        f"{path}: the first record has neither {_MARKS['docred']!r} (DocRED) nor {_MARKS['tacred']!r} (TACRED); "
        "name the format"
    )
