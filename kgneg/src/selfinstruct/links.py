"""From the files of a run to training: kept negatives for the sampler ``given``.

Scores of a run as loss weights: :meth:`kgneg.integrations.pykeen.VerdictWeighter.from_run`. The filter as a judge over
what a sampler proposes: :class:`~kgneg.selfinstruct.guard.FilterRule`.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.core.shard_files import column_batches
from kgneg.core.storage import atomic_path
from kgneg.selfinstruct.decisions import ACTIONS
from kgneg.selfinstruct.run_report import check_finished
from kgneg.selfinstruct.sources import TRIPLE, find_sources

__all__ = ["check_kept", "write_kept"]


def _shards(decided: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the shards that are meant; raise if they are of a run that is not through."""
    given = [decided] if isinstance(decided, str | Path) else list(decided)
    wide = [str(Path(glob.escape(str(one))) / "*.parquet") if Path(one).is_dir() else one for one in given]
    found = [path for path in find_sources(wide) if path.name[0] not in "._"]
    for folder in dict.fromkeys([*(Path(one) for one in given), *(path.parent for path in found)]):
        if (folder / "_input").is_dir():
            check_finished(folder)
    return found


def check_kept(path: str | Path) -> None:
    """Refuse a name that :func:`write_kept` cannot use, before the work is done whose result goes there.

    :param path: the file
    :raises InvalidInputError: if it has another ending, or is a folder
    """
    path = Path(path)
    if path.suffix not in (".tsv", ".parquet"):
        raise InvalidInputError(f"{path} must end in .tsv or .parquet")
    if path.is_dir():
        raise InvalidInputError(f"{path} is a folder. Give the name of a file.")


def write_kept(
    decided: str | Path | Sequence[str | Path], path: str | Path, *, actions: Sequence[str] = ("keep",)
) -> int:
    """Write the triples that a run has kept as one file, which the sampler ``given`` reads; it is empty if none was.

    :param decided: the folder of a run that is through, or some of its shards
    :param path: a file that ends in ``.tsv``, three columns without a header, or in ``.parquet``
    :param actions: which actions are written
    :returns: the number of triples
    :raises InvalidInputError: if the run is not through, the file has another ending, or a text cannot stand in a TSV
        file
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.compute as pc  # type: ignore[import-untyped]
    from pyarrow import parquet

    path = Path(path)
    check_kept(path)
    wrong = [action for action in actions if action not in ACTIONS]
    if wrong or isinstance(actions, str):
        raise InvalidInputError(f"actions must be a list of {', '.join(ACTIONS)}, got {actions!r}")
    shards = _shards(decided)
    schema = pa.schema([(name, pa.string()) for name in TRIPLE])
    wanted, count = pa.array(list(actions), pa.string()), 0
    with atomic_path(path) as temporary:
        sink = temporary.open("w", encoding="utf-8", newline="\n") if path.suffix == ".tsv" else None
        writer = None if sink is not None else parquet.ParquetWriter(temporary, schema)
        try:
            for _, batch in column_batches(shards, (*TRIPLE, "action")):
                chosen = batch.filter(pc.is_in(batch.column("action"), value_set=wanted)).select(list(TRIPLE))
                count += chosen.num_rows
                if sink is not None:
                    sink.writelines(_lines(chosen))
                elif writer is not None:
                    writer.write_batch(chosen.cast(schema))
        finally:
            (sink or writer).close()  # type: ignore[union-attr]
    return count


def _lines(batch: Any) -> Iterator[str]:
    for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
        line = "\t".join(row)
        if line.count("\t") != len(TRIPLE) - 1 or not {"\n", "\r", "\0"}.isdisjoint(line):
            raise InvalidInputError(f"the triple {row!r} cannot be written to a TSV file; let the name end in .parquet")
        yield line + "\n"
