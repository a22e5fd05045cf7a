"""The report of a comparison: what is said, shown and tabulated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kgneg.compare.runs import METRICS
from kgneg.report import Figure, Report, Section, Series, Table, dot_plot, line_plot

if TYPE_CHECKING:
    from kgneg.compare.result import CompareResult

__all__ = ["build_report", "overview"]

_NAMES = {"mrr": "MRR", "hits_at_1": "Hits@1", "hits_at_3": "Hits@3", "hits_at_10": "Hits@10"}
_NONE = "\N{EN DASH}"
_PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
_MINUS = "\N{MINUS SIGN}"
_LOOPS = {"slcwa": "PyKEEN", "kgneg": "kgneg"}


def overview(result: CompareResult) -> Table:
    """Return the figures of each sampler in one narrow table.

    :param result: the results
    :returns: the table
    """
    rows = []
    for entry in result.summary():
        mrr, change, counts = entry["metrics"]["mrr"], entry["difference"], entry["negatives"]
        rows.append(
            (
                entry["sampler"],
                _with_sd(mrr["mean"], mrr["sd"]),
                _signed(change["mrr"]["mean"], change["mrr"]["sd"]) if change else _NONE,
                *(f"{entry['metrics'][name]['mean']:.3f}" for name in METRICS if name != "mrr"),
                _number(counts["known_per_10000"]),
                _number(counts["held_out_per_10000"]),
                _percent(counts["fallback_share"]),
                f"{entry['seconds']['training']:.1f}",
            )
        )
    columns = (
        "sampler",
        "MRR",
        "difference",
        "Hits@1",
        "Hits@3",
        "Hits@10",
        "known",
        "held out",
        "fallback",
        "seconds",
    )
    return Table(columns, tuple(rows))


def build_report(result: CompareResult) -> Report:
    """Return the report.

    :param result: the results
    :returns: title, lead and sections; all figures are drawn
    """
    settings, dataset = result.settings, result.dataset
    sections = (
        Section("Ranks", (*_rank_parts(result),)),
        Section("False negatives", (*_truth_parts(result),)),
        Section("Training", (*_training_parts(result),)),
        Section("How it was done", (*_method_parts(result),)),
        Section("All runs", (_run_table(result),), folded=True),
    )
    versions = ", ".join(f"{name} {number}" for name, number in sorted(result.versions.items()))
    return Report(
        title=f"Negative samplers on {dataset['name']} with {settings['model']}",
        lead=_lead(result),
        sections=sections,
        footer=f"Made by kgneg compare. {versions}.",
    )


def _lead(result: CompareResult) -> str:
    """Return the outcome in words."""
    summary, seeds = result.summary(), len(result.settings["seeds"])
    first = summary[0]
    with_first = f"Trained with {first['sampler']}, the model reaches a mean reciprocal rank (MRR) of"
    sentences = [f"{with_first} {first['metrics']['mrr']['mean']:.3f} on the test triples."]
    for entry in summary[1:]:
        change = entry["difference"]["mrr"]
        way = "higher" if change["mean"] > 0 else "lower"
        sentence = (
            f"With {entry['sampler']} it is {entry['metrics']['mrr']['mean']:.3f}, {abs(change['mean']):.3f} {way}"
        )
        if seeds > 1:
            agreeing = max(change["higher"], seeds - change["higher"])
            agree = (
                f"all {seeds} seeds agree" if agreeing == seeds else f"{agreeing} of {seeds} seeds agree on the sign"
            )
            sentence += f" (standard deviation {change['sd']:.3f}; {agree})"
        sentences.append(sentence + ".")
    if seeds == 1:
        sentences.append("One seed says little: another one may turn the order round.")
    elif seeds < 5:
        sentences.append(f"With {seeds} seeds, only large differences can be trusted.")
    true = [
        f"{_number(counts['known_per_10000'])} and {_number(counts['held_out_per_10000'])} for {entry['sampler']}"
        for entry in summary
        for counts in [entry["negatives"]]
    ]
    sentences.append(
        f"Of 10,000 negatives, so many are known training triples and held-out true triples: {'; '.join(true)}."
    )
    return " ".join(sentences)


def _rank_parts(result: CompareResult) -> list[str | Table | Figure]:
    summary, settings = result.summary(), result.settings
    rows = []
    for entry in summary:
        cells = [_with_sd(entry["metrics"][name]["mean"], entry["metrics"][name]["sd"]) for name in METRICS]
        mrr = entry["metrics"]["mrr"]
        rows.append((entry["sampler"], *cells, f"{mrr['min']:.3f} to {mrr['max']:.3f}"))
    table = Table(
        ("sampler", *_NAMES.values(), "MRR, lowest to highest"),
        tuple(rows),
        f"How well test triples are ranked{_over(len(settings['seeds']))}. Higher is better; 1 is perfect.",
        notes=(
            (
                "MRR",
                "mean of 1 / rank of the true entity among all entities, heads and tails, other true triples left out",
            ),
            ("Hits@k", "share of test triples whose true entity is among the first k"),
        ),
    )
    series = [
        Series(entry["sampler"], (tuple(run["metrics"]["mrr"] for run in result.runs_of(entry["sampler"])),))
        for entry in summary
    ]
    figure = Figure(
        dot_plot("ranks", series, x_label="mean reciprocal rank (higher is better)"),
        "Each dot is one trained model, that is one seed; the bar is their mean. Where the dots of two samplers mix, "
        "look at the differences at equal seeds. The axis does not begin at zero.",
        "Mean reciprocal rank of every run, one row per sampler",
    )
    parts: list[str | Table | Figure] = [table, figure]
    if len(summary) > 1:
        parts.append(_difference_table(summary, len(settings["seeds"])))
    return parts


def _difference_table(summary: list[dict[str, Any]], seeds: int) -> Table:
    rows = []
    for entry in summary[1:]:
        change = entry["difference"]
        cells = [_signed(change[name]["mean"], change[name]["sd"]) for name in METRICS]
        rows.append((entry["sampler"], *cells, f"{change['mrr']['higher']} of {seeds}"))
    return Table(
        (f"difference to {summary[0]['sampler']}", *_NAMES.values(), "seeds with higher MRR"),
        tuple(rows),
        "Differences at equal seeds, where both models start from the same parameters"
        f"{_over(seeds)}. Positive: better than {summary[0]['sampler']}.",
    )


def _truth_parts(result: CompareResult) -> list[str | Table | Figure]:
    rows, series = [], {"known": [], "held_out": []}  # type: tuple[list[tuple[str, ...]], dict[str, list[Series]]]
    for entry in result.summary():
        runs = result.runs_of(entry["sampler"])
        counts = entry["negatives"]
        incomplete = sum(run["negatives"]["incomplete_rows"] for run in runs)
        rows.append(
            (
                entry["sampler"],
                _number(counts["known_per_10000"]),
                _number(counts["held_out_per_10000"]),
                _percent(counts["fallback_share"]),
                f"{incomplete:,}",
                f"{sum(run['negatives']['kept'] for run in runs):,}",
            )
        )
        for name, found in series.items():
            values = tuple(run["negatives"][f"{name}_per_10000"] for run in runs)
            if None not in values:
                found.append(Series(entry["sampler"], (values,)))
    table = Table(
        ("sampler", "known per 10,000", "held out per 10,000", "fall-back", "incomplete rows", "looked at"),
        tuple(rows),
        "How many negatives are true triples in disguise, in a fresh draw for training triples. Lower is better: each "
        "one teaches the model something wrong.",
        notes=(
            ("known", "triples of the training set; a sampler can avoid them"),
            ("held out", "triples of the validation and test sets; no sampler that sees only training triples can know "
             "them. Nearer, harder negatives hit more of them."),
            ("fall-back", "share of negatives drawn uniformly because the method had no candidate left"),
            ("looked at", "negatives in all draws together; a sampler that looks at the model draws as it stands at "
             "the end of training"),
            ("incomplete rows", "positives that lost negatives because a filter masked them"),
        ),
    )  # fmt: skip
    parts: list[str | Table | Figure] = [table]
    words = {"known": ("known", "known training triples"), "held_out": ("held-out", "held-out true triples")}
    for name, found in series.items():
        if found and any(value > 0 for one in found for value in one.values[0]):
            figure = dot_plot(words[name][0], found, x_label=f"{words[name][1]} per 10,000 negatives", from_zero=True)
            caption = f"Negatives that are {words[name][1]}. Each dot is the draw of one seed; the bar is the mean."
            parts.append(Figure(figure, caption, f"{words[name][1]} per 10,000 negatives, one row per sampler"))
    return parts


def _training_parts(result: CompareResult) -> list[str | Table | Figure]:
    series = [Series(label, tuple(tuple(run["losses"]) for run in result.runs_of(label))) for label in result.samplers]
    figure = Figure(
        line_plot("losses", series, x_label="epoch", y_label="mean loss"),
        "The loss of each epoch: mean over the seeds, with a band from the lowest to the highest. A higher loss is no "
        "worse model here: harder negatives cost more. Curves that still fall at the end say that more epochs would "
        "change the ranks.",
        "Training loss by epoch, one line per sampler",
    )
    rows = tuple(
        (entry["sampler"], f"{entry['final_loss']:.4f}", f"{seconds['training']:.1f}", f"{seconds['evaluation']:.2f}")
        for entry in result.summary()
        for seconds in [entry["seconds"]]
    )
    table = Table(
        ("sampler", "loss of the last epoch", "training, seconds", "evaluation, seconds"),
        rows,
        "Means over the seeds. Seconds depend on the machine and on what else it did.",
    )
    return [figure, table]


def _method_parts(result: CompareResult) -> list[str | Table | Figure]:
    settings, dataset = result.settings, result.dataset
    split = f" ({dataset['note']})" if dataset["note"] else ""
    said = (
        ("graph", f"{dataset['name']}: {dataset['entities']:,} entities, {dataset['relations']:,} relations"),
        ("triples", f"{dataset['train']:,} train, {dataset['valid']:,} valid, {dataset['test']:,} test{split}"),
        ("model", f"{settings['model']}, dimension {settings['dim'] or 'of PyKEEN'}"),
        ("loss", str(settings["loss"])),
        ("optimiser", f"Adam, learning rate {settings['learning_rate']:g}"),
        ("budget", f"{settings['epochs']} epochs, {settings['batch_size']} positives per step"),
        ("negatives per positive", str(settings["negatives"])),
        ("seeds", ", ".join(map(str, settings["seeds"]))),
    )
    options = tuple(
        (
            one["label"],
            one["name"],
            _LOOPS[one["loop"]],
            ", ".join(f"{key} = {value}" for key, value in sorted(one["options"].items())) or _NONE,
        )
        for one in settings["samplers"]
    )
    return [
        "All samplers had the same model, budget and seeds. Nothing was tuned for any of them, so a sampler that needs "
        "other settings than these is at a disadvantage.",
        Table(("setting", "value"), said, "What was equal for all samplers.", frozenset({"value"})),
        _loops_in_words({one["loop"] for one in settings["samplers"]}),
        Table(
            ("sampler", "name", "training loop", "options"), options,
            "What differed; options not named have their defaults.", frozenset({"name", "training loop", "options"}),
        ),
    ]  # fmt: skip


def _loops_in_words(loops: set[str]) -> str:
    """Say which training loops there were, and what that means."""
    if loops == {"slcwa"}:
        return "All models were trained with PyKEEN's own loop."
    same = (
        "kgneg's loop ran with dense updates: on the CPU it gives the losses and ranks of PyKEEN's for the same "
        "negatives, elsewhere it draws other random numbers. The seconds of the two loops do not compare."
    )
    if loops == {"kgneg"}:
        return f"All models were trained with kgneg's loop. {same}"
    return f"Samplers that look at the model were trained with kgneg's loop, the others with PyKEEN's. {same}"


def _run_table(result: CompareResult) -> Table:
    def row(run: Mapping[str, Any]) -> tuple[str, ...]:
        counts = run["negatives"]
        return (
            run["sampler"],
            str(run["seed"]),
            *(f"{run['metrics'][name]:.4f}" for name in METRICS),
            _number(counts["known_per_10000"]),
            _number(counts["held_out_per_10000"]),
            f"{run['seconds']['training']:.1f}",
        )

    columns = ("sampler", "seed", *_NAMES.values(), "known", "held out", "seconds")
    caption = "Every run. Known and held out: true triples per 10,000 negatives. Seconds: of training."
    return Table(columns, tuple(row(run) for run in result.runs), caption)


def _over(seeds: int) -> str:
    """Say what numbers with a standard deviation are."""
    return f": mean {_PLUS_MINUS} standard deviation over {seeds} seeds" if seeds > 1 else ""


def _with_sd(mean: float, sd: float | None) -> str:
    return f"{mean:.3f}" if sd is None else f"{mean:.3f} {_PLUS_MINUS} {sd:.3f}"


def _signed(mean: float, sd: float | None) -> str:
    return _with_sd(mean, sd).replace("-", _MINUS) if mean < 0 else "+" + _with_sd(mean, sd)


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1f}"


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{100 * value:.1f} %"
