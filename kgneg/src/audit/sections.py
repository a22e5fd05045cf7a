"""The sections of the report of an audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from kgneg.audit.reference import WEAK
from kgneg.audit.words import NONE, interval, myriad, percent, ratio, short
from kgneg.report import Figure, Series, Table, dot_plot, quantile_plot

if TYPE_CHECKING:
    from kgneg.audit.result import AuditResult

__all__ = [
    "Parts",
    "asked",
    "example_parts",
    "form_parts",
    "hardness_parts",
    "relation_parts",
    "truth_parts",
    "verified_parts",
]

#: What a section is made of.
Parts: TypeAlias = list[str | Table | Figure]

_ENOUGH = 200  # negatives of a relation, to be drawn as a dot
_SHOWN = 30  # relations in a table


def asked(result: AuditResult) -> list[Mapping[str, Any]]:
    """Return the samplers that were asked for.

    :param result: the results
    :returns: their figures
    """
    return [row for row in result.samplers if row["asked"]] or list(result.samplers)


def truth_parts(result: AuditResult) -> Parts:
    """Say how many negatives are true.

    :param result: the results
    :returns: paragraphs, tables and figures
    """
    rows = tuple(
        (
            row["label"],
            interval(row["rates"]["train"], 100),
            interval(row["rates"]["train_valid"], 100),
            interval(row["rates"]["held_out"], 1e4),
            interval(row["rates"]["held_out_filtered"], 1e4),
            ratio(row["held_out_ratio"]),
            percent(row["masked"]["share"]),
        )
        for row in result.samplers
    )
    table = Table(
        ("sampler", "known, %", "train+valid, %", "held out per 10,000", "the same after filtering", "times uniform",
         "masked, %"),
        rows,
        "True triples among the negatives, with 95 % intervals in brackets. Lower is better: each one teaches the "
        "model something wrong.",
        notes=(
            ("interval", "taken over positives, since the negatives of one positive are alike"),
            ("after filtering", "of the negatives that are no training triples, as a filter would leave them"),
            ("masked", "negatives that the sampler itself marks as not to be used; they are left out everywhere else"),
        ),
    )  # fmt: skip
    seen = tuple(
        (
            row["label"],
            f"{row['held_out_seen']['hits']:,}",
            f"{row['held_out_seen']['distinct']:,} of {row['held_out_seen']['of']:,}",
            percent(row["held_out_seen"]["next_new"]),
            interval(row["unknown"], 100),
        )
        for row in result.samplers
    )
    data = result.dataset
    if data["missing"] is None:
        estimate = "How many true triples are in no split cannot be estimated here."
    else:
        estimate = (
            f"Of the {data['known']:,} known triples, {percent(data['unseen_pairs'])} % have a pair of entity and "
            "relation that no other known triple has. By Good and Turing, so likely a further true triple has a "
            f"new pair, and then about {data['missing']:,.0f} true triples are in no split. If a sampler draws these "
            "as often as it draws the held-out ones, the last column is the share of its negatives that are true and "
            "known to nobody. This takes the missing triples to be like the held-out ones, and the graph to be a "
            "random part of the truth; it is an order of magnitude."
        )
    return [
        table,
        estimate,
        Table(
            ("sampler", "held-out draws", "distinct", "next is new, %", "unknown, %"),
            seen,
            "What the draw has seen of the held-out triples, and what it may not have seen.",
            notes=(
                ("next is new", "the probability that the next held-out triple drawn is one not drawn before"),
                ("unknown", "the estimate above, with the interval of the held-out rate only"),
            ),
        ),
    ]


def hardness_parts(result: AuditResult) -> Parts:
    """Say how hard negatives are.

    :param result: the results
    :returns: paragraphs, tables and figures
    """
    reference = result.reference
    levels = list(reference["score_quantiles"])
    spreads = [(row["label"], row["hardness"]["score_quantiles"]) for row in result.samplers]
    spreads.append(("training triples", reference["score_quantiles"]))
    series = [Series(label, (tuple(found.values()),)) for label, found in spreads if found is not None]
    rows = tuple(
        (
            row["label"],
            interval(row["hardness"]["hard"], 100),
            ratio(row["hardness"]["ratio"]),
            *(percent(value) for value in (row["hardness"]["place_quantiles"] or dict.fromkeys(levels)).values()),
        )
        for row in result.samplers
    )
    return [
        Figure(
            quantile_plot("scores", series, x_label="score", mark=reference["score_quantiles"]["0.05"]),
            "Scores of the reference model: the thin line goes from the 5 % to the 95 % quantile, the thick one from "
            "25 % to 75 %, the dot is the median. Known and held-out true triples are left out of the negatives. What "
            "lies to the right of the dotted line is hard.",
            "Quantiles of scores of training triples and of negatives, one row per sampler",
        ),
        Table(
            ("sampler", "hard, %", "times uniform", *(f"at {100 * float(level):g} %" for level in levels)),
            rows,
            "The last columns: for quantiles of the negatives, how many per cent of the training triples score lower.",
        ),
        _reference_in_words(reference),
    ]


def _reference_in_words(reference: Mapping[str, Any]) -> str:
    held_out, verified = reference["plausible"]["held_out"], reference["plausible"]["verified"]
    said = f"The reference model is {reference['model']}"
    if not reference["given"]:
        dim = f"of dimension {reference['dim']}, " if reference["dim"] else ""
        said += f", {dim}trained for {reference['epochs']} epochs"
    if reference["mrr"] is not None:
        where = f"{reference['ranked']} triples of {reference['split']}"
        said += f"; its mean reciprocal rank on {where} is {reference['mrr']:.3f}"
    said += f". It finds {percent(held_out['share'])} % of the held-out triples plausible in the same sense"
    if verified["total"]:
        said += f", and {percent(verified['share'])} % of the {verified['total']:,} verified negatives"
    said += ". The level of hardness depends on this model; compare samplers, not levels."
    if reference["separation"] is not None and reference["separation"] < WEAK:
        said += (
            " Here it finds uniform negatives nearly as often plausible as held-out triples, so hardness says little: "
            "give it more epochs (--reference-epochs), or take another model (--reference)."
        )
    return said


def form_parts(result: AuditResult) -> Parts:
    """Say what is put in for what.

    :param result: the results
    :returns: paragraphs, tables and figures
    """
    rows = tuple(
        (
            row["label"],
            interval(row["types"]["shares_type"], 100),
            interval(row["types"]["fits_slot"], 100),
            percent(row["entities"]["coverage"]),
            NONE if row["entities"]["entropy"] is None else f"{row['entities']['entropy']:.3f}",
            percent(row["repeated"]["share"]),
            percent(row["fallback"]),
            *(percent(row["sides"][side]) for side in ("head", "tail", "same", "other")),
        )
        for row in result.samplers
    )
    source = result.dataset["types"]
    own = (
        f"The graph has {source['number']:,} types."
        if source["source"] == "types"
        else "The graph has no types; each end of a relation is taken as a type of the entities seen there."
    )
    return [
        Table(
            ("sampler", "same type, %", "fits, %", "coverage, %", "entropy", "repeated, %", "fall-back, %",
             "head, %", "tail, %", "same, %", "other, %"),
            rows,
            f"What is put in for what. {own}",
            notes=(
                ("coverage", "entities that were drawn at all"),
                ("entropy", "1 if all entities are drawn equally often, 0 if only one is"),
                ("fall-back", "negatives drawn uniformly because the method had no candidate left"),
                ("head, tail", "which end was replaced; same: nothing was, other: more than one, or the relation"),
            ),
        )
    ]  # fmt: skip


def verified_parts(result: AuditResult) -> Parts:
    """Say what there is to say about verified negatives.

    :param result: the results
    :returns: paragraphs, tables and figures
    """
    about = result.dataset["verified"]
    rows = tuple(
        (
            row["label"],
            ratio({"ratio": found["lift"], "low": found["low"], "high": found["high"]}),
            f"{found['hits']:,}",
            f"{found['expected']:,.1f}",
            interval(found["reached"], 100),
        )
        for row in result.samplers
        for found in [row["verified"]]
    )
    left_out = f" Left out: {about['note']}." if about["note"] else ""
    draws = result.samplers[0]["verified"]["draws"]
    drawn = f"{draws:.0f} draws each" if draws is not None else "no draws"
    return [
        f"People have called {about['number']:,} triples false that look plausible.{left_out} "
        f"{about['without_pair']:,} of them share no pair of entity and relation with a training triple, so no "
        f"sampler that replaces one end can draw them; {about['targets']:,} were waited for, with {drawn}.",
        Table(
            ("sampler", "lift", "drawn", "expected", "reached, %"),
            rows,
            "Negatives that are certain to be false and hard. Higher is better.",
            notes=(
                ("lift", "how many times as often as exact uniform draws would have drawn them"),
                ("reached", "verified negatives that were drawn at least once"),
            ),
        ),
    ]


def relation_parts(result: AuditResult) -> Parts:
    """Say what there is to say about relations.

    :param result: the results
    :returns: paragraphs, tables and figures
    """
    series = []
    for row in result.samplers:
        rates = tuple(
            1e4 * line["held_out"]
            for line in row["relations"]
            if line["kept"] >= _ENOUGH and line["held_out"] is not None
        )
        if rates:
            series.append(Series(row["label"], (rates,)))
    parts: Parts = []
    if series:
        figure = dot_plot("relations", series, x_label="held-out true triples per 10,000 negatives", from_zero=True)
        caption = f"Each dot is a relation with at least {_ENOUGH} negatives; the bar is the mean over relations."
        parts.append(Figure(figure, caption, "Held-out rate of every relation, one row per sampler"))
    for row in asked(result):
        lines = sorted(row["relations"], key=lambda line: (-line["kept"], line["relation"]))[:_SHOWN]
        cells = tuple(
            (
                short(line["words"]),
                f"{line['kept']:,}",
                percent(line["train"]),
                myriad(line["held_out"]),
                *(percent(line[name]) for name in ("hard", "shares_type", "fits_slot", "head")),
            )
            for line in lines
        )
        columns = (
            "relation",
            "negatives",
            "known, %",
            "held out per 10,000",
            "hard, %",
            "same type, %",
            "fits, %",
            "head, %",
        )
        caption = f"{row['label']}: the {len(lines)} relations with most negatives. All are in relations.csv."
        parts.append(Table(columns, cells, caption))
    return parts


def example_parts(result: AuditResult) -> Parts:
    """Say what there is to say about the worst negatives.

    :param result: the results
    :returns: paragraphs, tables and figures
    """
    parts: Parts = []
    words = {
        "held_out": "negatives that are held-out true triples",
        "unknown": "negatives that are in no split; the most plausible may be true",
    }
    for row in asked(result):
        for name, what in words.items():
            found = row["examples"][name]
            if found:
                parts.append(_example_table(f"{row['label']}: {what}, the most plausible first.", found))
    return parts or ["There are none."]


def _example_table(caption: str, examples: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("head", "relation", "tail", "made of", "score", "above, %")
    cells = tuple(
        (
            *map(short, one["words"]),
            " \N{MIDDLE DOT} ".join(map(short, one["positive"])),
            f"{one['score']:.2f}",
            percent(one["above"]),
        )
        for one in examples
    )
    notes = (("above", "how many per cent of the training triples score lower"),)
    return Table(columns, cells, caption, frozenset({"relation", "tail", "made of"}), notes)
