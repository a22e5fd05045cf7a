"""What a run has done so far, and the counts of its decisions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.core.shard_files import finished_notes
from kgneg.core.storage import atomic_path, writing
from kgneg.selfinstruct.decisions import ACTIONS
from kgneg.selfinstruct.sources import read_plan

__all__ = ["COUNTS", "RunReport", "check_finished", "manifest_rows", "read_report", "write_manifest"]

#: Where the counts of a shard are, among the metadata of its file.
COUNTS = b"kgneg.selfinstruct"


@dataclass(frozen=True)
class RunReport:
    """How far a run is, and what it has decided.

    :param shards: how many shards there are
    :param finished: how many of them are finished
    :param rows: how many rows the finished shards have
    :param actions: how many of them are kept, dropped and for review
    :param relations: the same by relation
    :param reasons: the same by reason, without the names of judges; a row for which several judges gave reasons counts
        for each of them
    :param partial: how many of the finished shards have rows without an answer, and are decided about again by the same
        call
    :param unanswered: how many rows have none: the endpoint failed, the budget was spent, or replies were malformed
    """

    shards: int
    finished: int
    rows: int
    actions: dict[str, int]
    relations: dict[str, dict[str, int]]
    reasons: dict[str, dict[str, int]]
    partial: int = 0
    unanswered: int = 0

    @property
    def complete(self) -> bool:
        """Whether all shards are finished."""
        return self.finished == self.shards

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values.

        :returns: what the file ``report.json`` holds
        """
        return asdict(self)


def manifest_rows(out: str | Path, *, key: str | None = None) -> list[dict[str, Any]]:
    """Return one row per shard of a run, whether it is finished or not.

    What was decided about another input does not count.

    :param out: the folder of the output
    :param key: the hash of the settings that count; ``None``: any
    :returns: by name ``shard``, ``state`` (``finished``, ``partial`` if some rows are without an answer, or
        ``pending``), ``input_hash``, ``config_hash``, ``rows`` and ``counts``; the last four are ``None`` for pending
        ones
    :raises InvalidInputError: if there is no run
    """
    from pyarrow import parquet  # type: ignore[import-untyped]

    out = Path(out)
    names = sorted(path.name for path in (out / "_input").glob("part-*.parquet"))
    if not names:
        raise InvalidInputError(
            f"{out} holds no run: there are no shards in {out / '_input'}. Begin a run there first."
        )
    plan = read_plan(out / "_input")
    notes = finished_notes(out, {} if plan is None else plan["hashes"])
    rows = []
    for name in names:
        note, path = notes.get(name), out / name
        row: dict[str, Any] = {"shard": name, "state": "pending"}
        row |= dict.fromkeys(("input_hash", "config_hash", "rows", "counts"))
        if note is not None and key in (None, note["key"]):
            counts = json.loads((parquet.read_metadata(path).metadata or {}).get(COUNTS, b"null"))
            state = "partial" if counts and counts.get("unanswered") else "finished"
            row |= {"state": state, "input_hash": note["input_hash"], "config_hash": note["key"]}
            row |= {"rows": note["rows_out"], "counts": counts}
        rows.append(row)
    return rows


def read_report(out: str | Path, *, key: str | None = None) -> RunReport:
    """Sum up the finished shards of a run.

    :param out: the folder of the output
    :param key: the hash of the settings that count; ``None``: any
    :returns: the report; only the ends of files are read
    """
    rows = manifest_rows(out, key=key)
    done = [row for row in rows if row["state"] != "pending"]
    actions = dict.fromkeys(ACTIONS, 0)
    relations: dict[str, dict[str, int]] = {}
    reasons: dict[str, dict[str, int]] = {}
    for row in done:
        counts = row["counts"] or {}
        _add(actions, counts.get("actions", {}))
        for target, name in ((relations, "relations"), (reasons, "reasons")):
            for what, found in counts.get(name, {}).items():
                _add(target.setdefault(what, dict.fromkeys(ACTIONS, 0)), found)
    return RunReport(
        shards=len(rows),
        finished=len(done),
        rows=sum(row["rows"] for row in done),
        actions=actions,
        relations=dict(sorted(relations.items())),
        reasons=dict(sorted(reasons.items())),
        partial=sum(row["state"] == "partial" for row in done),
        unanswered=sum((row["counts"] or {}).get("unanswered", 0) for row in done),
    )


def check_finished(out: str | Path) -> None:
    """Raise unless all shards of a run are finished, with the same settings, and of the input that was cut last.

    :param out: the folder of the output
    :raises InvalidInputError: if some are missing, or are of an earlier run
    """
    rows = manifest_rows(out)
    done = [row["config_hash"] for row in rows if row["state"] != "pending"]
    if read_plan(Path(out) / "_input") is None:
        raise InvalidInputError(f"the run in {out} is not through: its input is not cut. Repeat the call of the run.")
    if len(done) < len(rows) or len(set(done)) > 1:
        latest = "some of other settings" if len(done) == len(rows) else f"{len(done)} of {len(rows)} are finished"
        raise InvalidInputError(
            f"the run in {out} is not through: of its shards, {latest}. Repeat the call of the run."
        )


def _add(target: dict[str, int], counts: Mapping[str, int]) -> None:
    for name, count in counts.items():
        target[name] += count


def write_manifest(out: str | Path, *, key: str | None = None) -> Path:
    """Write one line per shard to ``manifest.jsonl``.

    :param out: the folder of the output
    :param key: the hash of the settings that count; ``None``: any
    :returns: the file
    """
    path = Path(out) / "manifest.jsonl"
    with writing(path), atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for row in manifest_rows(out, key=key):
            file.write(json.dumps(row, sort_keys=True) + "\n")
    return path
