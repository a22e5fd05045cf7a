"""Tables of what benchmarks/recsys_speed.py measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["collapse", "epoch", "evaluation", "growth", "momentum"]

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
        f"{facts['set']}: {facts['users']:,} users, {facts['items']:,} items, {facts['pairs']:,} training pairs. "
        f"CPU seconds per epoch, median of {part['rounds']} epochs of each in turn, with the smallest and the largest; "
        f"one thread, torch {part['versions']['torch']}."
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


def evaluation(part: FOUND) -> str:
    """Return how many users are judged per second, beside the usual way, which is the first."""
    settings, ways = part["settings"], {way: [one["cpu"] for one in runs] for way, runs in part["rounds"].items()}
    usual = next(iter(ways.values()))
    above = (
        f"{settings['users']:,} users, {settings['items']:,} items, 2 x {settings['dim']} numbers, "
        f"{settings['rounds']} rounds; one thread. CPU seconds, median with the smallest and the largest; the ratio is "
        "the median over rounds."
    )
    header = ["way", "seconds", "users/s", "times faster", "memory, MB"]
    rows = [
        [
            way,
            f"{statistics.median(seconds):,.2f} [{min(seconds):,.2f}, {max(seconds):,.2f}]",
            f"{part['users'] / statistics.median(seconds):,.0f}",
            f"{statistics.median(a / b for a, b in zip(usual, seconds, strict=True)):.1f}",
            f"{max(one['mib'] for one in part['rounds'][way]):,.0f}",
        ]
        for way, seconds in ways.items()
    ]
    return f"{above}\n\n{rows_of(header, rows)}"


def growth(part: FOUND) -> str:
    """Return seconds per epoch and memory by the number of pairs, and the fits."""
    header = [
        "model",
        "batches",
        "pairs",
        "users",
        "items",
        "batch",
        "steps timed",
        "s per epoch",
        "peak, MB",
        "of it data, MB",
    ]
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
        f"- {one['model']}, {one['regime']}: seconds grow like the number of pairs to the power of "
        f"{one['exponent']:.2f}; a line has {one['per_million']:.3g} s per million pairs and explains "
        f"{100 * (one['r2'] or 0):.1f} % of the variance; {one['memory_per_pair']:,.0f} bytes of memory per pair."
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
    header = ["set", "model", "variant", "recall@20", "last loss", "spread, users", "items"]
    header += ["effective rank, users", "items", "collapsed"]
    rows = []
    for one in part["rows"]:
        cells = [one["set"], one["model"], one["row"]]
        if "health" not in one:
            rows.append([*cells, one["failure"] or "", *[""] * 6])
            continue
        last = one["health"]["last"]
        cells += [mean(one["recall@20"]), f"{one['loss']['mean']:.3f}"]
        cells += [f"{last[side]['spread']:.3f}" for side in ("users", "items")]
        cells += [f"{last[side]['effective_rank']:.1f} of {last[side]['dim']:.0f}" for side in ("users", "items")]
        rows.append([*cells, f"{last['collapsed']} of {last['runs']}"])
    return f"After the last epoch; recall@20 of the best one, {part['seeds']} seeds.\n\n{rows_of(header, rows)}"
