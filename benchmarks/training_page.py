"""Tables and plot of what benchmarks/training.py measured."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["tables", "write_page"]

NAMES = {"codexsmall": "CoDEx-S", "fb15k237": "FB15k-237", "wn18rr": "WN18RR"}
MODELS = {"transe": "TransE", "distmult": "DistMult", "complex": "ComplEx", "rotate": "RotatE"}
Measured = dict[str, Any]


def write_page(page: Path, found: Sequence[Measured]) -> None:
    """Put tables between the marks of a page, and the plot beside it.

    :param page: the page
    :param found: what was measured
    """
    text = page.read_text()
    for name, filled in tables(found).items():
        begin, end = f"<!-- training-{name}:begin -->", f"<!-- training-{name}:end -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        text = pattern.sub(lambda _, inner=f"{begin}\n\n{filled}\n\n{end}": inner, text)
    page.write_text(text)
    measured, grown = of_part(found, "speed"), of_part(found, "growth")
    if measured and grown:
        plot(page.parent / "training.svg", measured, grown)


def tables(found: Sequence[Measured]) -> dict[str, str]:
    """Return a table for each part that was measured.

    :param found: what was measured
    :returns: Markdown by the name of the part
    """
    makers = {"speed": speed_table, "ranking": ranking_table, "growth": growth_table}
    return {name: make(of_part(found, name)) for name, make in makers.items() if of_part(found, name)}


def of_part(found: Sequence[Measured], part: str) -> list[Measured]:
    """Return what was measured for a part, in a fixed order."""
    chosen = [one for one in found if one["key"]["part"] == part]
    order = [*NAMES, *MODELS]

    def place(one: Measured) -> list[int]:
        return [order.index(name) if (name := one["key"].get(key)) in order else -1 for key in ("dataset", "model")]

    return sorted(chosen, key=place)


def table(header: Sequence[str], rows: Sequence[Sequence[object]], above: str) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return above + "\n\n" + "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def conditions(found: Sequence[Measured]) -> str:
    """Return under which conditions something was measured."""
    dates = sorted({one["date"] for one in found})
    last = found[-1]
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return (
        f"Measured on {when}: one thread of a {last['machine']} {last['key']['device'].upper()}, torch "
        f"{last['torch']}, PyKEEN {last['pykeen']}, PyKEEN's basic sampler, Adam"
    )


def middle(runs: Sequence[Measured], name: str = "seconds") -> float:
    return statistics.median(run[name] for run in runs)


def ratios(slow: Sequence[Measured], fast: Sequence[Measured]) -> list[float]:
    return [a["seconds"] / b["seconds"] for a, b in zip(slow, fast, strict=True)]


def spread(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 4:
        return min(values), max(values)
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def times_faster(slow: Sequence[Measured], fast: Sequence[Measured]) -> str:
    values = ratios(slow, fast)
    low, high = spread(values)
    return f"{statistics.median(values):.1f} [{low:.1f}, {high:.1f}]"


def title(key: Measured) -> list[str]:
    return [NAMES.get(key["dataset"], key["dataset"]), MODELS[key["model"]]]


def speed_table(found: Sequence[Measured]) -> str:
    header = ["graph", "model", "batch x negatives", "PyKEEN, s per epoch", "kgneg", "times faster"]
    header += ["shared by 64", "times faster", "peak MB: PyKEEN / kgneg"]
    rows = []
    for one in found:
        key, loops = one["key"], one["loops"]
        stock = loops["PyKEEN"]
        cells = [*title(key), f"{key['batch']:,} x {key['negatives']}", f"{middle(stock) * stock[0]['batches']:.1f}"]
        for name in ("kgneg", "kgneg, shared"):
            runs = loops.get(name)
            cells += [f"{middle(runs) * runs[0]['batches']:.2f}", times_faster(stock, runs)] if runs else ["", ""]
        rows.append([*cells, f"{middle(stock, 'peak'):.0f} / {middle(loops['kgneg'], 'peak'):.0f}"])
    key = found[-1]["key"]
    return table(header, rows, f"{conditions(found)}, nssa loss, dimension {key['dim']}, {key['rounds']} rounds.")


def ranking_table(found: Sequence[Measured]) -> str:
    header = ["graph", "model", "loss", "epochs", "seeds", "PyKEEN", "kgneg", "kgneg, shared by 64"]
    rows = []
    for one in found:
        key = one["key"]
        cells: list[object] = [*title(key), key["loss"], key["epochs"], key["seeds"]]
        for runs in one["loops"].values():
            scores = [run["mrr"] for run in runs]
            deviation = statistics.stdev(scores) if len(scores) > 1 else 0.0
            cells.append(f"{statistics.mean(scores):.4f} ± {deviation:.4f}")
        rows.append(cells)
    key = found[-1]["key"]
    above = f"{conditions(found)}, dimension {key['dim']}, {key['batch']:,} x {key['negatives']}, learning rate "
    return table(header, rows, f"{above}{key['lr']}. Test MRR, mean and standard deviation over seeds.")


def growth_table(found: Sequence[Measured]) -> str:
    header = ["entities", "triples", "batch x negatives", "distinct entities per batch", "PyKEEN, ms per batch"]
    header += ["kgneg, ms per batch", "times faster"]
    rows = []
    for one in sorted(found, key=lambda one: (one["key"]["batch"], one["key"]["triples"] != 10**6)):
        key, loops = one["key"], one["loops"]
        drawn = key["batch"] * (2 + key["negatives"])
        distinct = key["entities"] * (1 - (1 - 1 / key["entities"]) ** drawn)
        cells = [f"{key['entities']:,}", f"{key['triples']:,}", f"{key['batch']:,} x {key['negatives']}"]
        cells += [f"{distinct:,.0f}", f"{middle(loops['PyKEEN']) * 1e3:,.1f}", f"{middle(loops['kgneg']) * 1e3:,.2f}"]
        rows.append([*cells, times_faster(loops["PyKEEN"], loops["kgneg"])])
    return table(header, rows, f"{conditions(found)}, nssa loss, DistMult, dimension {found[-1]['key']['dim']}.")


def plot(path: Path, measured: Sequence[Measured], grown: Sequence[Measured]) -> None:
    """Draw how many times faster epochs are, and how batches grow with entities."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    colours = {"kgneg": "#2f7fc1", "kgneg, shared": "#2f9e78", "PyKEEN": "#d9722e"}
    with mpl.rc_context({"svg.hashsalt": "kgneg", "font.size": 9.0}):
        figure = Figure(figsize=(10, 5), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        labels = []
        for place, one in enumerate(measured):
            key, loops = one["key"], one["loops"]
            labels.append(f"{' '.join(title(key))}, {key['batch']:,} x {key['negatives']}")
            for name in ("kgneg", "kgneg, shared"):
                if name in loops:
                    values = ratios(loops["PyKEEN"], loops[name])
                    left.plot(spread(values), [place, place], color=colours[name], linewidth=1)
                    left.plot(statistics.median(values), place, "o", color=colours[name], markersize=4)
        left.set_yticks(range(len(labels)), labels)
        left.invert_yaxis()
        left.set_xscale("log", base=2)
        left.xaxis.set_major_formatter("{x:g}x")
        left.axvline(1, color="grey", linewidth=0.8)
        left.grid(axis="x", alpha=0.2)
        left.set_xlabel("times faster than PyKEEN's loop, per epoch")
        for name in ("kgneg", "kgneg, shared"):
            left.plot([], [], "o", color=colours[name], label=name + (" by 64" if "shared" in name else ""))
        left.legend(frameon=False)
        for name in ("PyKEEN", "kgneg"):
            for batch, style in ((256, "--"), (1024, "-")):
                points = [
                    (one["key"]["entities"], middle(one["loops"][name]) * 1e3, one["key"]["negatives"])
                    for one in grown
                    if one["key"]["batch"] == batch and one["key"]["triples"] == 10**6
                ]
                if points:
                    x, y, negatives = zip(*sorted(points), strict=True)
                    label = f"{name}, {batch:,} x {negatives[0]}"
                    right.plot(x, y, style, marker="o", markersize=4, color=colours[name], label=label)
        right.set_xscale("log")
        right.set_yscale("log")
        right.set_xlabel("entities")
        right.set_ylabel("ms per batch")
        right.grid(alpha=0.2)
        right.legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})
