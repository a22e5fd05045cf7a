"""Triples in files of any size, cut into Parquet shards of a known number of rows."""

from __future__ import annotations

import bz2
import functools
import glob
import gzip
import hashlib
import json
import lzma
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.core.validation import validate_count

__all__ = ["TRIPLE", "cut", "find_sources", "shard_name"]

#: The columns that a source needs.
TRIPLE = ("head", "relation", "tail")
_PLAN = "plan.json"
_VERSION = 2
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_TEXT_SUFFIXES = (".tsv", ".txt")
_BLOCK, _BATCH = 1 << 24, 1 << 16


def shard_name(number: int) -> str:
    """Return the file name of a shard.

    :param number: from 0
    :returns: a name; names sort as numbers do

    >>> shard_name(7)
    'part-000007.parquet'
    """
    return f"part-{number:06d}.parquet"


def find_sources(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the files that are meant.

    :param source: files, folders (their Parquet files), or patterns such as ``data/*.tsv.gz``; one or several
    :returns: the files, those of a folder or pattern by name; a file that is given twice is there once
    :raises InvalidInputError: if one of them stands for no file, or a folder has text files beside Parquet files
    """
    given = [source] if isinstance(source, str | Path) else list(source)
    found: list[Path] = []
    for one in given:
        path = Path(one)
        if path.is_dir():
            files = _of_folder(path)
        elif path.exists():
            files = [path]
        else:
            names = glob.glob(str(one), recursive=True)  # noqa: PTH207 -- patterns may be absolute
            files = sorted(Path(name) for name in names if Path(name).is_file())
        if not files:
            raise InvalidInputError(f"{one} stands for no file. Give files, patterns, or folders of Parquet files.")
        found += files
    if not found:
        raise InvalidInputError("no sources were given. Name a file.")
    once: dict[Path, Path] = {}
    for path in found:
        once.setdefault(path.resolve(), path)
    return list(once.values())


def _of_folder(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder; raise if there are text files with triples, too."""
    files = sorted(file for file in folder.iterdir() if file.name[0] not in "._" and file.is_file())
    packed = [(file, file.with_suffix("") if file.suffix.lower() in _OPENERS else file) for file in files]
    texts = [file for file, name in packed if name.suffix.lower() in _TEXT_SUFFIXES]
    tables = [file for file in files if file.suffix == ".parquet"]
    if texts and tables:
        raise InvalidInputError(
            f"{folder} holds files of several kinds, such as {tables[0].name} and {texts[0].name}. Say which: give "
            f"files or a pattern such as {folder / '*.parquet'}."
        )
    return tables


def cut(sources: Sequence[Path], folder: str | Path, shard_rows: int) -> list[Path]:
    """Write the rows of all sources, in order, as Parquet shards; do nothing if that was done before.

    A text file has a head, a relation and a tail in each line, separated by tabs, or a first line that names the
    columns, in capitals or not. A Parquet file has text columns ``head``, ``relation`` and ``tail``. Further columns
    are kept; then all sources must have the same. At no time more than a shard is in memory.

    :param sources: the files, packed or not
    :param folder: where the shards go
    :param shard_rows: rows per shard; the last one may have fewer
    :returns: the shards
    :raises InvalidInputError: if a source cannot be read, has an empty part, or other columns than the first
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    folder = Path(folder)
    validate_count("shard_rows", shard_rows)
    plan = {
        "version": _VERSION,
        "shard_rows": shard_rows,
        "sources": [{"name": path.name, "bytes": path.stat().st_size, "hash": _hash(path)} for path in sources],
    }
    done = _read_plan(folder)
    if done is not None and {name: done.get(name) for name in plan} == plan:
        shards = [folder / shard_name(number) for number in range(done["shards"])]
        if all(shard.is_file() for shard in shards):
            return shards
    (folder / _PLAN).unlink(missing_ok=True)
    number = rows = 0
    shards = []
    for table in _tables(sources, shard_rows):
        shards.append(folder / shard_name(number))
        with atomic_path(shards[-1]) as temporary:
            parquet.write_table(table, temporary)
        number, rows = number + 1, rows + table.num_rows
    if not shards:  # sources without rows
        shards = [folder / shard_name(0)]
        with atomic_path(shards[0]) as temporary:
            parquet.write_table(pa.table({name: pa.array([], pa.string()) for name in TRIPLE}), temporary)
    for old in folder.glob("part-*.parquet"):
        if old not in shards:
            old.unlink(missing_ok=True)
    with atomic_path(folder / _PLAN) as temporary:
        temporary.write_text(json.dumps({**plan, "shards": len(shards), "rows": rows}, indent=1), encoding="utf-8")
    return shards


def _hash(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, functools.partial(hashlib.blake2b, digest_size=16)).hexdigest()


def _read_plan(folder: Path) -> dict[str, Any] | None:
    try:
        plan = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return plan if isinstance(plan, dict) else None


def _tables(sources: Sequence[Path], shard_rows: int) -> Iterator[Any]:
    """Yield tables of ``shard_rows`` rows, across files."""
    import pyarrow as pa

    schema, kept, size = None, list[Any](), 0
    for path in sources:
        row = 0
        for batch in _batches(path):
            schema = batch.schema if schema is None else schema
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
    """Raise if a part of a triple is missing or blank."""
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    for name in TRIPLE:
        blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(batch.column(name)), ""), True)
        if pc.any(blank).as_py():
            place = pc.index(blank, True).as_py()
            raise InvalidInputError(
                f"{path}, row {row + place + 1}: the {name} is empty. Give it a text, or leave it out."
            )


def _batches(path: Path) -> Iterator[Any]:
    """Yield record batches of one file."""
    import pyarrow as pa

    suffixes = path.suffixes[-2:] if path.suffix.lower() in _OPENERS else path.suffixes[-1:]
    kind = suffixes[0].lower() if suffixes else ""
    if kind != ".parquet" and kind not in _TEXT_SUFFIXES:
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
    opener = _OPENERS.get(path.suffix.lower())
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
