"""What the rows of the recommendation benchmark say together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from link_prediction_stats import holm, rounded
from recsys_plan import BASELINES, METRIC, Budget

from kgneg.recsys.significance import compare_runs

__all__ = ["collect", "health_of", "spread"]

FIGURES = ("recall@20", "ndcg@20", "recall@10", "ndcg@10", "recall@50", "capped_precision@50")
TIMES = ("cpu_per_epoch", "cpu_seconds", "best_epoch", "epochs", "lists_per_second", "evaluated_per_second", "valid")


def collect(cells: Mapping[str, Mapping[str, Any]], facts: Mapping[str, int], budget: Budget) -> dict[str, Any]:
    """Return means and spreads of all rows on a split, and how they compare.

    :param cells: what came out, by row
    :param facts: the sizes of the data set
    :param budget: what was equal for all rows
    """
    rows = {row: of_row(cell) for row, cell in cells.items()}
    whole = [row for row in rows if rows[row]["failure"] is None]
    baseline = max((row for row in BASELINES if row in whole), key=lambda row: rows[row]["valid"]["mean"], default=None)
    for name, other in (("against_lightgcn", "lightgcn"), ("against_baseline", baseline)):
        if other is None or other not in whole:
            continue
        values = {}
        for row in whole:
            if row == other:
                continue
            compared = compare_runs(rows[row][METRIC]["values"], rows[other][METRIC]["values"], METRIC).to_dict()
            rows[row][name] = {key: compared[key] for key in ("difference", "low", "high")} | {"p": compared["p_t"]}
            if compared["p_t"] is not None:
                values[row] = compared["p_t"]
        for row, p in holm(values).items():
            rows[row][name]["p_holm"] = p
    found: dict[str, Any] = rounded(
        {"facts": dict(facts), "budget": budget.to_dict(), "baseline": baseline, "rows": rows, "order": list(cells)}
    )
    return found


def of_row(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return means and spreads of a row, and what was tuned."""
    finals = [one for one in cell["finals"] if "metrics" in one]
    found: dict[str, Any] = {"failure": cell["failure"], "model": cell["model"], "tuning": cell["tuning"]}
    if not finals:
        return {**found, "failure": cell["failure"] or "no training was finished"}
    for name in FIGURES:
        if name in finals[0]["metrics"]:
            found[name] = spread([one["metrics"][name] for one in finals])
    found["coverage@20"] = spread([one["beyond"]["coverage@20"] for one in finals])
    for name in TIMES:
        values = [one[name] for one in finals if one.get(name) is not None]
        found[name] = spread(values) if values else None
    found["stopped"] = [one["stopped"] for one in finals]
    healths = [one["health"]["best"] for one in finals if one.get("health")]
    found["health"] = health_of(healths) if healths else None
    found["counts"] = finals[0]["counts"]
    return found


def health_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return means over runs of what the monitor of collapse saw, and how many runs it calls collapsed."""
    found: dict[str, Any] = {"collapsed": sum(one["collapsed"] for one in runs), "runs": len(runs)}
    for side in ("users", "items"):
        names = ("dim", "spread", "effective_rank", "mean_cosine")
        found[side] = {name: statistics.fmean([one[side][name] for one in runs]) for name in names}
    return found


def spread(values: Sequence[float]) -> dict[str, Any]:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "sd": deviation, "values": list(values)}
