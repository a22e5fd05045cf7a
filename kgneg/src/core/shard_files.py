"""Parquet shards on disk: which there are, what is in them, and the notes about the finished ones."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kgneg.core.errors import InvalidInputError

__all__ = [
    "MANIFEST",
    "Shard",
    "column_batches",
    "file_hash",
    "find_shards",
    "finished_notes",
    "plan_shards",
    "read_manifest",
    "tidy",
]

logger = logging.getLogger(__name__)

#: The folder beside the output shards that holds one note per finished shard. Readers of Parquet folders skip it.
MANIFEST = "_manifest"
_ABANDONED = 24 * 3600.0  # seconds after which a temporary file is taken for that of a killed run


def file_hash(path: Path) -> str:
    """Return a hash of the bytes of a file.

    :param path: the file
    :returns: 32 hexadecimal digits
    """
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, functools.partial(hashlib.blake2b, digest_size=16)).hexdigest()


class Shard(NamedTuple):
    """A piece of the input, and where the result goes."""

    #: the Parquet file
    source: Path
    #: a range of its row groups; ``None`` is the whole file
    groups: tuple[int, int] | None
    #: the file to write
    output: Path

    @property
    def note(self) -> Path:
        """The file that says that the output is finished."""
        return self.output.parent / MANIFEST / f"{self.output.name}.json"

    def content(self) -> str:
        """Return a hash of the bytes of the input.

        :returns: 32 hexadecimal digits
        """
        if self.groups is None:
            return file_hash(self.source)
        from pyarrow import parquet  # type: ignore[import-untyped]

        digest = hashlib.blake2b(digest_size=16)
        with parquet.ParquetFile(self.source) as file, self.source.open("rb") as handle:
            digest.update(str(file.schema_arrow).encode())
            for group in range(*self.groups):
                whole = file.metadata.row_group(group)
                for column in map(whole.column, range(whole.num_columns)):
                    offsets = column.dictionary_page_offset, column.data_page_offset
                    handle.seek(min(offset for offset in offsets if offset is not None))
                    digest.update(handle.read(column.total_compressed_size))
        return digest.hexdigest()

    def read(self) -> Any:
        """Return the input.

        :returns: a :class:`pyarrow.Table`
        """
        from pyarrow import parquet

        with parquet.ParquetFile(self.source) as file:
            if not file.num_row_groups:  # which older versions of pyarrow cannot read
                return file.schema_arrow.empty_table()
            return file.read() if self.groups is None else file.read_row_groups(list(range(*self.groups)))

    def finished(self, content: str, key: str) -> bool:
        """Return whether the output is there, complete, and made of this input by this function.

        :param content: from :meth:`content`
        :param key: what stands for the function
        :returns: whether there is nothing to do
        """
        note = _read_note(self.note)
        if note is None or (note.get("input_hash"), note.get("key")) != (content, key):
            return False
        return self.output.is_file() and self.output.stat().st_size == note.get("bytes")


def column_batches(paths: Sequence[Path], columns: Sequence[str]) -> Iterator[tuple[Path, Any]]:
    """Yield record batches of some columns of shards, file by file.

    :param paths: Parquet files
    :param columns: their names
    :yields: the file, and a :class:`pyarrow.RecordBatch`
    :raises InvalidInputError: if a file lacks a column
    """
    from pyarrow import parquet

    for path in paths:
        with parquet.ParquetFile(path) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise InvalidInputError(f"{path} has no column {missing[0]}. Give the folder that a run has written.")
            for batch in file.iter_batches(columns=list(columns)):
                yield path, batch


def find_shards(inputs: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the Parquet files of a folder by name, or the given files as they stand.

    :param inputs: a folder, a file, or files; names that begin with a dot or an underscore are skipped in a folder
    :returns: absolute paths
    :raises InvalidInputError: if there are none, or one does not exist
    """
    paths = [Path(inputs)] if isinstance(inputs, str | Path) else [Path(path) for path in inputs]
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        paths = sorted(path for path in folder.glob("*.parquet") if path.name[0] not in "._")
        if not paths:
            raise InvalidInputError(f"the folder {folder} holds no file *.parquet")
    missing = [str(path) for path in paths if not path.is_file()]
    if missing or not paths:
        raise InvalidInputError(f"these input files do not exist: {', '.join(missing) or 'none were given'}")
    return [path.absolute() for path in paths]


def plan_shards(paths: Sequence[Path], output: Path, row_groups: int | None) -> list[Shard]:
    """Cut files into shards, each with an output name of its own.

    :param paths: the input files
    :param output: the folder of the outputs
    :param row_groups: row groups per shard; ``None`` takes whole files
    :returns: the shards, in the order of the files
    :raises InvalidInputError: if two would have the same output, or an output would overwrite its input
    """
    from pyarrow import parquet

    shards = []
    for path in paths:
        if row_groups is None:
            shards.append(Shard(path, None, output / f"{path.stem}.parquet"))
            continue
        number = parquet.read_metadata(path).num_row_groups
        for begin in range(0, max(number, 1), row_groups):
            groups = begin, min(begin + row_groups, number)
            shards.append(Shard(path, groups, output / f"{path.stem}-{begin:06d}.parquet"))
    owners: dict[Path, Path] = {}
    for shard in shards:
        if shard.output in owners:
            raise InvalidInputError(
                f"{owners[shard.output]} and {shard.source} would both be written to {shard.output}: give input files "
                "with different names, each once, or write to two folders"
            )
        if shard.output.resolve() == shard.source.resolve():
            raise InvalidInputError(f"{shard.source} would be overwritten by its own output: give another folder")
        owners[shard.output] = shard.source
    return shards


def tidy(shards: Sequence[Shard], output: Path) -> None:
    """Remove the temporary files of runs killed long ago, and warn of shards that are not of these inputs.

    :param shards: all shards of the inputs
    :param output: the folder of the outputs
    """
    expected = {shard.output.name for shard in shards}
    strangers = []
    for path in sorted(output.glob("*.parquet")):
        if path.name[0] not in "._" and path.name not in expected:
            strangers.append(path.name)
    for path in output.glob(".*.parquet"):
        if path.exists() and time.time() - path.stat().st_mtime > _ABANDONED:
            path.unlink(missing_ok=True)
    if strangers:
        logger.warning(
            "%s holds %d shards that are not of these inputs, such as %s: delete them if they are left over",
            output,
            len(strangers),
            strangers[0],
        )


def _read_note(path: Path) -> dict[str, Any] | None:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def read_manifest(output: str | Path) -> list[dict[str, Any]]:
    """Return the notes about the finished shards of a folder.

    :param output: the folder of the output shards
    :returns: one dictionary per shard, by name: ``output``, ``input``, ``row_groups``, ``input_hash``, ``key``,
        ``rows_in``, ``rows_out``, ``bytes``, ``seconds``
    :raises InvalidInputError: if a note is damaged
    """
    notes = []
    for path in sorted((Path(output) / MANIFEST).glob("*.json")):
        if path.name[0] == ".":
            continue  # being written
        note = _read_note(path)
        if note is None:
            raise InvalidInputError(f"{path} is no complete note: delete it, and the shard is computed again")
        notes.append(note)
    return notes


def finished_notes(output: str | Path, hashes: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the notes that hold: their outputs are there, whole, and made of the inputs that are meant.

    :param output: the folder of the output shards
    :param hashes: name of an output -> hash of its input
    :returns: name of an output -> its note
    """
    found = {}
    for note in read_manifest(output):
        name, path = note["output"], Path(output) / note["output"]
        if hashes.get(name) == note["input_hash"] and path.is_file() and path.stat().st_size == note["bytes"]:
            found[name] = note
    return found
