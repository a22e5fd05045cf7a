"""Triples in files of any size, cut into Parquet shards of a known number of rows."""

from __future__ import annotations

import glob
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.core.shard_files import file_hash
from kgneg.core.storage import atomic_path, writing
from kgneg.core.validation import validate_count
from kgneg.selfinstruct.claim import kind_of
from kgneg.selfinstruct.tables import PACKED, TEXT_SUFFIXES, TRIPLE, read_tables

__all__ = ["TRIPLE", "check_plan", "cut", "find_sources", "read_plan", "shard_name"]

_PLAN, _REPORT = "plan.json", "report.json"
_VERSION = 3


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
    :raises InvalidInputError: if one of them stands for no file, a folder has text files beside Parquet files, or files
        are of a deduplication that is not through
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
    for folder in dict.fromkeys(path.parent for path in found):
        if kind_of(folder) == "dedup" and not (folder / _REPORT).is_file():
            raise InvalidInputError(f"the deduplication in {folder} is not through. Repeat its call first.")
    once: dict[Path, Path] = {}
    for path in found:
        once.setdefault(path.resolve(), path)
    return list(once.values())


def _of_folder(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder; raise if there are text files with triples, too."""
    files = sorted(file for file in folder.iterdir() if file.name[0] not in "._" and file.is_file())
    packed = [(file, file.with_suffix("") if file.suffix.lower() in PACKED else file) for file in files]
    texts = [file for file, name in packed if name.suffix.lower() in TEXT_SUFFIXES]
    tables = [file for file in files if file.suffix == ".parquet"]
    if texts and tables:
        raise InvalidInputError(
            f"{folder} holds files of several kinds, such as {tables[0].name} and {texts[0].name}. Say which: give "
            f"files or a pattern such as {folder / '*.parquet'}."
        )
    return tables


def cut(sources: Sequence[Path], folder: str | Path, shard_rows: int, *, outdated: Sequence[Path] = ()) -> list[Path]:
    """Write the rows of all sources, in order, as Parquet shards; do nothing if that was done before.

    A text file has a head, a relation and a tail in each line, separated by tabs, or a first line that names the
    columns, in capitals or not. Quotes are a part of the text. A Parquet file has text columns ``head``, ``relation``
    and ``tail``. Further columns are kept; then all sources must have the same, in any order. At no time more than a
    shard is in memory.

    :param sources: the files, packed or not
    :param folder: where the shards go
    :param shard_rows: rows per shard; the last one may have fewer
    :param outdated: files that tell of earlier shards; they are removed before the first shard is replaced
    :returns: the shards
    :raises InvalidInputError: if a source cannot be read, a part of a triple is empty or has a control character, or
        the columns are others than those of the first source
    """
    import pyarrow as pa  # type: ignore[import-untyped]

    folder = Path(folder)
    validate_count("shard_rows", shard_rows)
    plan = {
        "version": _VERSION,
        "shard_rows": shard_rows,
        "sources": [{"name": path.name, "bytes": path.stat().st_size, "hash": file_hash(path)} for path in sources],
    }
    done = read_plan(folder)
    if done is not None and {name: done.get(name) for name in plan} == plan:
        shards = [folder / shard_name(number) for number in range(done["shards"])]
        if all(shard.is_file() for shard in shards):
            return shards
    for old in outdated:
        old.unlink(missing_ok=True)
    if done is not None:  # else another job may have written the same plan just now
        (folder / _PLAN).unlink(missing_ok=True)
    rows, hashes = 0, dict[str, str]()
    for table in read_tables(sources, shard_rows):
        hashes |= _write(table, folder / shard_name(len(hashes)))
        rows += table.num_rows
    if not hashes:  # sources without rows
        empty = pa.table({name: pa.array([], pa.string()) for name in TRIPLE})
        hashes = _write(empty, folder / shard_name(0))
    for old in folder.glob("part-*.parquet"):
        if old.name not in hashes:
            old.unlink(missing_ok=True)
    with writing(folder / _PLAN), atomic_path(folder / _PLAN) as temporary:
        found = {**plan, "shards": len(hashes), "rows": rows, "hashes": hashes}
        temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return [folder / name for name in hashes]


def _write(table: Any, path: Path) -> dict[str, str]:
    """Write a shard; return its name and its hash."""
    from pyarrow import parquet

    with writing(path), atomic_path(path) as temporary:
        parquet.write_table(table, temporary)
        return {path.name: file_hash(temporary)}


def read_plan(folder: str | Path) -> dict[str, Any] | None:
    """Return what :func:`cut` has noted.

    :param folder: the folder of the shards
    :returns: among others ``rows``, and ``hashes``, the hash of each shard by its name; ``None`` if there is no note
    """
    try:
        plan = json.loads((Path(folder) / _PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return plan if isinstance(plan, dict) and "hashes" in plan else None


def check_plan(folder: Path, plan: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what has been cut.

    :param folder: the folder of the shards
    :param plan: what there should be; ``None``: anything
    :returns: from :func:`read_plan`
    :raises InvalidInputError: if it is something else, as another job works in the same folder
    """
    found = read_plan(folder)
    if found is None or (plan is not None and found != plan):
        raise InvalidInputError(
            f"another job has cut another input into {folder} in the meantime. Give each input a folder of its own, "
            "and repeat the call."
        )
    return found
