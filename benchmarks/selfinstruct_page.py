"""Tables of what benchmarks/selfinstruct.py and benchmarks/selfinstruct_scale.py measured."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from page_marks import put_tables

from kgneg.core.storage import atomic_path

__all__ = ["publish", "tables"]


def publish(found: dict[str, Any], docs: Path) -> None:
    """Bring the page and the numbers behind it up to date.

    :param found: what was measured, by part
    :param docs: the folder with benchmarks.md
    """
    results = docs / "results" / "selfinstruct.json"
    if results.is_file():
        found = json.loads(results.read_text()) | found
    put_tables(docs / "benchmarks.md", "selfinstruct", tables(found))
    with atomic_path(results) as path:
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def tables(found: dict[str, Any]) -> dict[str, str]:
    """Return a table for each part that was measured.

    :param found: what was measured, by part
    :returns: Markdown by part
    """
    makers = {"ckbp": _ckbp, "bounds": _bounds, "scale": _scale}
    return {name: make(found[name]) for name, make in makers.items() if name in found}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _spread(values: Sequence[float]) -> str:
    middle = f"{statistics.mean(values):.3f}"
    return middle if len(values) < 2 else f"{middle} [{min(values):.3f}, {max(values):.3f}]"


def _ckbp(part: dict[str, Any]) -> str:
    rows = [[name, *(_spread(column) for column in zip(*runs, strict=True))] for name, runs in part["rows"].items()]
    above = (
        f"{part['test']:,} rows of the test part, {statistics.mean(part['base']):.1%} of them true negatives. "
        f"Mean over {len(part['base'])} random halves, with the smallest and the largest value."
    )
    header = ["scorer", "AUC", "false negatives removed", "precision of what is kept"]
    return f"{above}\n\n{_table(header, rows)}"


def _bounds(part: dict[str, Any]) -> str:
    rows = [
        [f"{size:,}", f"{target:.0%}", *(f"{share:.1%}" for share in shares)] for size, target, *shares in part["rows"]
    ]
    header = ["checked rows", "precision promised"]
    header += [f"{one}, {what}" for one in ("long run", "other rows") for what in ("reachable", "not broken", "kept")]
    return f"{part['draws']} random cuts of the test part.\n\n{_table(header, rows)}"


def _scale(part: dict[str, Any]) -> str:
    names = {
        "run": "decide: rules, and a logistic critic",
        "filter": "decide: rules, and a critic of 1,000 landmarks",
        "dedup": "deduplicate in memory",
        "files": "deduplicate files",
    }
    rows = []
    for one in sorted(part.values(), key=lambda one: ([*names].index(one["part"]), one["jobs"], one["rows"])):
        rate, memory = one["rows"] / one["seconds"], max(one["mebibytes"], one["mebibytes_of_largest_child"])
        line = [names[one["part"]], f"{one['rows']:,}", str(one["jobs"]), f"{one['seconds']:,.1f}"]
        rows.append([*line, f"{one['cpu_seconds']:,.1f}", f"{rate:,.0f}", f"{memory:,}"])
    return _table(["what", "triples", "processes", "seconds", "CPU seconds", "triples per second", "MiB"], rows)
