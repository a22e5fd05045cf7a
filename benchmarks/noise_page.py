"""Tables of what benchmarks/noise.py measured."""

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
    put_tables(docs / "benchmarks.md", "noise", tables(found))
    with atomic_path(docs / "results" / "noise.json") as path:
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def tables(found: dict[str, Any]) -> dict[str, str]:
    """Return a table for each part that was measured.

    :param found: what was measured, by part
    :returns: Markdown by part
    """
    makers = {"docred": _docred, "tacred": _tacred, "growth": _growth}
    return {name: make(found[name]) for name, make in makers.items() if name in found}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _spread(values: Sequence[float], digits: int = 3) -> str:
    middle = f"{statistics.median(values):,.{digits}f}"
    if len(values) < 2 or max(values) - min(values) < 10**-digits:
        return middle
    return f"{middle} [{min(values):,.{digits}f}, {max(values):,.{digits}f}]"


def _docred(part: dict[str, Any]) -> str:
    rows = []
    for name in dict.fromkeys(row["method"] for row in part["rows"]):
        runs = [row for row in part["rows"] if row["method"] == name]
        keys = ("average_precision", "precision_at_100", "precision_at_500")
        scores = [_spread([run[key] for run in runs]) for key in keys]
        flags = [_spread([run["flagged"] for run in runs], 0)]
        flags += [_spread([run[key] for run in runs]) for key in ("precision", "recall", "f1")]
        count = ""
        if "expected" in runs[0]:
            gold = runs[0]["gold"]
            count = f"{_spread([run['expected'] for run in runs], 0)} (really {gold:,})"
        rows.append([name, *scores, *flags, count, _spread([run["seconds"] for run in runs], 1)])
    header = ["method", "AP", "P@100", "P@500", "flagged", "precision", "recall", "F1", "expected number", "seconds"]
    above = (
        f"{part['documents']} documents, {part['pairs']:,} pairs in one sentence, {part['positives']:,} labelled, "
        f"{part['hidden']:,} hidden positives among the others. Vectors of {part['dimension']:,} numbers, made in "
        f"{part['encoding_seconds']:.0f} s (not counted below). {part['threads']} threads. Median over seeds, with the "
        "smallest and the largest value."
    )
    return f"{above}\n\n{_table(header, rows)}"


def _tacred(part: list[dict[str, Any]]) -> str:
    rows = [
        [
            row["model"],
            row["variant"],
            row["split"],
            f"{row['judged']:,}",
            f"{row['really_positive']:.1%}",
            f"{row['label_right']:.1%}" if "label_right" in row else "",
        ]
        for row in part
    ]
    return _table(["model", "variant", "split", "ids judged", "really positive", "new label right"], rows)


def _growth(part: list[dict[str, Any]]) -> str:
    rows = []
    for one in part:
        rival = next(
            (
                other
                for other in part
                if other["method"] == "Datalab" and (other["rows"], other["shape"]) == (one["rows"], one["shape"])
            ),
            None,
        )
        seconds = [run["seconds"] for run in one["runs"]]
        ratio = ""
        if one["method"] != "Datalab" and rival is not None:
            times = [run["seconds"] for run in rival["runs"]]
            ratio = _spread([theirs / ours for theirs, ours in zip(times, seconds, strict=True)], 1)
        recalls = [run["recall"] for run in one["runs"] if "recall" in run]
        rows.append(
            [
                f"{one['rows']:,}",
                one["shape"],
                one["method"],
                _spread(seconds, 1),
                ratio,
                _spread([run["cpu_seconds"] for run in one["runs"]], 1),
                _spread([run["peak_kib"] / 2**20 for run in one["runs"]], 2),
                _spread(recalls, 3) if recalls else "1",
            ]
        )
    header = ["rows", "vectors", "method", "seconds", "times faster", "CPU seconds", "peak, GiB", "neighbours found"]
    return _table(header, rows)
