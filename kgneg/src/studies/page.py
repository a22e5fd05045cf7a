"""The report of a study: what is said, shown and tabulated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kgneg.report import Figure, Report, Section, Table
from kgneg.studies.plots import Drawing, draw_front, draw_history, draw_importance

if TYPE_CHECKING:
    from kgneg.studies.result import StudyResult

__all__ = ["build_report", "draw"]

_NONE = "\N{EN DASH}"
_METRICS = {"mrr": "MRR", "hits_at_1": "Hits@1", "hits_at_3": "Hits@3", "hits_at_10": "Hits@10"}
_PAIRS = {False: "triples", True: "pairs"}
_TEXTS = "; the first trial of a sampler may pay for texts that later ones reuse"
_CAPTIONS = {
    "history": (
        "The score of every finished trial. Hollow: pruned, with the score at that time. The line is the best complete "
        "one so far. The axis does not begin at zero.",
        "Validation {score} by number of the trial",
    ),
    "pareto": (
        "Score against seconds of training, without ranking. No trial on the line is beaten in both. Seconds depend on "
        "the machine and on what else it did{texts}.",
        "Validation {score} against seconds of training, with the front of the best trials",
    ),
    "importance": (
        "How much of the differences between complete trials goes with each parameter, as a forest of decision trees "
        "sees it. Only parameters that all complete trials have can be compared. With few trials this says little.",
        "Importance of parameters, as bars",
    ),
}


def draw(result: StudyResult) -> list[Drawing]:
    """Draw the figures that the trials allow.

    :param result: the study
    :returns: history, Pareto front and importance, as far as there is something to draw
    """
    found = (draw_history(result), draw_front(result), draw_importance(result))
    return [one for one in found if one is not None]


def build_report(result: StudyResult, figures: Sequence[Drawing]) -> Report:
    """Return the report.

    :param result: the study
    :param figures: its figures
    :returns: title, lead and sections
    """
    words = {"score": result.objective, "texts": "" if result.is_recommender else _TEXTS}
    drawn = {one.name: Figure(one.svg, *(text.format(**words) for text in _CAPTIONS[one.name])) for one in figures}
    sections = [
        Section("Best configuration", (*_best_parts(result),)),
        Section("History", (drawn.get("history", "No trial is finished yet."), _state_table(result))),
        Section("Score and time", (drawn.get("pareto", "No trial is complete yet."), *_front_parts(result))),
        Section("Choices", (*_choice_parts(result),)),
        Section("Importance of parameters", (drawn.get("importance", _no_importance(result)),)),
        Section("How it was done", (*_method_parts(result),)),
        Section("All trials", (_trial_table(result),), folded=True),
    ]
    versions = ", ".join(
        f"{name.removeprefix('version of ')} {number}"
        for name, number in sorted(result.definition.items())
        if name.startswith("version of ")
    )
    return Report(
        title=f"Study {result.name} on {result.dataset['name']}",
        lead=_lead(result),
        sections=tuple(sections),
        footer=f"Made by kgneg study. {versions}.",
    )


def _lead(result: StudyResult) -> str:
    """Return the outcome in words."""
    states, best = result.states(), result.best
    wanted = result.settings["trials"]
    counted = f"{len(result.finished)} of {wanted} trials are finished, {states.get('pruned', 0)} of them pruned"
    if best is None:
        return f"{counted}; none is complete, so there is no best configuration."
    if result.is_recommender:
        text = f"{counted}. The best, trial {best['number']}, is {best['model']}; its {result.objective}"
    else:
        text = (
            f"{counted}. The best, trial {best['number']}, trained {best['model']} with {best['sampler']} negatives "
            f"and the loss {best['loss']}; its mean reciprocal rank (MRR)"
        )
    pairs = _PAIRS[result.is_recommender]
    text += f" is {best['value']:.4f} on the validation {pairs}"
    if best["test"]:
        name = result.objective if result.is_recommender else "mrr"
        text += f" and {best['test'][name]:.4f} on the test {pairs}"
    text += ". The best of many trials is partly luck: its validation score is too high on average."
    if result.problems:
        text += f" Problems: {'; '.join(result.problems)}."
    return text


def _best_parts(result: StudyResult) -> list[str | Table]:
    best = result.best
    if best is None:
        return ["No trial is complete yet."]
    if result.is_recommender:
        k = result.objective.partition("@")[2]
        shown = {name: name for name in result.metrics if name.partition("@")[2] == k}
        told = f"Means over users, trial {best['number']}; all items are ranked. Higher is better."
        kept = (
            "What it was trained with; best.json has it for kgneg rec train --config. Options that are not listed have "
        )
        kept += "their defaults."
    else:
        shown = _METRICS
        told = f"Filtered ranks of trial {best['number']}. Higher is better."
        kept = (
            "What it was trained with; best.json has it as an experiment of PyKEEN. Arguments that are not listed have "
        )
        kept += "PyKEEN's defaults."
    scores = tuple(
        (part, *(f"{best[part][name]:.4f}" for name in shown)) for part in ("validation", "test") if best[part]
    )
    rows: list[tuple[str, str]] = []
    for name, value in best["configuration"].items():
        if isinstance(value, Mapping):
            owner = name.removesuffix("_kwargs")
            rows += [(f"{owner}.{key}", _spell(one)) for key, one in sorted(value.items())]
        else:
            rows.append((name, str(value)))
    rows += [("seed", str(best["seed"])), ("epochs", str(best["epochs"]))]
    return [
        Table((_PAIRS[result.is_recommender], *shown.values()), scores, told),
        Table(("parameter", "value"), tuple(rows), kept, frozenset({"value"})),
    ]


def _state_table(result: StudyResult) -> Table:
    table = result.table()
    notes = (
        ("complete", "trained to the end"),
        ("pruned", "given up early, because its score was behind that of the others"),
        ("fail", "its worker was killed or stopped, or the configuration could not be trained; see all trials"),
    )
    return Table(table.columns, table.rows, "Trials by state.", notes=notes)


def _front_parts(result: StudyResult) -> list[Table]:
    rows = tuple(
        (
            str(trial["number"]),
            *(trial[kind] for kind in result.choices),
            f"{trial['value']:.4f}",
            _seconds(trial),
        )
        for trial in result.front()
    )
    if not rows:
        return []
    columns = ("trial", *result.choices, f"validation {result.objective}", "seconds")
    caption = "The trials on the front, the fastest first."
    return [Table(columns, rows, caption, frozenset(result.choices))]


def _choice_parts(result: StudyResult) -> list[str | Table]:
    found: list[str | Table] = []
    for kind in result.choices:
        names = list(dict.fromkeys(trial[kind] for trial in result.finished if trial[kind]))
        rows = []
        for name in sorted(names):
            own = [trial for trial in result.finished if trial[kind] == name]
            values = sorted(trial["value"] for trial in own if trial["state"] == "complete")
            rows.append(
                (
                    name,
                    str(len(own)),
                    str(len(values)),
                    f"{values[-1]:.4f}" if values else _NONE,
                    f"{values[len(values) // 2]:.4f}" if values else _NONE,
                )
            )
        if rows:
            found.append(Table((kind, "finished", "complete", "best", "median"), tuple(rows), f"Trials by {kind}."))
    if not found:
        return ["No trial is finished yet."]
    said = (
        f"Scores are {result.objective} on the validation {_PAIRS[result.is_recommender]}, of complete trials. A "
        "search looks more often where it finds more, "
    )
    return [said + "so a choice with few trials has not had the same chance as the others.", *found]


def _no_importance(result: StudyResult) -> str:
    return f"The importance is not shown: {result.importance}."


def _method_parts(result: StudyResult) -> list[str | Table]:
    settings = result.settings
    pruner = settings["pruner"]
    pruned = pruner if pruner == "none" else f"{pruner}, every {settings['prune_every']} epochs"
    search = settings["search"]
    said = (
        *_data_rows(result),
        ("storage", result.storage),
        ("search", search if search == "random" else f"{search}, after {settings['startup']} trials at random"),
        ("pruning", pruned),
        ("epochs", str(settings["epochs"])),
        *(() if result.is_recommender else (("training loop", settings["training_loop"]),)),
        ("seed", str(settings["seed"])),
    )
    words = {"samplers", "models", "losses", "optimizer"}
    space = [(name, value) for name, value in result.definition.items() if "." in name or name in words]
    rows = tuple((name, _spell_range(value)) for name, value in sorted(space, key=lambda one: ("." in one[0], one[0])))
    return [
        Table(("setting", "value"), said, "What all trials have in common.", frozenset({"value"})),
        Table(("parameter", "values"), rows, "What was searched.", frozenset({"values"})),
    ]


def _data_rows(result: StudyResult) -> tuple[tuple[str, str], ...]:
    """Return what the trials were trained with."""
    dataset = result.dataset
    sizes = f"{dataset['train']:,} train, {dataset['valid']:,} valid, {dataset['test']:,} test"
    if result.is_recommender:
        split = ", ".join(f"{name} {value}" for name, value in dataset["split"].items())
        return (
            ("interactions", f"{dataset['name']}: {dataset['users']:,} users, {dataset['items']:,} items"),
            ("pairs", sizes),
            ("split", split),
        )
    return (
        ("graph", f"{dataset['name']}: {dataset['entities']:,} entities, {dataset['relations']:,} relations"),
        ("triples", sizes),
    )


def _spell_range(value: Any) -> str:
    """Return a range, or a fixed value, in words."""
    if not isinstance(value, Mapping) or set(value) != {"range"}:
        return ", ".join(value) if isinstance(value, list) else _spell(value)
    one = value["range"]
    if "choices" in one:
        return "one of " + ", ".join(_spell(choice) for choice in one["choices"])
    step = f", in steps of {one['step']:g}" if one["step"] not in (None, 1) else ""
    return f"{one['low']:g} to {one['high']:g}{step}{', logarithmic' if one['log'] else ''}"


def _trial_table(result: StudyResult) -> Table:
    rows = []
    for trial in result.trials:
        params = ", ".join(f"{name} = {_spell(value)}" for name, value in sorted(trial["params"].items()))
        what = trial["failure"] or params or _NONE
        if trial["retry_of"] is not None:
            what = f"again trial {trial['retry_of']}: {what}"
        score = _NONE if trial["value"] is None else f"{trial['value']:.4f}"
        rows.append((str(trial["number"]), trial["state"], score, str(trial["epochs"] or _NONE), _seconds(trial), what))
    columns = ("trial", "state", f"validation {result.objective}", "epochs", "seconds", "parameters, or why it failed")
    return Table(columns, tuple(rows), "Every trial.", frozenset({"state", columns[-1]}))


def _seconds(trial: Mapping[str, Any]) -> str:
    return _NONE if trial["seconds"] is None else f"{trial['seconds']:.1f}"


def _spell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)
