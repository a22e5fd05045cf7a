"""What negatives are worth on an ordinary graph, CoDEx-S: `kgneg audit` of samplers with and without the constraint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from car_data import MissingDataError
from car_stats import markdown, middle

#: row -> sampler, in the notation of `kgneg audit`
SAMPLERS = {
    "kgneg-uniform": "kgneg-uniform",
    "typed": "typed",
    "concept, paper": "concept:mode=paper,proposal=owners",
    "concept, owners": "concept:proposal=owners",
    "concept": "concept:proposal=uniform",
    "concept, same type": "concept:proposal=uniform,require=types",
    "concept, budget 0.5": "concept:proposal=uniform,budget=0.5",
    "lemon+": "lemon+",
}


def run(data: Path, *, seeds: int, draws: int, samplers: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the figures of each sampler for each seed."""
    from kgneg.audit import AuditSettings, audit

    folder = data / "kg" / "codex-s"
    if not folder.is_dir():
        raise MissingDataError(f"there is no folder {folder}; set KGNEG_DATA")
    found: dict[str, Any] = {"draws": draws, "rows": []}
    chosen = tuple((SAMPLERS if samplers is None else samplers).values())
    for seed in range(seeds):
        settings = AuditSettings(dataset=str(folder), samplers=chosen, draws=draws, seed=seed, examples=0)
        result = audit(settings, progress=False)
        found["graph"] = {name: result.dataset[name] for name in ("entities", "relations", "train", "valid", "test")}
        for label in chosen:
            one = result.sampler(label)
            found["rows"].append({"sampler": label, "seed": seed, **figures(one)})
            print(f"{label}, seed {seed}: {figures(one)}", flush=True)
    return found


def figures(one: Any) -> dict[str, Any]:
    """Return the main figures of a sampler."""
    verified = one["verified"] or {}
    return {
        "known": one["rates"]["train"]["share"],
        "held_out": one["rates"]["held_out"]["share"],
        "low": one["rates"]["held_out"]["low"],
        "high": one["rates"]["held_out"]["high"],
        "ratio": one["held_out_ratio"]["ratio"],
        "hard": one["hardness"]["hard"]["share"],
        "same_type": one["types"]["shares_type"]["share"],
        "fits": one["types"]["fits_slot"]["share"],
        "verified": verified.get("lift"),
        "fallback": one["fallback"],
        "entities": one["entities"]["effective"],
    }


def table(found: dict[str, Any]) -> str:
    """Return the figures as Markdown: medians over seeds, the least and the largest in brackets."""
    columns = ["known, %", "held out, per 10,000", "times uniform", "hard, %", "held out per hard one, times uniform"]
    columns += ["same type, %", "fits, %", "verified, times uniform", "stand-ins, %", "entities"]
    lines = [["sampler", *columns]]
    names = list(dict.fromkeys(one["sampler"] for one in found["rows"]))
    base = [one for one in found["rows"] if one["sampler"] == names[0]]
    for name in names:
        own = [one for one in found["rows"] if one["sampler"] == name]
        price = [
            (one["held_out"] / one["hard"]) / (other["held_out"] / other["hard"])
            for one, other in zip(own, base, strict=True)
        ]
        cells = [
            _cell([100 * one["known"] for one in own], 2),
            _cell([1e4 * one["held_out"] for one in own], 1),
            _cell([one["ratio"] for one in own], 2),
            _cell([100 * one["hard"] for one in own], 1),
            _cell(price, 2),
            _cell([100 * one["same_type"] for one in own], 0),
            _cell([100 * one["fits"] for one in own], 0),
            _cell([one["verified"] for one in own], 2),
            _cell([None if one["fallback"] is None else 100 * one["fallback"] for one in own], 1),
            _cell([one["entities"] for one in own], 0),
        ]
        lines.append([f"`{name}`", *cells])
    graph = found["graph"]
    return markdown(lines) + (
        f"\n\nCoDEx-S: {graph['train']:,} training, {graph['valid']:,} validation and {graph['test']:,} test triples, "
        f"{graph['entities']:,} entities; {found['draws']:,} negatives of each sampler at least, "
        f"{len(base)} seeds of the draws and of the model that hardness is judged by."
    )


def _cell(values: list[Any], digits: int) -> str:
    return "-" if None in values else middle(values, digits)
