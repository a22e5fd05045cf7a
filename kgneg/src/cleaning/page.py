"""The page about a cleaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kgneg.audit.words import NONE, percent
from kgneg.cleaning.sections import Parts, count, curve_parts, label_parts, row_parts, type_parts
from kgneg.report import Report, Section, Table
from kgneg.samplers.noise import ACTIONS

if TYPE_CHECKING:
    from kgneg.cleaning.gold import Gold
    from kgneg.cleaning.result import Cleaning

__all__ = ["build_report", "overview"]

_FORMATS = {"vectors": "a table of vectors", "docred": "the format of DocRED", "tacred": "the format of TACRED"}


def overview(found: Cleaning) -> Table:
    """Return the main numbers.

    :param found: what was found
    :returns: a table for the page and for the terminal
    """
    report, summary = found.report, found.report.summary()
    expected = report.expected_fn
    rows = (
        ("rows", f"{len(report):,}"),
        (f"labelled {report.classes[0]}", f"{summary['negatives']:,}"),
        ("expected hidden positives", f"{count(expected.value)} [{count(expected.low)}, {count(expected.high)}]"),
        ("flagged", f"{summary['flagged']:,}"),
        ("flagged from this probability on", f"{report.threshold:.3f}"),
        ("expected precision of the flags, %", percent(summary["expected_precision"])),
        ("doubtful positives", f"{summary['weak_positives']:,}"),
        *((f"to {action}", f"{summary['actions'][action]:,}") for action in ACTIONS),
        ("mode", report.mode),
    )
    return Table(("what", "number"), rows, f"What was found in {found.record['name']}.")


def build_report(found: Cleaning, gold: Gold | None = None) -> Report:
    """Return the page.

    :param found: what was found
    :param gold: true labels, if they are known
    :returns: title, lead and sections; all figures are drawn
    """
    types = type_parts(found)
    sections = [
        Section("Summary", (overview(found),)),
        Section("How many are hidden", tuple(_expectation(found))),
        Section("Precision and recall", tuple(curve_parts(found, gold))),
        Section("Labels", tuple(label_parts(found))),
        *([Section("Types", tuple(types))] if types else []),
        Section("Rows to look at", tuple(row_parts(found))),
        Section("How it was done", tuple(_method(found)), folded=True),
    ]
    versions = ", ".join(f"{name} {number}" for name, number in sorted(found.record["versions"].items()))
    return Report(
        title=f"Hidden positives in {found.record['name']}",
        lead=_lead(found, gold),
        sections=tuple(sections),
        footer=f"Made by kgneg noise. {versions}.",
    )


def _lead(found: Cleaning, gold: Gold | None) -> str:
    """Return the outcome in words."""
    report, summary = found.report, found.report.summary()
    expected = report.expected_fn
    text = (
        f"Of {summary['negatives']:,} rows labelled {report.classes[0]}, about {count(expected.value)} are expected to "
        f"have a relation that nobody wrote down (between {count(expected.low)} and {count(expected.high)}). "
        f"{summary['flagged']:,} are flagged"
    )
    if summary["expected_precision"] is not None:
        text += f", of which {percent(summary['expected_precision'])} % are expected to be flagged rightly"
    if gold is None:
        return f"{text}."
    scores = gold.scores()
    return (
        f"{text}. By the true labels, {scores.gold:,} of {int(gold.known.sum()):,} are hidden positives, and of "
        f"{scores.flagged:,} flags {percent(scores.precision)} % are right."
    )


def _expectation(found: Cleaning) -> Parts:
    """Explain the expected number in plain words."""
    report = found.report
    expected, labelling = report.expected_fn, report.labelling
    negatives = int(report.negative.sum())
    value = f"{count(expected.value)} of {negatives:,} negatives ({percent(expected.value / max(negatives, 1))} %)"
    prior = found.record["settings"]["prior"]
    if prior is not None:
        return [
            f"You said that {percent(prior)} % of the negatives are really positive. The probabilities are shifted so "
            f"that their sum is {value}. There is no interval: the number is yours."
        ]
    if report.mode == "extrinsic":
        return [
            f"Each negative has a probability of being a positive that nobody labelled; the sum of these is {value}. "
            "They are calibrated on the rows whose true label is known. If other such rows of the same kind had been "
            f"checked, the sum would lie between {count(expected.low)} and {count(expected.high)} in 95 of 100 cases. "
            "This holds as far as the checked rows are a fair sample of all."
        ]
    return [
        f"Each negative has a probability of being a positive that nobody labelled; the sum of these is {value}.",
        "Labels alone cannot tell a positive that was overlooked from a negative that looks like a positive. They do "
        f"set bounds. At least {percent(labelling.least)} % of all positives are labelled, the mean probability of a "
        f"label among labelled rows; if it were no more, there would be up to {count(expected.high)} hidden positives. "
        f"Where labelled rows are densest, {percent(labelling.most)} % are labelled; if it were as many everywhere, "
        f"there would be down to {count(expected.low)}. In between, people are taken to label what is obvious more "
        "often than what is not. Both numbers allow for chance, at 95 %.",
        "A range, not a measurement: to know better, look at some of the rows below, or give the true labels of some "
        "rows with --clean.",
    ]


def _method(found: Cleaning) -> Parts:
    record, settings = found.record, found.record["settings"]
    rows = [
        ("input", f"{record['name']}, {_FORMATS[record['format']]}"),
        ("negative label", record["negative_label"]),
        ("labels", f"{len(found.report.classes):,}"),
        ("groups", NONE if found.groups is None else f"{len(set(found.groups)):,}"),
        ("types", ", ".join(f"{name}: {len(set(values)):,}" for name, values in found.types.items()) or NONE),
        ("exact neighbours found, %", percent(found.report.recall)),
        *(
            (name, str(settings[name]))
            for name in ("k", "seed", "flag", "encoder", "mode")
            if settings[name] is not None
        ),
    ]
    return [
        "Three sources that have not seen the label of a row judge it: its nearest neighbours in other groups, a small "
        "classifier trained on other rows, and the rate of positives among rows of its types. A regression makes one "
        "probability of a label of them, and that becomes a probability of a hidden positive.",
        Table(("setting", "value"), tuple(rows), text_columns=frozenset({"value"})),
    ]
