"""Rows of TSV and Parquet files, checked, as tables of a known number of rows."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import CONTROL

__all__ = ["PACKED", "TEXT_SUFFIXES", "TRIPLE", "read_tables", "refuse_columns"]

#: The columns that a source needs.
TRIPLE = ("head", "relation", "tail")
#: The endings of packed files, and what opens them.
PACKED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
#: The endings of text files.
TEXT_SUFFIXES = (".tsv", ".txt")
_BLOCK, _BATCH = 1 << 24, 1 << 16
_SHOWN = 40  # characters of a text in an error


def refuse_columns(sources: Sequence[Path], taken: Collection[str]) -> None:
    """Raise if sources have columns that the output gets.

    :param sources: the files
    :param taken: the names
    :raises InvalidInputError: if one of them is there
    """
    for path in sources:
        batch = next(_batches(path), None)
        if batch is None:
            continue  # without rows it has no say, and the others have the columns of the first one
        clash = [name for name in batch.schema.names if name in taken]
        if clash:
            raise InvalidInputError(
                f"{path} has the column {clash[0]}, which the output gets. Rename it, or leave it out."
            )
        return


def read_tables(sources: Sequence[Path], shard_rows: int) -> Iterator[Any]:
    """Yield tables of ``shard_rows`` rows, across files; the last one may have fewer.

    :param sources: the files; the first one says in which order columns are
    :param shard_rows: rows per table
    :yields: a :class:`pyarrow.Table`
    :raises InvalidInputError: if a source cannot be read, has other columns than the first, or a part of a triple is
        empty or has a control character
    """
    import pyarrow as pa  # type: ignore[import-untyped]

    schema, kept, size = None, list[Any](), 0
    for path in sources:
        row = 0
        for batch in _batches(path):
            schema = batch.schema if schema is None else schema
            if set(batch.schema.names) == set(schema.names):
                batch = batch.select(schema.names)
            if batch.schema != schema:
                raise InvalidInputError(
                    f"{path} has the columns {_columns(batch.schema)}, expected {_columns(schema)} as in {sources[0]}. "
                    "Give files with the same columns, or run them one after the other."
                )
            _check(batch, path, row)
            row += batch.num_rows
            while batch.num_rows:
                part = batch.slice(0, shard_rows - size)
                kept.append(part)
                batch, size = batch.slice(part.num_rows), size + part.num_rows
                if size == shard_rows:
                    yield pa.Table.from_batches(kept, schema).combine_chunks()
                    kept, size = [], 0
    if size:
        yield pa.Table.from_batches(kept, schema).combine_chunks()


def _columns(schema: Any) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def _check(batch: Any, path: Path, row: int) -> None:
    """Raise if a part of a triple is missing or blank, or has a control character."""
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    for name in TRIPLE:
        column = batch.column(name)
        blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True)
        if pc.any(blank).as_py():
            place = pc.index(blank, True).as_py()
            raise InvalidInputError(
                f"{path}, row {row + place + 1}: the {name} is empty. Give it a text, or leave it out."
            )
        control = pc.match_substring_regex(column, CONTROL)
        if pc.any(control).as_py():
            place = pc.index(control, True).as_py()
            raise InvalidInputError(
                f"{path}, row {row + place + 1}: the {name} {column[place].as_py()[:_SHOWN]!r} has a control character."
                " Replace it by a space, or leave the row out."
            )


def _batches(path: Path) -> Iterator[Any]:
    """Yield record batches of one file."""
    import pyarrow as pa

    suffixes = path.suffixes[-2:] if path.suffix.lower() in PACKED else path.suffixes[-1:]
    kind = suffixes[0].lower() if suffixes else ""
    if kind != ".parquet" and kind not in TEXT_SUFFIXES:
        raise InvalidInputError(f"{path}: expected a file .parquet, .tsv or .txt (.gz, .bz2 and .xz if packed)")
    try:
        yield from (_parquet if kind == ".parquet" else _text)(path)
    except InvalidInputError:
        raise
    except (pa.ArrowException, OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read ({error}). Correct the file, or leave it out.") from error


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        _require(path, file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=_BATCH):
            columns = [
                column.cast(pa.string()) if name in TRIPLE else column
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            ]
            yield pa.record_batch(columns, names=batch.schema.names)


def _require(path: Path, names: list[str]) -> None:
    missing = [name for name in TRIPLE if name not in names]
    if missing or len(set(names)) < len(names):
        wrong = f"has no column {missing[0]}" if missing else "has two columns of one name"
        raise InvalidInputError(f"{path} {wrong}, expected {', '.join(TRIPLE)}, got {', '.join(names)}. Rename them.")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    opener = PACKED.get(path.suffix.lower())
    with path.open("rb") if opener is None else opener(path, "rb") as handle:
        yield handle


def _text(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import csv

    with _opened(path) as handle:
        first = handle.readline().decode("utf-8-sig").rstrip("\r\n").split("\t")
        if first == [""] and not handle.read(_BLOCK).strip():
            return  # an empty file has no rows
    lowered = [name.lower() if name.lower() in TRIPLE else name for name in first]
    header = set(TRIPLE) <= set(lowered)
    if not header and set(TRIPLE) <= {name.strip("\"'").lower() for name in first}:
        raise InvalidInputError(
            f"{path}, line 1: the names of the columns stand in quotes, which are taken as a part of the text. Write "
            "the file without quotes."
        )
    names = lowered if header else list(TRIPLE)
    _require(path, names)
    if len(first) != len(names):
        raise InvalidInputError(
            f"{path}, line 1: got {len(first)} columns, expected head, relation and tail separated by tabs, or a line "
            "that names the columns"
        )
    with _opened(path) as handle:
        reader = csv.open_csv(
            pa.PythonFile(handle, mode="r"),
            read_options=csv.ReadOptions(
                column_names=names, skip_rows=int(header), block_size=_BLOCK, use_threads=False
            ),
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False, double_quote=False),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
        yield from reader
