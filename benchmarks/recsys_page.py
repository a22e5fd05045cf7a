"""Tables and plain reading of what benchmarks/recsys.py measured.

python benchmarks/recsys_page.py [--results docs/results/recsys.json] [--out docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys_peers import PEERS
from recsys_plan import SETS
from recsys_speed_page import collapse, epoch, evaluation, growth, momentum

from kgneg.core.storage import atomic_path

__all__ = ["publish", "tables", "write_page"]

LEVEL, ENOUGH = 0.05, 5
FOUND = Mapping[str, Any]
OURS = ("buir-nb", "buir-id", "buir-nb-tuned", "buir-id-tuned")


def publish(measured: Path, docs: Path) -> None:
    """Copy what was measured to the documentation, and bring its page up to date.

    :param measured: the file with the results
    :param docs: the folder with benchmarks.md
    """
    target = docs / "results" / "recsys.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(measured, target)
    write_page(docs / "benchmarks.md", json.loads(target.read_text(encoding="utf-8")))


def write_page(page: Path, results: FOUND) -> None:
    """Put every table that was measured between its marks.

    :param page: the page
    :param results: what was measured, by part
    """
    text = page.read_text(encoding="utf-8")
    for name, table in tables(results).items():
        begin, end = f"<!-- recommendation-{name}:begin -->", f"<!-- recommendation-{name}:end -->"
        if begin not in text or end not in text:
            raise SystemExit(f"{page} lacks the marks {begin} and {end}")
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        text = pattern.sub(lambda _, inner=f"{begin}\n\n{table}\n\n{end}": inner, text)
    with atomic_path(page) as path:
        path.write_text(text, encoding="utf-8", newline="\n")


def tables(results: FOUND) -> dict[str, str]:
    """Return the Markdown of each part that was measured.

    :param results: what was measured, by part
    :returns: Markdown by part
    """
    makers: dict[str, Callable[[FOUND], str]] = {
        "epoch": epoch,
        "evaluation": evaluation,
        "growth": growth,
        "momentum": momentum,
        "collapse": collapse,
    }
    found = {}
    if results.get("quality"):
        found["quality"] = quality(results["quality"], results.get("skipped", {}))
        found["peers"] = peers(results["quality"])
    return found | {name: make(results[name]) for name, make in makers.items() if results.get(name)}


def in_order(parts: FOUND) -> list[FOUND]:
    return sorted(parts.values(), key=lambda one: ([*SETS].index(one["set"]), -one["beta"]))


def name_of(part: FOUND) -> str:
    return f"{SETS[part['set']].title}, beta {part['beta']:g}"


# quality


def quality(parts: FOUND, skipped: FOUND) -> str:
    """Return a table for each split, and what they say."""
    found = []
    for part in in_order(parts):
        found += [f"#### {name_of(part)}", conditions(part), table(part)]
        failures = [f"{row}: {one['failure']}" for row, one in part["rows"].items() if one["failure"]]
        if failures:
            found.append("Failed or skipped:\n\n" + "\n".join(f"- {line}" for line in failures))
    missing = [
        f"{name} ({reason})" for name, reason in skipped.items() if all(one["set"] != name for one in parts.values())
    ]
    if missing:
        found.append(f"Not measured: {'; '.join(missing)}.")
    said = [line for part in in_order(parts) for line in reading(part)]
    return "\n\n".join([*found, "#### Reading", "\n".join(f"- {line}" for line in said)])


def conditions(part: FOUND) -> str:
    facts, budget, versions = part["facts"], part["budget"], part["versions"]
    limits = [
        f"{name} at most {budget[key]:g}{unit}"
        for name, key, unit in (
            ("trainings of", "epochs", " epochs"),
            ("trials of", "trial_epochs", " epochs"),
            ("each of", "time_limit", " CPU seconds"),
        )
        if budget[key]
    ]
    libraries = ", ".join(f"{name} {versions[name]}" for name in ("torch", "implicit", "cornac") if name in versions)
    said = f"; {', '.join(limits)}" if limits else ""
    counts = next((one["counts"] for one in part["rows"].values() if one.get("counts", {}).get("test_pairs")), None)
    judged = f", {counts['users']:,} users judged" if counts else ""
    return (
        f"{facts['users']:,} users, {facts['items']:,} items, {facts['pairs']:,} pairs{judged}. "
        f"{budget['trials']} trials for each tuned row, {budget['seeds']} seeds{said}. "
        f"Best neural baseline: {part['baseline'] or 'none'}. {libraries}, "
        f"{part['machine']}, one thread per process, {part['jobs']} at once."
    )


def table(part: FOUND) -> str:
    header = ["row", "recall@20", "NDCG@20", "recall@10", "coverage@20", "best epoch", "s per epoch", "s in all"]
    header += [
        "recall@20 against best neural baseline [95 %]",
        "p",
        "p, Holm",
        "against LightGCN",
        "p",
        "p, Holm",
        "tuned",
    ]
    lines = []
    for row in part["order"]:
        one = part["rows"][row]
        if "recall@20" not in one:
            continue
        name = f"{row} (baseline)" if row == part["baseline"] else row
        cells = [name, *(mean(one.get(figure)) for figure in ("recall@20", "ndcg@20", "recall@10", "coverage@20"))]
        cells += [plain(one.get("best_epoch"), 0), plain(one.get("cpu_per_epoch"), 3), plain(one.get("cpu_seconds"), 1)]
        cells += [*against(one.get("against_baseline"), True), *against(one.get("against_lightgcn"), False)]
        lines.append([*cells, tuned(one["tuning"])])
    return rows_of(header, lines)


def rows_of(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows])


def mean(one: FOUND | None) -> str:
    if one is None:
        return ""
    return f"{one['mean']:.4f}" + ("" if one["sd"] is None else f" ± {one['sd']:.4f}")


def plain(one: FOUND | None, digits: int) -> str:
    return "" if one is None else f"{one['mean']:,.{digits}f}"


def p_value(value: float | None) -> str:
    return "" if value is None else "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def against(one: FOUND | None, interval: bool) -> list[str]:
    if one is None:
        return ["", "", ""]
    said = f"{one['difference']:+.4f}"
    if interval and one["low"] is not None:
        said += f" [{one['low']:+.4f}, {one['high']:+.4f}]"
    return [said, p_value(one["p"]), p_value(one.get("p_holm"))]


def tuned(tuning: FOUND | None) -> str:
    """Return the chosen options; `default` where no trial was better than the first."""
    if tuning is None or tuning["best"] is None:
        return ""
    options = tuning["best"]["options"]
    return ", ".join(f"{name} {short(value)}" for name, value in options.items()) or "default"


def short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


# peers


def peers(parts: FOUND) -> str:
    """Return seconds and users per second, ours beside those of other libraries."""
    header = [
        "split",
        "row",
        "recall@20",
        "s per epoch",
        "s in all",
        "lists of 50, users per s",
        "evaluation, users per s",
    ]
    lines = []
    for part in in_order(parts):
        for row in part["order"]:
            one = part["rows"][row]
            if "recall@20" not in one or not (
                row in PEERS or one["model"] in ("buir-nb", "buir-id", "lightgcn", "bpr")
            ):
                continue
            cells = [name_of(part), row, mean(one["recall@20"]), plain(one.get("cpu_per_epoch"), 3)]
            cells += [plain(one.get("cpu_seconds"), 1)]
            cells += [plain(one.get(name), 0) for name in ("lists_per_second", "evaluated_per_second")]
            lines.append(cells)
    return rows_of(header, lines)


# reading


def reading(part: FOUND) -> list[str]:
    """Say how BUIR stands to LightGCN and the best neural baseline, and what is best of all."""
    rows = {row: one for row, one in part["rows"].items() if "recall@20" in one}
    found = []
    for name, other in (("against_lightgcn", "LightGCN"), ("against_baseline", part["baseline"])):
        said = [f"{row} {verdict(rows[row][name])}" for row in OURS if name in rows.get(row, {})]
        if said and not (name == "against_baseline" and other == "lightgcn"):
            found.append(f"{name_of(part)}, recall@20 beside {other}: {'; '.join(said)}.")
    if rows:
        best = max(rows, key=lambda row: rows[row]["recall@20"]["mean"])
        found.append(f"{name_of(part)}: the best of all rows is {best} with {mean(rows[best]['recall@20'])}.")
    if part["budget"]["seeds"] < ENOUGH:
        found.append(f"{name_of(part)}: {part['budget']['seeds']} seeds are too few to tell rows apart.")
    cut = [row for row, one in rows.items() if row not in PEERS and {"time", "epochs"} & set(one["stopped"])]
    if cut:
        found.append(f"{name_of(part)}: training ended before it stopped improving for {', '.join(cut)}.")
    flat = [f"{row} ({one['health']['collapsed']} of {one['health']['runs']})" for row, one in rows.items() if bad(one)]
    if flat:
        found.append(f"{name_of(part)}: the embeddings of the best epoch have collapsed for {', '.join(flat)}.")
    return found


def bad(row: FOUND) -> bool:
    return bool(row["health"] and row["health"]["collapsed"])


def verdict(compared: FOUND) -> str:
    p = compared.get("p_holm")
    clear = p is not None and p < LEVEL
    kind = "not told apart" if not clear else "above" if compared["difference"] > 0 else "below"
    return f"{kind} ({compared['difference']:+.4f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("docs/results/recsys.json"))
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks.md"))
    arguments = parser.parse_args()
    write_page(arguments.out, json.loads(arguments.results.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
