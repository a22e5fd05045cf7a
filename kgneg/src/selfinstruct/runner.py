"""Decide about any number of candidate negatives: in shards, on many cores or machines, and again after a kill."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kgneg.core.cache import MemoryCache
from kgneg.core.errors import InvalidInputError
from kgneg.core.shard_files import MANIFEST, find_shards
from kgneg.core.shards import map_shards
from kgneg.core.storage import atomic_path, writing
from kgneg.selfinstruct.backends import engine
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.claim import claim
from kgneg.selfinstruct.decisions import ACTIONS, Decider, Decisions
from kgneg.selfinstruct.run_report import COUNTS, RunReport, manifest_rows, read_report, write_manifest
from kgneg.selfinstruct.saved import SavedFilter
from kgneg.selfinstruct.sources import TRIPLE, check_plan, cut, find_sources
from kgneg.selfinstruct.tables import refuse_columns

__all__ = ["DECIDED", "INPUT", "Loader", "run"]

#: The columns that a run adds.
DECIDED = ("action", "score", "reason")
#: The folder of the shards of the input, within that of the output.
INPUT = "_input"
_REPORT, _LINES = "report.json", "manifest.jsonl"
_VERSION = 3
_MOST_REASONS, _OTHER = 50, "(other)"
_LOADED = MemoryCache(size=2)
# what may be otherwise next time; names that are not known may stand before it, and other judges may have spoken before
_PASSING = re.compile(r"(?:^|[:;] )(?:endpoint|budget|gave up|malformed)\b")


class Loader(Protocol):
    """Whatever makes a decider in the process that needs it, so that the decider itself is not sent."""

    def fingerprint(self) -> str:
        """Return the fingerprint of the decider, without making it if possible.

        :returns: a text
        """

    def load(self) -> Decider:
        """Make the decider.

        :returns: the decider; a process makes it once
        """


class _Decide:
    """The function of a shard: adds the columns of decisions, and notes their counts in the file."""

    def __init__(self, decider: Decider | Loader, key: str) -> None:
        self.decider, self.key = decider, key

    def __call__(self, table: Any) -> Any:
        """Decide about a table.

        :param table: a :class:`pyarrow.Table` with the columns of triples
        :returns: the table with three more columns
        :raises InvalidInputError: if there is not one decision per row
        """
        import pyarrow as pa  # type: ignore[import-untyped]

        decider = _loaded(self.decider, self.key)
        candidates = Candidates(*(table.column(name).to_pylist() for name in TRIPLE))
        decisions = decider.decide(candidates)
        if len(decisions) != table.num_rows:
            raise InvalidInputError(
                f"the decider gave {len(decisions)} decisions for {table.num_rows} candidates: correct it"
            )
        action, score = decisions.action.tolist(), decisions.score
        # a folder of shards is read as one table, so no column may change its type from shard to shard
        for name, values in zip(
            DECIDED,
            (pa.array(action, pa.string()), pa.array(score, pa.float64()), pa.array(decisions.reason, pa.string())),
            strict=True,
        ):
            table = table.append_column(name, values)
        judges = (*getattr(decider, "rules", ()), *getattr(decider, "judges", ()))
        counts = _counts(candidates.relations, decisions, [judge.name for judge in judges])
        return table.replace_schema_metadata({COUNTS: json.dumps(counts, sort_keys=True)})


def _loaded(made: Decider | Loader, key: str) -> Decider:
    """Return the decider, which a process loads once."""
    if hasattr(made, "load") and not hasattr(made, "decide"):
        found: Decider = _LOADED.get(key, made.load)
        return found
    return made  # type: ignore[return-value]


def _counts(relations: Sequence[str], decisions: Decisions, judges: Sequence[str]) -> dict[str, Any]:
    """Return counts of actions, by relation and by reason; a row counts for each of its reasons."""
    actions: list[str] = decisions.action.tolist()
    by_relation: dict[str, dict[str, int]] = {}
    for (relation, action), count in Counter(zip(relations, actions, strict=True)).items():
        by_relation.setdefault(relation, dict.fromkeys(ACTIONS, 0))[action] = count
    open_ = (np.isnan(decisions.score) | (decisions.action == "review")).tolist()
    rows = Counter(zip(decisions.reason, actions, open_, strict=True))
    names = "|".join(re.escape(name) for name in sorted(judges, key=len, reverse=True))
    spoken = re.compile(f"(?:^|; )(?:{names}): ") if names else None
    kinds: Counter[str] = Counter()
    told: list[tuple[set[str], str, int]] = []
    unanswered = 0
    for (reason, action, without), count in rows.items():
        parts = [reason] if spoken is None else [part for part in spoken.split(reason) if part] or [""]
        found = {part.partition(":")[0] for part in parts}  # what follows may differ from row to row
        told.append((found, action, count))
        kinds.update(dict.fromkeys(found, count))
        unanswered += count if without and any(map(_PASSING.search, parts)) else 0
    common = {kind for kind, _ in kinds.most_common(_MOST_REASONS)}
    by_reason: dict[str, dict[str, int]] = {}
    for found, action, count in told:
        for kind in {kind if kind in common else _OTHER for kind in found}:
            by_reason.setdefault(kind, dict.fromkeys(ACTIONS, 0))[action] += count
    total = Counter(actions)
    return {
        "actions": {name: total[name] for name in ACTIONS},
        "relations": by_relation,
        "reasons": by_reason,
        "unanswered": unanswered,
    }


def run(
    decider: Decider | Loader | str | Path,
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    shard_rows: int = 100_000,
    backend: str = "loky",
    jobs: int = 1,
    address: str | None = None,
    shard: tuple[int, int] | None = None,
    progress: bool | None = None,
) -> RunReport:
    """Decide about all triples of files.

    The rows are first cut into shards (``_input`` in the folder of the output). Each shard is decided about by itself
    and becomes one Parquet file ``part-000000.parquet``, ``part-000001.parquet``, ... with the columns of the input and
    ``action``, ``score`` and ``reason``; rows stay in their order. A file appears under its name when it is complete,
    and ``_manifest`` then gets a note with the hashes of input and settings. After a kill, the same call computes what
    is missing, and the files are the same to the byte. When all are there, ``report.json`` sums up the counts.

    A shard with rows whose reason passes (``endpoint``, ``budget``, ``gave up``, ``malformed``) is ``partial``: the
    report counts such rows, and the same call decides about the shard again. What a judge has answered before is in its
    cache.

    In memory are, per process, a shard, its decisions, and the decider.

    :param decider: what decides; or the folder of a saved filter, or a :class:`Loader`, which every process loads once,
        this one before anything is written
    :param source: TSV or Parquet files, patterns, or folders; see :func:`~kgneg.selfinstruct.sources.cut`
    :param out: the folder of the output, which is new, empty, or that of an earlier run
    :param shard_rows: rows per shard
    :param backend: one of :data:`~kgneg.selfinstruct.backends.BACKENDS`
    :param jobs: how many shards at once; -1 is one per core
    :param address: of a Ray or Dask cluster; ``None`` uses the one that was reached, or starts one on this machine
    :param shard: ``(i, n)`` takes every ``n``-th shard from the ``i``-th (from 0), for job ``i`` of an array of ``n``
        jobs that share the folder
    :param progress: whether to show a progress bar; ``None`` shows it on a terminal
    :returns: how many shards are finished, and the counts
    :raises InvalidInputError: if a source or setting cannot be used, the decider has learned nothing, the folder holds
        files of others, or another job decides about another input there
    :raises ShardError: if shards failed for other reasons; the others are finished
    """
    out = Path(out).absolute()
    made: Decider | Loader = SavedFilter(decider) if isinstance(decider, str | Path) else decider
    if getattr(made, "fitted", True) is False:
        raise InvalidInputError("this filter has learned nothing yet: call fit first")
    paths = find_sources(source)
    _check_place(paths, out)
    refuse_columns(paths, DECIDED)
    key = hashlib.blake2b(f"{_VERSION}\x1f{made.fingerprint()}".encode(), digest_size=16).hexdigest()
    _loaded(made, key)  # what is wrong with it shows before anything is written
    claim(out, "run")
    sums = (out / _REPORT, out / _LINES)
    shards = cut(paths, out / INPUT, shard_rows, outdated=sums)
    plan = check_plan(out / INPUT)
    _remove_strangers(out, {path.name for path in shards})
    _reopen(out, key, shard)
    if not read_report(out, key=key).complete:
        for path in sums:  # they tell of an earlier filter
            path.unlink(missing_ok=True)
    with engine(backend, address, jobs) as name:
        map_shards(
            _Decide(made, key),
            find_shards(out / INPUT),
            out,
            key=key,
            n_jobs=1 if name == "sequential" else jobs,
            backend=name,
            shard=shard,
            progress=progress,
        )
    check_plan(out / INPUT, plan)
    report = read_report(out, key=key)
    if report.complete:
        with writing(out / _REPORT), atomic_path(out / _REPORT) as temporary:
            temporary.write_text(json.dumps(report.as_dict(), indent=1, sort_keys=True), encoding="utf-8")
        write_manifest(out, key=key)
    return report


def _check_place(paths: Sequence[Path], out: Path) -> None:
    """Refuse to write over the input, or into a folder whose files are the input."""
    if out.is_file():
        raise InvalidInputError(f"{out} is a file, the output needs a folder. Give another name.")
    inside = next((path for path in paths if path.absolute().parent in (out, out / INPUT)), None)
    if inside is not None:
        raise InvalidInputError(f"{inside} lies in the folder of the output. Give another folder.")


def _reopen(out: Path, key: str, share: tuple[int, int] | None) -> None:
    """Let the partial shards of this job be decided about again."""
    first, step = (0, 1) if share is None else share
    if not 0 <= first < step:
        return  # the error comes later
    for row in manifest_rows(out, key=key)[first::step]:
        if row["state"] == "partial":
            (out / MANIFEST / f"{row['shard']}.json").unlink(missing_ok=True)


def _remove_strangers(out: Path, names: set[str]) -> None:
    """Remove shards of an earlier run with more shards; their rows are not of this input."""
    for path in out.glob("part-*.parquet"):
        if path.name not in names:
            path.unlink(missing_ok=True)
            (out / MANIFEST / f"{path.name}.json").unlink(missing_ok=True)
