"""Read triples, texts and types from tables of text."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from kgneg.core.errors import InvalidInputError
from kgneg.datasets._files import LabelArray, malformed, read_columns, read_lines

__all__ = ["read_labelled_triples", "read_texts", "read_triples", "read_types"]

_PARQUET_COLUMNS = ("head", "relation", "tail")
_ID_COLUMNS = frozenset({"id", "entity"})
_TEXT_COLUMNS = frozenset({"name", "description", "text"})


def read_triples(path: str | os.PathLike[str]) -> LabelArray:
    r"""Read triples of labels.

    A text file has one triple a line, three non-empty columns separated by tabs, and no header. Quotation marks have
    no meaning, a label ``NA`` is a label, and nothing is skipped: a line that is no triple is an error.

    :param path: a text file in UTF-8 (``.gz``, ``.bz2`` or ``.xz`` if packed), or a ``.parquet`` file with the text
        columns ``head``, ``relation`` and ``tail``
    :returns: shape: (m, 3), dtype: object, the labels in the order of the file
    :raises InvalidInputError: if the file is missing, empty, truncated or malformed; the message names the line

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "train.tsv")
    ...     _ = path.write_text("lion\teats\tzebra\n", encoding="utf-8")
    ...     read_triples(path).tolist()
    [['lion', 'eats', 'zebra']]
    """
    path = Path(path)
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    return read_columns(path, 3)


def read_labelled_triples(path: str | os.PathLike[str]) -> tuple[LabelArray, LabelArray]:
    r"""Read triples with a fourth column that says whether they are true.

    :param path: a text file as for :func:`read_triples`, with a fourth column ``1`` (true) or ``-1`` (false)
    :returns: shapes: (m, 3) and (n, 3), dtype: object, the true and the false triples, each in the order of the file
    :raises InvalidInputError: as :func:`read_triples`, or if a label is neither ``1`` nor ``-1``

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "test_labelled.tsv")
    ...     _ = path.write_text("lion\teats\tzebra\t1\nzebra\teats\tlion\t-1\n", encoding="utf-8")
    ...     read_labelled_triples(path)[1].tolist()
    [['zebra', 'eats', 'lion']]
    """
    path = Path(path)
    table = read_columns(path, 4)
    true, false = table[:, 3] == "1", table[:, 3] == "-1"
    wrong = np.flatnonzero(~(true | false))
    if wrong.size:
        raise malformed(path, int(wrong[0]) + 1, f"the label {table[wrong[0], 3]!r}", "1 or -1 in the fourth column")
    return table[true, :3], table[false, :3]


def read_texts(path: str | os.PathLike[str], *, description: bool = True) -> dict[str, str]:
    r"""Read the texts of entities or relations.

    With a header, the first column is called ``id`` or ``entity``, and the text is ``name, description`` where both
    are there, else the one that is there. ``text`` is another name of the column ``description``; further columns
    are ignored. Without a header, there are two columns, label and text. An empty text is no text.

    :param path: a text file in UTF-8, columns separated by tabs, packed or not
    :param description: whether to append the description to the name; without it, the description is read only where
        the file has no column ``name``
    :returns: the text of each label that has one
    :raises InvalidInputError: if the file is missing or malformed, or gives a label two texts; the message names
        the line

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "entities.tsv")
    ...     _ = path.write_text("id\tname\tdescription\nQ140\tlion\tbig cat\n", encoding="utf-8")
    ...     read_texts(path), read_texts(path, description=False)
    ({'Q140': 'lion, big cat'}, {'Q140': 'lion'})
    """
    path = Path(path)
    lines = read_lines(path)
    header = lines[0].split("\t")
    has_header = header[0] in _ID_COLUMNS and not _TEXT_COLUMNS.isdisjoint(header[1:])
    if not has_header and len(header) != 2:
        raise malformed(
            path,
            1,
            f"{len(header)} columns ({', '.join(repr(name) for name in header[:6])})",
            "two columns (label, text), or a header with 'id' or 'entity' first and then 'name', 'description' or "
            "'text'",
        )
    columns = _text_columns(header, description) if has_header else [1]
    first_of: dict[str, int] = {}
    texts: dict[str, str] = {}
    for number, line in enumerate(lines[has_header:], start=1 + has_header):
        fields = line.split("\t")
        if len(fields) != len(header):
            raise malformed(path, number, f"{len(fields)} columns", f"{len(header)} columns separated by tabs")
        label = fields[0]
        if not label.strip():
            raise malformed(path, number, "an empty label in column 1", "a label")
        text = ", ".join(part for part in (fields[column].strip() for column in columns) if part)
        if not text:
            continue
        if texts.setdefault(label, text) != text:
            raise malformed(path, number, f"a second text for {label!r}", f"the text of line {first_of[label]} or none")
        first_of.setdefault(label, number)
    return texts


def read_types(path: str | os.PathLike[str]) -> tuple[tuple[str, str], ...]:
    r"""Read pairs of an entity and one of its types.

    :param path: a text file in UTF-8 with two non-empty columns separated by a tab; a first line ``entity``, ``type``
        is a header
    :returns: (entity label, type label) in the order of the file
    :raises InvalidInputError: if the file is missing or malformed; the message names the line

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "entity_types.tsv")
    ...     _ = path.write_text("entity\ttype\nlion\tcat\n", encoding="utf-8")
    ...     read_types(path)
    (('lion', 'cat'),)
    """
    pairs = [(str(entity), str(kind)) for entity, kind in read_columns(Path(path), 2).tolist()]
    return tuple(pairs[1:] if pairs[0] == ("entity", "type") else pairs)


def _text_columns(header: list[str], description: bool) -> list[int]:
    """Find the columns that make the text, in the order in which they are joined."""
    names = [header.index("name", 1)] if "name" in header[1:] else []
    wanted = [] if names and not description else [name for name in ("description", "text") if name in header[1:]]
    return names + [header.index(name, 1) for name in wanted[:1]]


def _read_parquet(path: Path) -> LabelArray:
    """Read triples from the columns head, relation and tail."""
    import pandas as pd

    if not path.is_file():
        raise InvalidInputError(f"{path}: {'got a folder, expected a file' if path.is_dir() else 'no such file'}")
    try:
        frame = pd.read_parquet(path)
    except (ValueError, OSError) as error:  # pyarrow's errors are one or the other
        raise InvalidInputError(f"{path}: cannot be read as Parquet ({error})") from error
    missing = [name for name in _PARQUET_COLUMNS if name not in frame.columns]
    if missing:
        raise InvalidInputError(
            f"{path}: the columns {missing} are missing, expected {list(_PARQUET_COLUMNS)}, got {list(frame.columns)}"
        )
    if frame.empty:
        raise InvalidInputError(f"{path}: got a table without rows, expected at least one triple")
    table = frame[list(_PARQUET_COLUMNS)].to_numpy(dtype=object)
    for column, name in enumerate(_PARQUET_COLUMNS):
        for row, label in enumerate(table[:, column].tolist(), start=1):
            if not isinstance(label, str) or not label.strip():
                raise InvalidInputError(f"{path}, row {row}: got {label!r} as {name}, expected non-empty text")
    return table
