"""Tables, plot and plain reading of what benchmarks/link_prediction.py measured.

python benchmarks/link_prediction_page.py [--results docs/results/link_prediction.json] [--out docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["publish", "tables", "write_page"]

NAMES = {"codexsmall": "CoDEx-S", "fb15k237": "FB15k-237", "wn18rr": "WN18RR"}
MODELS = {"transe": "TransE", "distmult": "DistMult", "complex": "ComplEx", "rotate": "RotatE"}
PARAMS = {
    "lr": "lr",
    "margin": "margin",
    "adversarial_temperature": "alpha",
    "log_adversarial_temperature": "log t",
    "scale": "scale",
    "batch_size": "batch",
}
METRICS = {"mrr": "MRR", "accuracy": "hard-negative accuracy"}
UPPER = "1-vs-all"
LEVEL, ENOUGH = 0.05, 5
MARKS = ("<!-- link-prediction:begin -->", "<!-- link-prediction:end -->")
Found = Mapping[str, Any]


def publish(measured: Path, docs: Path) -> None:
    """Copy what was measured to the documentation, and bring its page and plot up to date.

    :param measured: the folder with results.json and timings.json
    :param docs: the folder with benchmarks.md
    """
    (docs / "results").mkdir(parents=True, exist_ok=True)
    for name, target in (("results", "link_prediction"), ("timings", "link_prediction_timings")):
        shutil.copyfile(measured / f"{name}.json", docs / "results" / f"{target}.json")
    write_page(docs / "benchmarks.md", json.loads((docs / "results" / "link_prediction.json").read_text()))


def write_page(page: Path, results: Mapping[str, Found]) -> None:
    """Put tables and reading between the marks of a page, and the plot beside it.

    :param page: the page
    :param results: what was measured, by graph
    """
    text = page.read_text(encoding="utf-8")
    if not all(mark in text for mark in MARKS):
        raise SystemExit(f"{page} lacks the marks {' and '.join(MARKS)}")
    picture = "![Test MRR by row, one panel per graph and model](link_prediction.svg)"
    inner = "\n\n".join([picture, *tables(results), *reading(results)])
    pattern = re.compile(re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1]), re.DOTALL)
    page.write_text(pattern.sub(lambda _: f"{MARKS[0]}\n\n{inner}\n\n{MARKS[1]}", text), encoding="utf-8")
    (page.parent / "link_prediction.svg").write_text(plot(results), encoding="utf-8")


def in_order(results: Mapping[str, Found]) -> list[tuple[str, Found]]:
    """Return the graphs as they are shown, and in them models and rows as they were measured; JSON has them sorted."""
    names = [*(name for name in NAMES if name in results), *sorted(set(results) - set(NAMES))]
    return [(name, ordered(results[name])) for name in names]


def ordered(result: Found) -> Found:
    models = {}
    for model in result["order"]["models"]:
        one = result["models"][model]
        models[model] = {
            **one,
            "rows": {row: one["rows"][row] for row in result["order"]["rows"] if row in one["rows"]},
        }
    return {**result, "models": models}


def title(dataset: str) -> str:
    return NAMES.get(dataset, dataset)


# tables


def tables(results: Mapping[str, Found]) -> list[str]:
    """Return the parts of the page: a heading and a line of conditions per graph, and a table per model.

    :param results: what was measured, by graph
    :returns: Markdown
    """
    found = []
    for dataset, result in in_order(results):
        found += [f"### {title(dataset)}", conditions(result)]
        for model, one in result["models"].items():
            found.append(table(f"{title(dataset)}, {MODELS[model]}", one, result["hardness"]))
    return found


def conditions(result: Found) -> str:
    budget, graph, versions = result["budget"], result["graph"], result["versions"]
    judged = min(budget["judged"], graph["valid"])
    parts = [
        f"{graph['train']:,} training, {graph['valid']:,} validation and {graph['test']:,} test triples, "
        f"{graph['entities']:,} entities.",
        f"For every row {budget['trials']} trials of {budget['epochs']} epochs, judged by {judged:,} validation "
        f"triples, then {budget['seeds']} seeds of {budget['epochs']} epochs.",
        f"{budget['negatives']} negatives per positive, batches of {budget['batch_size']}, dimension {budget['dim']}, "
        f"Adam; torch {versions['torch']}, PyKEEN {versions['pykeen']}, one CPU thread.",
        "Mean and standard deviation over seeds.",
        "Held-out: validation and test triples among 10,000 negatives, and how many times as many as among those of "
        f"`basic` ({number(result['uniform_held_out_per_10000'], 1)}).",
        "Hard: share of the other negatives that a lightly trained DistMult finds as plausible as a training triple "
        "(`kgneg audit`), without rows that look at the model in training.",
    ]
    if result["accuracy_without_model"] is not None:
        parts.append(
            "Without any model, by the more frequent answer per relation, "
            f"{result['accuracy_without_model']:.4f} of the hard negatives and held-out triples are classified rightly."
        )
    rows = ", ".join(f"{row} = `{spelled(one)}`" for row, one in result["samplers"].items() if one["options"])
    parts.append(f"A star marks a value in the outermost twentieth of its range. Rows with options: {rows or 'none'}.")
    return " ".join(parts)


def spelled(sampler: Found) -> str:
    options = ", ".join(f"{name}={value}" for name, value in sorted(sampler["options"].items()))
    return f"{sampler['name']}: {options}"


def table(name: str, model: Found, hardness: Mapping[str, float | None]) -> str:
    rows, baseline = model["rows"], model["baseline"]
    hard = any("accuracy" in row for row in rows.values())
    header = ["row", "tuned", "MRR", "Hits@1", "Hits@10"]
    header += ["hard-negative accuracy"] if hard else []
    header += ["held-out true per 10,000", "hard, %", "MRR against baseline [95 %]", "p", "p, Holm", "p over seeds"]
    header += ["accuracy against baseline [95 %]", "p"] if hard else []
    lines = [header, ["---"] * len(header)]
    for row, one in rows.items():
        cells = [f"{row} (baseline)" if row == baseline else row, tuned(one["tuning"])]
        cells += [mean(one[metric]) for metric in ("mrr", "hits_at_1", "hits_at_10")]
        cells += [mean(one.get("accuracy"))] if hard else []
        hard_share = hardness.get(row)
        cells += [false_negatives(one.get("negatives")), "" if hard_share is None else f"{100 * hard_share:.1f}"]
        cells += [*against(one["mrr"], ("p", "p_holm", "p_seeds"))]
        cells += against(one.get("accuracy", {}), ("p",)) if hard else []
        lines.append(cells)
    return f"**{name}**, loss {model['loss']}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def mean(one: Found | None) -> str:
    if one is None:
        return ""
    return f"{one['mean']:.4f}" + ("" if one["sd"] is None else f" ± {one['sd']:.4f}")


def tuned(tuning: Found) -> str:
    """Return the chosen values; a star marks one at the edge of its range."""
    edge = tuning["at_edge"]
    return ", ".join(
        f"{PARAMS.get(name, name)} {value:.3g}{'*' if name in edge else ''}"
        for name, value in sorted(tuning["params"].items(), key=lambda one: [*PARAMS].index(one[0]))
    )


def false_negatives(negatives: Found | None) -> str:
    if negatives is None:
        return ""
    ratio = "" if negatives["times_uniform"] is None else f" ({negatives['times_uniform']:.1f}x)"
    known = negatives["known_per_10000"]
    return number(negatives["held_out_per_10000"], 1) + ratio + (f", {known:.0f} known" if known else "")


def against(metric: Found, columns: Sequence[str]) -> list[str]:
    compared = metric.get("against_baseline")
    if compared is None:
        return [""] * (1 + len(columns))
    first = f"{compared['difference']:+.4f} [{compared['low']:+.4f}, {compared['high']:+.4f}]"
    return [first, *(p_value(compared.get(name)) for name in columns)]


def p_value(value: float | None) -> str:
    return "" if value is None else "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


# reading


def reading(results: Mapping[str, Found]) -> list[str]:
    """Return what the figures say, in words.

    :param results: what was measured, by graph
    :returns: Markdown
    """
    found = ["### Reading"]
    for dataset, result in in_order(results):
        lines = [line for metric in METRICS for line in verdicts(result, metric)]
        lines += [*upper(result), *falsehood(result), *warnings(result)]
        found.append(f"{title(dataset)}:\n\n" + "\n".join(f"- {line}" for line in lines))
    return found


def verdicts(result: Found, metric: str) -> list[str]:
    """Say which rows are above, below and within the noise of the baseline."""
    groups: dict[str, dict[str, list[str]]] = {"above": {}, "below": {}, "not told apart from": {}}
    for model, one in result["models"].items():
        for row, figures in one["rows"].items():
            compared = figures.get(metric, {}).get("against_baseline")
            if compared is None or row == UPPER:
                continue
            clear = compared["p_holm"] < LEVEL
            kind = "not told apart from" if not clear else "above" if compared["difference"] > 0 else "below"
            seeds = compared.get("p_seeds")
            note = ", not clear over seeds" if clear and (seeds is None or seeds >= LEVEL) else ""
            groups[kind].setdefault(row, []).append(f"{MODELS[model]} {compared['difference']:+.3f}{note}")
    if not any(groups.values()):
        return []
    name, seeds = METRICS[metric], result["budget"]["seeds"]
    few = "" if seeds >= ENOUGH else f" With {seeds} seed{'s' * (seeds > 1)} only this is a hint and no result."
    found = []
    for kind, rows in groups.items():
        said = "; ".join(f"{row} ({', '.join(models)})" for row, models in rows.items()) or "none"
        note = f" the tuned baseline (p < {LEVEL} after Holm's correction)" if kind != "not told apart from" else ""
        found.append(f"{name}, {kind}{note or ' the tuned baseline'}: {said}.{few}")
    return found


def upper(result: Found) -> list[str]:
    """Say how far the best row with negatives is from scoring all entities."""
    parts = []
    for model, one in result["models"].items():
        rows = {row: figures["mrr"]["mean"] for row, figures in one["rows"].items()}
        top = rows.pop(UPPER, None)
        if top is not None and rows:
            best = max(rows, key=lambda row: rows[row])
            parts.append(f"{MODELS[model]} {top:.3f}, best row with negatives {best} {rows[best]:.3f}")
    return [f"{UPPER}, MRR: {'; '.join(parts)}."] if parts else []


def falsehood(result: Found) -> list[str]:
    """Say which rows draw most true triples that no training filter can know."""
    highest: dict[str, float] = {}
    for one in result["models"].values():
        for row, figures in one["rows"].items():
            ratio = (figures.get("negatives") or {}).get("times_uniform")
            if ratio is not None:
                highest[row] = max(ratio, highest.get(row, 0.0))
    ranked = sorted(highest.items(), key=lambda one: (-one[1], one[0]))
    said = ", ".join(f"{row} {ratio:.1f}" for row, ratio in ranked)
    return [f"Held-out true triples among the negatives, times those of uniform ones (highest of the models): {said}."]


def warnings(result: Found) -> list[str]:
    """Say where tuning ended at the edge of a range."""
    parts = [
        f"{MODELS[model]} {row} ({', '.join(PARAMS.get(name, name) for name in figures['tuning']['at_edge'])})"
        for model, one in result["models"].items()
        for row, figures in one["rows"].items()
        if figures["tuning"]["at_edge"]
    ]
    return [f"Tuned to the edge of the range, so perhaps not tuned enough: {', '.join(parts)}."] if parts else []


def plot(results: Mapping[str, Found]) -> str:
    """Return the plot: MRR by row, one panel per graph and model.

    :param results: what was measured, by graph
    :returns: SVG
    """
    from kgneg.report.plots import colour, figure_to_svg, house_figure

    panels = [(dataset, result, list(result["models"])) for dataset, result in in_order(results)]
    wide = max(len(models) for _, _, models in panels)
    heights = [1.0 + 0.24 * max(len(one["rows"]) for one in result["models"].values()) for _, result, _ in panels]
    with house_figure(sum(heights)) as (figure, empty):
        empty.remove()
        figure.set_size_inches(1.6 + 2.3 * wide, sum(heights))
        grid = figure.subplots(len(panels), wide, squeeze=False, sharey="row", height_ratios=heights)
        for line, (dataset, result, models) in zip(grid, panels, strict=True):
            names = list(dict.fromkeys(row for one in result["models"].values() for row in one["rows"]))
            for axes in line[len(models) :]:
                axes.remove()
            for place, (axes, model) in enumerate(zip(line, models, strict=False)):
                one = result["models"][model]
                for row, figures in one["rows"].items():
                    y, own = names.index(row), colour(7 if row == UPPER else place)
                    values = figures["mrr"]["values"]
                    axes.plot(values, [y] * len(values), "o", color=own, alpha=0.6, markersize=4, markeredgewidth=0)
                    axes.plot([figures["mrr"]["mean"]] * 2, [y - 0.35, y + 0.35], color=own, linewidth=2)
                if one["baseline"] is not None:
                    middle = one["rows"][one["baseline"]]["mrr"]["mean"]
                    axes.axvline(middle, color="grey", linewidth=0.8, linestyle="--", zorder=0)
                axes.set_yticks(range(len(names)), labels=names)
                axes.set_ylim(len(names) - 0.4, -0.6)
                axes.tick_params(axis="both", labelsize=8)
                axes.grid(axis="x")
                axes.set_title(f"{title(dataset)}, {MODELS[model]}", fontsize=9)
                axes.set_xlabel("test MRR", fontsize=8)
        return figure_to_svg(figure, "link-prediction") + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("docs/results/link_prediction.json"))
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks.md"))
    arguments = parser.parse_args()
    write_page(arguments.out, json.loads(arguments.results.read_text()))


if __name__ == "__main__":
    main()
