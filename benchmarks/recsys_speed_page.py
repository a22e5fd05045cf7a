"""Tables of what benchmarks/recsys_speed.py measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["collapse", "epoch", "growth", "momentum"]

FOUND = Mapping[str, Any]


def rows_of(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows])


def range_of(one: FOUND, digits: int) -> str:
    return f"{one['median']:,.{digits}f} [{one['low']:,.{digits}f}, {one['high']:,.{digits}f}]"


def mean(one: FOUND | None) -> str:
    if one is None:
        return ""
    return f"{one['mean']:.4f}" + ("" if one["sd"] is None else f" ± {one['sd']:.4f}")


def epoch(part: FOUND) -> str:
    """Return CPU seconds per epoch beside the procedure of the authors."""
    facts = part["facts"]
    above = (
        f"{facts['set']}: {facts['users']:,} users, {facts['items']:,} items, {facts['pairs']:,} training pairs. CPU seconds "
        f"per epoch, median of {part['rounds']} epochs of each in turn, with the smallest and the largest; one thread, torch "
        f"{part['versions']['torch']}."
    )
    header = ["options", "batch", "dimension", "layers", "dropped", "authors' procedure", "kgneg", "times faster"]
    rows = [
        [
            one["row"],
            f"{one['batch_size']:,}",
            str(one["dim"]),
            str(one["layers"]),
            f"up to {one['drop']:g}" if one["drop"] else "none",
            range_of(one["theirs"], 2),
            range_of(one["ours"], 2),
            range_of(one["times"], 1),
        ]
        for one in part["rows"]
    ]
    return f"{above}\n\n{rows_of(header, rows)}"


def growth(part: FOUND) -> str:
    """Return seconds per epoch and memory by the number of pairs, and the fits."""
    header = ["model", "batches", "pairs", "users", "items", "batch", "steps timed", "s per epoch", "peak, MB", "of it data, MB"]
    rows = [
        [
            one["model"],
            one["regime"],
            f"{one['size']:,}",
            f"{one['users']:,}",
            f"{one['items']:,}",
            f"{one['batch']:,}",
            f"{one['timed']} of {one['of']:,}",
            f"{one['seconds']:,.3g}" if one["seconds"] < 1000 else f"{one['seconds']:,.0f}",
            f"{one['peak_mb']:,.0f}",
            f"{one['before_mb']:,.0f}",
        ]
        for one in part["rows"]
    ]
    said = [
        f"- {one['model']}, {one['regime']}: seconds grow like the number of pairs to the power of {one['exponent']:.2f}; a line "
        f"has {one['per_million']:.3g} s per million pairs and explains {100 * (one['r2'] or 0):.1f} % of the variance; "
        f"{one['memory_per_pair']:,.0f} bytes of memory per pair."
        for one in part["fits"]
        if one["exponent"] is not None
    ]
    return f"{rows_of(header, rows)}\n\n" + "\n".join(said)


def momentum(part: FOUND) -> str:
    """Return test recall@20 by momentum."""
    values = list(dict.fromkeys(one["row"] for one in part["rows"]))
    header = ["set", "model", *(f"momentum {value}" for value in values)]
    kept = {(one["set"], one["model"], one["row"]): one for one in part["rows"]}
    rows = [
        [name, model, *(cell(kept.get((name, model, value))) for value in values)]
        for name, model in dict.fromkeys((one["set"], one["model"]) for one in part["rows"])
    ]
    return f"Test recall@20, {part['seeds']} seeds.\n\n{rows_of(header, rows)}"


def cell(one: FOUND | None) -> str:
    if one is None:
        return ""
    return mean(one.get("recall@20")) or "failed"


def collapse(part: FOUND) -> str:
    """Return what happens without parts of the method."""
    header = ["set", "model", "variant", "recall@20", "last loss", "spread", "effective rank", "mean cosine"]
    rows = []
    for one in part["rows"]:
        cells = [one["set"], one["model"], one["row"]]
        if "health" not in one:
            rows.append([*cells, one["failure"] or "", "", "", "", ""])
            continue
        last = one["health"]["last"]
        cells += [mean(one["recall@20"]), f"{one['loss']['mean']:.3f}", f"{last['spread']:.3f}"]
        rows.append([*cells, f"{last['effective_rank']:.1f} of {last['dim']:.0f}", f"{last['mean_cosine']:.3f}"])
    return f"After the last epoch; recall@20 of the best one, {part['seeds']} seeds.\n\n{rows_of(header, rows)}"
