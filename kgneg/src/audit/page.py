"""The results of an audit for people: a table, and a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kgneg.audit.sections import (
    Parts,
    asked,
    example_parts,
    form_parts,
    hardness_parts,
    relation_parts,
    truth_parts,
    verified_parts,
)
from kgneg.audit.words import NONE, myriad, percent, times
from kgneg.report import Figure, Report, Section, Series, Table, scatter_plot

if TYPE_CHECKING:
    from kgneg.audit.result import AuditResult

__all__ = ["build_report", "overview"]


_NOTES = (
    ("known", "negatives that are training triples; a filter can remove them"),
    ("train+valid", "negatives that are training or validation triples, the rate that PyKEEN's authors have published"),
    ("held out", "negatives, per 10,000, that are validation or test triples and not training triples: true, and no "
     "sampler that sees only training triples can know it"),
    ("times uniform", "the held-out rate among negatives that are no training triples, divided by that of exact "
     "uniform draws; a sampler that draws training triples has fewer negatives left where many triples are true"),
    ("unknown", "a rough estimate of how many negatives are true though they are in no split at all; see below"),
    ("hard", "of the negatives that are not known or held-out to be true, the share that the reference model scores "
     "above the easiest 5 % of the training triples"),
    ("same type", "negatives whose new entity has a type in common with the one it replaces"),
    ("fits", "negatives whose new entity is seen at that end of the relation in training"),
    ("verified", "how many times as often as uniform draws the sampler draws negatives that people have verified"),
    ("repeated", "negatives that repeat an earlier one of the same positive"),
    ("entities", "the number of entities that, drawn evenly, would be as diverse as those drawn"),
    ("per second", "negatives drawn per second, on this machine and this time"),
)  # fmt: skip


def overview(result: AuditResult) -> Table:
    """Return the main figures of each sampler in one table.

    :param result: the results
    :returns: the table, with the meaning of its columns
    """
    rows = tuple(_overview_row(row, result.timings) for row in result.samplers)
    columns = ("sampler", *(name for name, _ in _NOTES))
    caption = f"Shares in %, of {result.samplers[0]['counts']['drawn']:,} negatives of each sampler."
    return Table(columns, rows, caption, notes=_NOTES)


def _overview_row(row: Mapping[str, Any], timings: Mapping[str, Any]) -> tuple[str, ...]:
    rates, ratio = row["rates"], row["held_out_ratio"]["ratio"]
    verified = row["verified"]
    effective = row["entities"]["effective"]
    speed = timings["samplers"][row["label"]]["negatives_per_second"]
    return (
        row["label"],
        percent(rates["train"]["share"]),
        percent(rates["train_valid"]["share"]),
        myriad(rates["held_out"]["share"]),
        times(ratio),
        percent(row["unknown"]["share"]),
        percent(row["hardness"]["hard"]["share"]),
        percent(row["types"]["shares_type"]["share"]),
        percent(row["types"]["fits_slot"]["share"]),
        times(verified["lift"] if verified else None),
        percent(row["repeated"]["share"]),
        NONE if effective is None else f"{effective:,.0f}",
        NONE if speed is None else f"{speed / 1e6:.2f} M",
    )


def build_report(result: AuditResult) -> Report:
    """Return the report.

    :param result: the results
    :returns: title, lead and sections; all figures are drawn
    """
    sections = [
        Section("Overview", (overview(result), *_trade_off(result))),
        Section("False negatives", tuple(truth_parts(result))),
        Section("Hardness", tuple(hardness_parts(result))),
        Section("Types, entities and sides", tuple(form_parts(result))),
        *([Section("Verified negatives", tuple(verified_parts(result)))] if result.dataset["verified"] else []),
        Section("Relations", tuple(relation_parts(result))),
        Section("The worst negatives in words", tuple(example_parts(result)), folded=True),
        Section("How it was done", tuple(_method_parts(result))),
    ]
    versions = ", ".join(f"{name} {number}" for name, number in sorted(result.versions.items()))
    return Report(
        title=f"Negatives on {result.dataset['name']}",
        lead=_lead(result),
        sections=tuple(sections),
        footer=f"Made by kgneg audit. {versions}.",
    )


def _lead(result: AuditResult) -> str:
    """Return the outcome in words."""
    sentences = []
    for row in asked(result):
        rates, hard = row["rates"], row["hardness"]["hard"]["share"]
        sentence = (
            f"Of the negatives of {row['label']}, {percent(rates['train']['share'])} % are known training triples and "
            f"{myriad(rates['held_out']['share'])} of 10,000 are held-out true triples"
        )
        if row["held_out_ratio"]["ratio"] is not None:
            sentence += f" ({times(row['held_out_ratio']['ratio'])} times as many as for uniform draws after filtering)"
        sentences.append(sentence + (f"; {percent(hard)} % of the others are hard." if hard is not None else "."))
    return " ".join(sentences)


def _trade_off(result: AuditResult) -> Parts:
    points = [
        Series(
            row["label"],
            (
                (100 * row["hardness"]["hard"]["share"],),
                (1e4 * row["rates"]["held_out_filtered"]["share"],),
            ),
        )
        for row in result.samplers
        if row["hardness"]["hard"]["share"] is not None and row["rates"]["held_out_filtered"]["share"] is not None
    ]
    if not points:
        return []
    figure = scatter_plot("trade-off", points, x_label="hard negatives, %", y_label="held-out true triples per 10,000")
    return [
        Figure(
            figure,
            "Harder negatives are more often true. Each dot is a sampler; to the right it is harder, further up more "
            "of its negatives are held-out true triples (training triples left out). Lower right is better.",
            "False-negative rate against hardness, one dot per sampler",
        )
    ]


def _method_parts(result: AuditResult) -> Parts:
    settings, dataset = result.settings, result.dataset
    split = f" ({dataset['note']})" if dataset["note"] else ""
    said = (
        ("graph", f"{dataset['name']}: {dataset['entities']:,} entities, {dataset['relations']:,} relations"),
        ("triples", f"{dataset['train']:,} train, {dataset['valid']:,} valid, {dataset['test']:,} test{split}"),
        ("negatives per positive", str(settings["negatives"])),
        ("seed", str(settings["seed"])),
    )
    options = tuple(
        (
            row["label"],
            row["sampler"]["name"],
            ", ".join(f"{key} = {value}" for key, value in sorted(row["sampler"]["options"].items())) or NONE,
        )
        for row in result.samplers
    )
    return [
        "All samplers drew for the same positives, training triples in random order. Those that look at a model looked "
        "at the reference model.",
        Table(("setting", "value"), said, "What was equal for all samplers.", frozenset({"value"})),
        Table(("sampler", "name", "options"), options, "Options not named have their defaults.",
              frozenset({"name", "options"})),
    ]  # fmt: skip
