"""What the cells of the link-prediction benchmark say together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from link_prediction_hard import FEW, hard_negatives, majority
from link_prediction_plan import ALL, BASELINES, MODELS, Budget, choice_of
from link_prediction_stats import compare_paired, compare_seeds, holm, rounded

from kgneg.compare import CompareData, SamplerChoice
from kgneg.compare.falsehood import count_true
from kgneg.compare.runs import quiet_pykeen
from kgneg.compare.store import versions

__all__ = ["collect"]

METRICS = ("mrr", "hits_at_1", "hits_at_10", "validation_mrr", "accuracy", "accuracy_one_threshold")
Cells = Mapping[tuple[str, str], Mapping[str, Any]]


def collect(
    data: CompareData, budget: Budget, cells: Cells, folder: Path, *, root: Path, resamples: int
) -> dict[str, Any]:
    """Return the results of a graph: nothing in them depends on the clock or on where the files are.

    :param data: the triples
    :param budget: what was equal for all rows
    :param cells: what came out, by model and row
    :param folder: where the measurements of single items are kept
    :param root: the folder with the shared data
    :param resamples: of the bootstrap
    """
    hard = hard_negatives(data, root)
    with quiet_pykeen():
        uniform = count_true(
            SamplerChoice("basic"), data, negatives=budget.negatives, at_least=budget.checked, seed=budget.seed
        )
    hardness = hardness_of([row for row in dict.fromkeys(row for _, row in cells) if row != ALL], data, budget)
    models = {}
    for model in dict.fromkeys(model for model, _ in cells):
        rows = {row: cell for (one, row), cell in cells.items() if one == model}
        models[model] = of_model(rows, folder, budget, uniform["held_out_per_10000"], resamples)
        models[model] |= {"loss": MODELS[model].loss, "start": dict(MODELS[model].start)}
    found = {
        "graph": data.to_dict(),
        "budget": {**budget.to_dict(), "resamples": resamples, "few": FEW},
        "uniform_held_out_per_10000": uniform["held_out_per_10000"],
        "accuracy_without_model": None if hard is None else majority(hard["valid"], hard["test"]),
        "hardness": hardness,
        "samplers": {row: spelled(row, budget) for row in dict.fromkeys(row for _, row in cells) if row != ALL},
        "versions": versions(),
        "models": models,
        "order": {"models": list(models), "rows": list(dict.fromkeys(row for _, row in cells))},
    }
    rounded_: dict[str, Any] = rounded(found)
    return rounded_


def spelled(row: str, budget: Budget) -> dict[str, Any]:
    choice = choice_of(row, budget)
    return {"name": choice.name, "options": dict(choice.options)}


def hardness_of(rows: Sequence[str], data: CompareData, budget: Budget) -> dict[str, float | None]:
    """Return the share of negatives that a lightly trained model finds plausible, known and held-out triples apart.

    Rows that look at the model are left out: they have none to look at before training.
    """
    from kgneg.audit import AuditSettings, audit

    choices = tuple((row, choice) for row in rows if not (choice := choice_of(row, budget)).needs_model)
    if not choices:
        return {}
    settings = AuditSettings(
        dataset=data.name,
        samplers=choices,
        negatives=budget.negatives,
        draws=budget.checked,
        seed=budget.seed,
        examples=0,
    )
    found = audit(settings, data=data, progress=False)
    return {row: found.sampler(row)["hardness"]["hard"]["share"] for row, _ in choices}


def of_model(
    rows: Mapping[str, Mapping[str, Any]], folder: Path, budget: Budget, uniform: float | None, resamples: int
) -> dict[str, Any]:
    """Return all rows of a model, compared with the better baseline."""
    found = {row: of_row(cell, uniform) for row, cell in rows.items()}
    present = [row for row in BASELINES if row in found]
    baseline = max(present, key=lambda row: found[row]["validation_mrr"]["mean"], default=None)
    if baseline is None:
        return {"baseline": None, "rows": found}
    others = [row for row in found if row != baseline]
    for metric, item in (("mrr", "reciprocal_ranks"), ("accuracy", "right")):
        if metric not in found[baseline]:
            continue
        base, values = items(rows[baseline], folder, item), {}
        for row in others:
            compared = compare_paired(items(rows[row], folder, item), base, resamples=resamples, seed=budget.seed)
            compared["p_seeds"] = compare_seeds(found[row][metric]["values"], found[baseline][metric]["values"])
            found[row][metric]["against_baseline"] = compared
            if row != ALL:  # the upper row is no sampler
                values[row] = compared["p"]
        for row, p in holm(values).items():
            found[row][metric]["against_baseline"]["p_holm"] = p
    return {"baseline": baseline, "rows": found}


def of_row(cell: Mapping[str, Any], uniform: float | None) -> dict[str, Any]:
    """Return means and spreads of a row, and what was tuned."""
    finals, tuning = cell["finals"], cell["tuning"]
    found: dict[str, Any] = {
        metric: spread([one[metric] for one in finals]) for metric in METRICS if metric in finals[0]
    }
    found["tuning"] = {
        **{name: tuning["best"][name] for name in ("number", "params", "mrr")},
        **{name: tuning[name] for name in ("at_edge", "ranges", "trials", "failed")},
    }
    negatives = finals[0].get("negatives")
    if negatives is not None:
        held_out = negatives["held_out_per_10000"]
        ratio = held_out / uniform if uniform and held_out is not None else None
        found["negatives"] = {**negatives, "times_uniform": ratio}
    return found


def spread(values: Sequence[float]) -> dict[str, Any]:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "sd": deviation, "values": list(values)}


def items(cell: Mapping[str, Any], folder: Path, name: str) -> np.ndarray:
    """Return a measurement of each test item: the mean over seeds, and over both sides of a triple."""
    parts = []
    for one in cell["finals"]:
        with np.load(folder / one["items"]) as kept:
            parts.append(kept[name].astype(float))
    mean = np.mean(parts, axis=0)
    return mean.mean(axis=1) if mean.ndim > 1 else mean
