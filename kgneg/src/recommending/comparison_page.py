"""The report of a comparison of recommenders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kgneg.recommending.page import METRIC_NAMES, read_rows, spell
from kgneg.report import Figure, Report, Section, Series, Table, dot_plot, line_plot, scatter_plot

if TYPE_CHECKING:
    from kgneg.recommending.comparison_result import RecComparison

__all__ = ["build_report", "overview"]

_NONE = "\N{EN DASH}"
_PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
_MINUS = "\N{MINUS SIGN}"
_P_NOTES = (
    ("p, users", "sign-flip test over the users, each with the mean over the seeds: would it be so for other users?"),
    ("p, seeds", "paired t-test over the seeds: would it be so for other seeds? Needs several seeds"),
)


def overview(result: RecComparison) -> Table:
    """Return the figures of each model in one narrow table.

    :param result: the results
    :returns: the table
    """
    metric = result.metric
    k = metric.partition("@")[2]
    second = f"ndcg@{k}" if metric != f"ndcg@{k}" else f"recall@{k}"
    rows = []
    for entry in result.summary():
        own, other = entry["metrics"][metric], entry["metrics"][second]
        rows.append(
            (
                entry["model"],
                _with_sd(own, entry),
                *_difference(entry["significance"]),
                f"{other['mean']:.4f}",
                f"{entry['beyond'][f'coverage@{k}']:.3f}",
                f"{entry['seconds']['training']:.1f}",
            )
        )
    columns = ("model", _called(metric), "difference", "p, users", "p, seeds", _called(second), "coverage", "seconds")
    return Table(columns, tuple(rows))


def build_report(result: RecComparison) -> Report:
    """Return the report.

    :param result: the results
    :returns: title, lead and sections
    """
    sections = (
        Section("Ranks", (*_rank_parts(result),)),
        Section("Differences", (*_difference_parts(result),)),
        Section("Training", (*_training_parts(result),)),
        Section("Beyond accuracy", (*_beyond_parts(result),)),
        Section("Few and many items", (*_group_parts(result),)),
        Section("How it was done", (*_method_parts(result),)),
        Section("All runs", (_run_table(result),), folded=True),
    )
    versions = ", ".join(f"{name} {number}" for name, number in sorted(result.versions.items()))
    return Report(
        title=f"Recommenders on {result.data['name']}",
        lead=_lead(result),
        sections=tuple(one for one in sections if one.parts),
        footer=f"Made by kgneg rec compare. {versions}.",
    )


def _lead(result: RecComparison) -> str:
    """Return the outcome in words."""
    summary, metric = result.summary(), result.metric
    ranked = sorted(summary, key=lambda entry: -entry["metrics"][metric]["mean"])
    best, first = ranked[0], summary[0]
    text = f"{best['model']} has the highest {_called(metric)} on the test pairs, {best['metrics'][metric]['mean']:.4f}"
    if first is not best:
        text += f"; {first['model']}, which the others are compared with, has {first['metrics'][metric]['mean']:.4f}"
    floors = [entry for entry in summary if entry["model"] in ("popularity", "two-hop")]
    below = [
        entry["model"]
        for entry in summary
        if entry["trained"]
        and any(one["metrics"][metric]["mean"] >= entry["metrics"][metric]["mean"] for one in floors)
    ]
    if below:
        text += f". Not above every floor that needs no training: {', '.join(below)}"
    collapsed = [entry["model"] for entry in summary if entry["collapsed"]]
    if collapsed:
        text += f". Embeddings have collapsed in runs of {', '.join(collapsed)}"
    if len(result.settings["seeds"]) == 1:
        text += ". One seed says little: another one may turn the order round"
    return f"{text}."


def _rank_parts(result: RecComparison) -> list[Table | Figure]:
    summary = result.summary()
    names = list(dict.fromkeys(name.partition("@")[0] for name in summary[0]["metrics"]))
    k = result.metric.partition("@")[2]
    rows = tuple(
        (entry["model"], *(_with_sd(entry["metrics"][f"{name}@{k}"], entry, 3) for name in names)) for entry in summary
    )
    told = f"Means over the test users for lists of {k}{_over(result)}. All items are ranked. Higher is better."
    table = Table(("model", *(METRIC_NAMES[name] for name in names)), rows, told)
    lengths = [f"{metric}@{k}" for metric in ("recall", "ndcg") for k in result.settings["ks"]]
    rows = tuple((entry["model"], *(f"{entry['metrics'][one]['mean']:.4f}" for one in lengths)) for entry in summary)
    long = Table(("model", *map(_called, lengths)), rows, "The same for lists of other lengths; means.")
    series = [
        Series(label, (tuple(run["test"]["metrics"][result.metric] for run in result.runs_of(label)),))
        for label in result.models
    ]
    figure = Figure(
        dot_plot("ranks", series, x_label=f"{_called(result.metric)} on the test pairs (higher is better)"),
        "Each dot is one run, that is one seed; the bar is their mean. Models that draw nothing have the same in every "
        "run. The axis does not begin at zero.",
        f"{_called(result.metric)} of every run, one row per model",
    )
    return [table, figure, long]


def _difference_parts(result: RecComparison) -> list[str | Table]:
    first, rows = result.models[0], []
    for label, found in result.significance.items():
        users = found["users"]
        shares = (_NONE, _NONE)
        if users is not None:
            shares = (f"{users['low']:+.4f} to {users['high']:+.4f}", f"{users['wins']:,} / {users['losses']:,}")
        rows.append((label, *_difference(found), *(one.replace("-", _MINUS) for one in shares)))
    if not rows:
        return []
    table = Table(
        (f"difference to {first}", _called(result.metric), "p, users", "p, seeds", "95 % over users", "better / worse"),
        tuple(rows),
        f"Positive: better than {first}. Better and worse: for how many users.",
        notes=_P_NOTES,
    )
    return [
        table,
        "Both tests are needed: the one over users does not see that another seed trains another model, and the one "
        "over seeds does not see that other users would have come. The values of p are not corrected for the number of "
        "models.",
    ]


def _training_parts(result: RecComparison) -> list[str | Figure | Table]:
    series, metrics = [], set()
    for label in result.models:
        history = result.runs_of(label)[0]["history"]
        looks = [] if history is None else [one["value"] for one in history["epochs"] if "value" in one]
        if looks:
            series.append(Series(label, (tuple(looks),)))
            metrics.add(history["metric"])
    rows = tuple(
        (
            entry["model"],
            spell(entry["epochs"]),
            f"{entry['seconds']['training']:.2f}",
            f"{entry['seconds']['evaluation']:.2f}",
            f"{entry['collapsed']} of {entry['runs']}" if entry["trained"] else _NONE,
        )
        for entry in result.summary()
    )
    table = Table(
        ("model", "epochs", "training, seconds", "evaluation, seconds", "collapsed"),
        rows,
        "Means over the seeds; training is without the looks at validation. Seconds depend on the machine.",
    )
    if not series:
        return [table]
    words = " or ".join(sorted(metrics))
    figure = Figure(
        line_plot("validation", series, x_label="look at the validation pairs", y_label=words),
        "What decides when to stop, at each look, in the run with the first seed. Curves end where training was "
        "stopped; looks of two models can be different numbers of epochs apart.",
        f"{words} on the validation pairs by look, one line per model",
    )
    return [figure, table]


def _beyond_parts(result: RecComparison) -> list[Table | Figure]:
    k = result.metric.partition("@")[2]
    names = {
        f"coverage@{k}": "coverage",
        f"gini@{k}": "Gini",
        f"popularity_bias@{k}": "popularity bias",
        f"novelty@{k}": "novelty, bits",
    }
    rows = tuple((entry["model"], *(spell(entry["beyond"][name]) for name in names)) for entry in result.summary())
    notes = (
        ("coverage", "share of all items that somebody is shown"),
        ("Gini", "how unequally often items are shown: 0 all alike, 1 only one"),
        ("popularity bias", "training users of shown items by those of the items to be found; 1 is fair"),
        ("novelty", "how rare the shown items are: minus log2 of their share of training users"),
    )
    table = Table(("model", *names.values()), rows, f"What lists of {k} show; means over the seeds.", notes=notes)
    series = [
        Series(
            label,
            (
                tuple(run["test"]["beyond"][f"coverage@{k}"] for run in result.runs_of(label)),
                tuple(run["test"]["metrics"][result.metric] for run in result.runs_of(label)),
            ),
        )
        for label in result.models
    ]
    figure = Figure(
        scatter_plot("coverage", series, x_label=f"coverage of lists of {k}", y_label=_called(result.metric)),
        "Accuracy against the share of items that are shown at all. Up and to the right is better.",
        f"{_called(result.metric)} against coverage, one colour per model",
    )
    return [table, figure]


def _group_parts(result: RecComparison) -> list[Table]:
    found = []
    for key, what in (("by_user_items", "training items"), ("by_item_popularity", "items")):
        groups = result.runs[0]["test"]["beyond"].get(key, {})
        metric = result.metric if key == "by_user_items" else f"recall@{result.metric.partition('@')[2]}"
        rows = []
        for label in result.models:
            cells = []
            for name in groups:
                values = [run["test"]["beyond"][key].get(name, {}).get(metric) for run in result.runs_of(label)]
                known = [value for value in values if value is not None]
                cells.append(f"{sum(known) / len(known):.4f}" if known else _NONE)
            rows.append((label, *cells))
        told = {
            "by_user_items": f"{_called(metric)} by the number of training items of the user.",
            "by_item_popularity": f"{_called(metric)} of items of which many, some and few pairs are for training.",
        }[key]
        number = "users" if key == "by_user_items" else "items"
        heads = [f"{name} ({groups[name][number]:,} {number})" for name in groups]
        found.append(Table((f"model / {what}", *heads), tuple(rows), told))
    return found


def _method_parts(result: RecComparison) -> list[str | Table]:
    settings = result.settings
    rows = (
        *read_rows(result.data),
        ("seeds", ", ".join(map(str, settings["seeds"]))),
        (
            "splits",
            "one for each seed; the figures above are of the first" if settings["resplit"] else "one for all seeds",
        ),
    )
    options = tuple(
        (
            one["label"],
            one["name"],
            ", ".join(f"{key} = {spell(value)}" for key, value in one["options"].items()) or _NONE,
        )
        for one in settings["models"]
    )
    return [
        "All models had the same pairs to learn from, and the same validation and test pairs. Nothing was tuned here: "
        "a model that needs other options than these is at a disadvantage.",
        Table(("what", "value"), rows, "What was equal for all models.", frozenset({"value"})),
        Table(
            ("model", "name", "options"),
            options,
            "What differed; options that are not named have their defaults.",
            frozenset({"name", "options"}),
        ),
    ]


def _run_table(result: RecComparison) -> Table:
    k = result.metric.partition("@")[2]
    names = list(dict.fromkeys([result.metric, f"recall@{k}", f"ndcg@{k}"]))
    rows = tuple(
        (
            run["model"],
            str(run["seed"]),
            *(f"{run['test']['metrics'][name]:.4f}" for name in names),
            f"{run['validation']['metrics'][result.metric]:.4f}",
            f"{run['seconds']['training']:.2f}",
        )
        for run in result.runs
    )
    columns = ("model", "seed", *map(_called, names), f"validation {_called(result.metric)}", "seconds")
    return Table(columns, rows, "Every run. Seconds: of training.")


def _difference(found: Mapping[str, Any] | None) -> tuple[str, str, str]:
    """Return the difference to the first model, and how likely it would be by chance."""
    if found is None:
        return _NONE, _NONE, _NONE
    runs, users = found["runs"], found["users"]
    chance = runs["first_std"] or runs["second_std"]  # two models that draw nothing do not differ by chance
    return (
        f"{runs['difference']:+.4f}".replace("-", _MINUS),
        _NONE if users is None else _p(users["p_sign_flip"]),
        _p(runs["p_t"]) if chance and runs["p_t"] is not None else _NONE,
    )


def _p(value: float) -> str:
    return "< .001" if value < 1e-3 else f"{value:.3f}"


def _with_sd(spread: Mapping[str, Any], entry: Mapping[str, Any], digits: int = 4) -> str:
    if spread["sd"] is None or not entry["trained"]:
        return f"{spread['mean']:.{digits}f}"
    return f"{spread['mean']:.{digits}f} {_PLUS_MINUS} {spread['sd']:.{digits}f}"


def _over(result: RecComparison) -> str:
    """Say what numbers with a standard deviation are."""
    seeds = len(result.settings["seeds"])
    return f": mean {_PLUS_MINUS} standard deviation over {seeds} seeds" if seeds > 1 else ""


def _called(metric: str) -> str:
    name, _, k = metric.partition("@")
    return f"{METRIC_NAMES[name]}@{k}"
