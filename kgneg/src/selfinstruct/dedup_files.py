"""Deduplication of files of any size: groups are gathered in parts, and the rows that stay are written in order."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError
from kgneg.core.shard_files import find_shards
from kgneg.core.shards import map_shards
from kgneg.core.storage import atomic_path, writing
from kgneg.core.validation import validate_count
from kgneg.selfinstruct.backends import engine
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.claim import claim
from kgneg.selfinstruct.dedup import Deduplicator
from kgneg.selfinstruct.dedup_text import normalise
from kgneg.selfinstruct.duplicates import REASONS, Duplicates
from kgneg.selfinstruct.sources import TRIPLE, check_plan, cut, find_sources, shard_name
from kgneg.selfinstruct.tables import refuse_columns

__all__ = ["deduplicate_files"]

_INPUT, _PARTS, _VERDICTS, _REMOVED = "_input", "_parts", "_verdicts", "_removed"
_OPEN = 128  # files that are written at once
_PLAN, _ROW, _CODE, _FIRST = "plan.json", "_row", "code", "first"
_ADDED = ("reason", "row", "repeats")
_REPORT = "report.json"


class _Find:
    """The function of a part: finds the repetitions within its groups."""

    def __init__(self, deduplicator: Deduplicator) -> None:
        self.deduplicator = deduplicator
        self.fingerprint = deduplicator.fingerprint()

    def __call__(self, table: Any) -> Any:
        """Find repetitions.

        :param table: triples and their row numbers, in order
        :returns: row numbers, codes, and the row numbers of what stays for each
        """
        import pyarrow as pa  # type: ignore[import-untyped]

        rows = table.column(_ROW).to_numpy()
        found = self.deduplicator.find(Candidates(*(table.column(name).to_pylist() for name in TRIPLE)))
        return pa.table({_ROW: rows, _CODE: found.codes, _FIRST: rows[found.first] if len(rows) else rows})


def deduplicate_files(
    deduplicator: Deduplicator,
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    shard_rows: int = 100_000,
    part_rows: int = 500_000,
    backend: str = "loky",
    jobs: int = 1,
    address: str | None = None,
    progress: bool | None = None,
) -> dict[str, int]:
    """Leave one of each set of repeated triples in files of any size.

    The rows that stay are written in their order as ``part-000000.parquet``, ...; those that go are in ``_removed``,
    with the columns ``reason``, ``row`` and ``repeats`` (row numbers of the input, from 0). Groups are gathered in
    parts of about ``part_rows`` rows, by a hash; a part has to fit into memory, and a group is never split. Nine bytes
    per row are held besides. With more than 128 parts the input is read once for each 128 of them. A part that is
    finished is not computed again after a kill. ``report.json`` with the counts is written last; without it the folder
    is refused as a source.

    Vectors are not compared here: :class:`~kgneg.selfinstruct.dedup.Deduplicator` does, in memory.

    :param deduplicator: what finds repetitions
    :param source: TSV or Parquet files, patterns, or folders; see :func:`~kgneg.selfinstruct.sources.cut`
    :param out: the folder of the output, which is new, empty, or that of an earlier deduplication
    :param shard_rows: rows per shard of the input
    :param part_rows: rows per part, about
    :param backend: one of :data:`~kgneg.selfinstruct.backends.BACKENDS`
    :param jobs: how many parts at once; -1 is one per core
    :param address: of a Ray or Dask cluster
    :param progress: whether to show progress bars; ``None`` shows them on a terminal
    :returns: how many rows stay, and how many go for each reason
    :raises InvalidInputError: if a source or setting cannot be used, the folder holds files of others, or another job
        works on another input there
    """
    out = Path(out).absolute()
    validate_count("part_rows", part_rows)
    paths = find_sources(source)
    inside = next((path for path in paths if out in path.absolute().parents), None)
    if inside is not None or out.is_file():
        raise InvalidInputError(f"{inside or out} is in the way of the output. Give another folder.")
    refuse_columns(paths, _ADDED)
    claim(out, "dedup")
    shards = cut(paths, out / _INPUT, shard_rows, outdated=(out / _REPORT,))
    plan = check_plan(out / _INPUT)
    _scatter(plan, shards, out / _PARTS, part_rows)
    within = Deduplicator(rouge_l=deduplicator.rouge_l, cosine=deduplicator.cosine)
    with engine(backend, address, jobs) as name:
        done = map_shards(
            _Find(within),
            find_shards(out / _PARTS),
            out / _VERDICTS,
            n_jobs=1 if name == "sequential" else jobs,
            backend=name,
            progress=progress,
        )
    codes, first = _gather(done.outputs, plan["rows"])
    (out / _REPORT).unlink(missing_ok=True)
    _write(deduplicator, shards, out, codes, first, progress)
    (out / _REPORT).unlink(missing_ok=True)  # another job may have written it in the meantime
    check_plan(out / _INPUT, plan)
    counts = Duplicates(codes, first).counts()
    with writing(out / _REPORT), atomic_path(out / _REPORT) as temporary:
        temporary.write_text(json.dumps({"rows": plan["rows"], **counts}, indent=1), encoding="utf-8")
    return counts


def _scatter(cut_plan: dict[str, Any], shards: Sequence[Path], folder: Path, part_rows: int) -> None:
    """Write the rows of each group into one part; do nothing if that was done before."""
    import pyarrow as pa
    from pyarrow import parquet

    number = max(1, -(-cut_plan["rows"] // part_rows))
    plan = {"parts": number, "rows": cut_plan["rows"], "input": content_key(cut_plan)}
    names = [folder / shard_name(part) for part in range(number)]
    if _same_plan(folder / _PLAN, plan) and all(name.is_file() for name in names):
        return
    (folder / _PLAN).unlink(missing_ok=True)
    for old in folder.glob("part-*.parquet"):
        old.unlink(missing_ok=True)
    schema = pa.schema([*((name, pa.string()) for name in TRIPLE), (_ROW, pa.int64())])
    known: dict[Path, Any] = {}  # the part of each row, if shards are read more than once
    for low in range(0, number, _OPEN):  # the system limits how many files are open
        with writing(folder), ExitStack() as stack:
            temporaries = [stack.enter_context(atomic_path(name)) for name in names[low : low + _OPEN]]
            writers = [stack.enter_context(parquet.ParquetWriter(path, schema)) for path in temporaries]
            for table, shard in _numbered(shards):
                places = known[shard] if shard in known else _part_of(table, number)
                if number > _OPEN:
                    known[shard] = places
                here = places[(places >= low) & (places < low + _OPEN)]
                for part in np.unique(here).tolist():
                    writers[part - low].write_table(table.filter(pa.array(places == part)).cast(schema))
    with writing(folder), atomic_path(folder / _PLAN) as temporary:
        temporary.write_text(json.dumps(plan), encoding="utf-8")


def _numbered(shards: Sequence[Path]) -> Iterator[tuple[Any, Path]]:
    """Yield the triples of each shard with their row numbers."""
    import pyarrow as pa
    from pyarrow import parquet

    begin = 0
    for shard in shards:
        table = parquet.read_table(shard, columns=list(TRIPLE))
        yield table.append_column(_ROW, pa.array(np.arange(begin, begin + table.num_rows))), shard
        begin += table.num_rows


def _same_plan(path: Path, plan: dict[str, Any]) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")) == plan)
    except (OSError, ValueError):
        return False


def _part_of(table: Any, number: int) -> Any:
    """Return the part of each row, by a hash of its normalised head and relation."""
    known: dict[tuple[str, str], int] = {}

    def place(pair: tuple[str, str]) -> int:
        if pair not in known:
            known[pair] = zlib.crc32("\x1f".join(map(normalise, pair)).encode()) % number
        return known[pair]

    pairs = zip(table.column("head").to_pylist(), table.column("relation").to_pylist(), strict=True)
    return np.fromiter(map(place, pairs), np.int32, count=table.num_rows)


def _gather(outputs: Sequence[Path], rows: int) -> tuple[Any, Any]:
    """Return codes and first rows of all rows."""
    from pyarrow import parquet

    codes, first = np.full(rows, len(REASONS), dtype=np.uint8), np.arange(rows)
    for path in outputs:
        table = parquet.read_table(path)
        places = table.column(_ROW).to_numpy()
        codes[places], first[places] = table.column(_CODE).to_numpy(), table.column(_FIRST).to_numpy()
    if (codes == len(REASONS)).any():
        missing = int((codes == len(REASONS)).argmax())
        raise InvalidInputError(f"row {missing} is in no part: delete {outputs[0].parent.parent} and begin again")
    return codes, first


def _write(
    deduplicator: Deduplicator, shards: Sequence[Path], out: Path, codes: Any, first: Any, progress: bool | None
) -> None:
    """Write what stays and what goes, shard by shard, and compare across groups on the way."""
    import pyarrow as pa
    from pyarrow import parquet

    cross = None if deduplicator.minhash is None else deduplicator.cross_groups()
    reasons = np.array(REASONS, dtype=object)
    begin, names = 0, {shard.name for shard in shards}
    for old in [*out.glob("part-*.parquet"), *(out / _REMOVED).glob("part-*.parquet")]:
        if old.name not in names:
            old.unlink(missing_ok=True)
    disable = None if progress is None else not progress
    for shard in tqdm(shards, desc="write", unit="shard", disable=disable):
        table = parquet.read_table(shard)
        here = slice(begin, begin + table.num_rows)
        if cross is not None:
            texts = Candidates(*(table.column(name).to_pylist() for name in TRIPLE))
            cross.drop(texts, codes[here], first[here], offset=begin)
        keep = codes[here] == 0
        gone = table.filter(pa.array(~keep))
        columns = (
            pa.array(reasons[codes[here][~keep]].tolist(), pa.string()),
            pa.array(np.flatnonzero(~keep) + begin, pa.int64()),
            pa.array(_end(first, first[here][~keep]), pa.int64()),
        )
        for name, values in zip(_ADDED, columns, strict=True):
            gone = gone.append_column(name, values)
        for path, part in ((out / shard.name, table.filter(pa.array(keep))), (out / _REMOVED / shard.name, gone)):
            with writing(path), atomic_path(path) as temporary:
                parquet.write_table(part, temporary)
        begin += table.num_rows


def _end(first: Any, rows: Any) -> Any:
    """Follow rows that go, to the one that stays."""
    while True:
        further = first[rows]
        if np.array_equal(further, rows):
            return rows
        rows = further
