"""The sections of the page about a cleaning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from kgneg.audit.words import NONE, percent
from kgneg.cleaning.review import nearest
from kgneg.report import Figure, Table
from kgneg.report.plots import colour, figure_to_svg, house_figure, marker
from kgneg.samplers.noise import ACTIONS

if TYPE_CHECKING:
    import torch

    from kgneg.cleaning.gold import Gold
    from kgneg.cleaning.result import Cleaning

__all__ = ["Parts", "count", "curve_parts", "label_parts", "row_parts", "type_parts"]

#: What a section is made of.
Parts: TypeAlias = list[str | Table | Figure]

_MOST = 40  # lines of a table
_ROWS = 8  # rows to look at, of each kind
_LEVELS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
_LONGEST = 400  # characters of a text


def count(number: float) -> str:
    """Write an estimated number.

    :param number: the number
    :returns: a whole number, or below ten one with a digit after the point

    >>> count(1234.5), count(0.26)
    ('1,234', '0.3')
    """
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"


def curve_parts(found: Cleaning, gold: Gold | None = None) -> Parts:
    """Show what is to be expected of other levels, and what is true where it is known.

    :param found: what was found
    :param gold: true labels, if they are known
    :returns: a figure and a table
    """
    report = found.report
    ordered = report.score[report.negative].double()
    total = max(float(ordered.sum()), 1e-12)
    levels = sorted({*_LEVELS, report.threshold}, reverse=True)
    rows = []
    real = None if gold is None else gold.curve(levels)
    for place, level in enumerate(levels):
        above = ordered[(ordered >= level) & (ordered > 0)]
        hits = float(above.sum())
        row = [
            f"{level:.3f}" + (" (chosen)" if level == report.threshold else ""),
            f"{len(above):,}",
            percent(hits / len(above)) if len(above) else NONE,
            percent(hits / total),
        ]
        if real is not None:
            row += [f"{real[place].flagged:,}", percent(real[place].precision), percent(real[place].recall)]
        rows.append(tuple(row))
    columns = ["flag from", "flagged", "expected precision, %", "expected recall, %"]
    if gold is not None:
        columns += ["flagged, truth known", "real precision, %", "real recall, %"]
    table = Table(
        tuple(columns),
        tuple(rows),
        "Each line is a level: rows of at least this probability are flagged. `kgneg noise apply --flag` takes any.",
        notes=(
            ("expected precision", "the mean probability of the flagged rows"),
            ("expected recall", "the sum of their probabilities, of the sum of all; both are as good as the "
             "probabilities are"),
        ),
    )  # fmt: skip
    return [_curve_figure(found, gold), *([] if gold is None else [gold.table()]), table]


def _curve_figure(found: Cleaning, gold: Gold | None) -> Figure:
    report = found.report
    curve = report.curve
    lines = [("expected", [(point.recall, point.precision) for point in curve])]
    if gold is not None:
        real = gold.curve([point.level for point in curve])
        lines.append(
            ("real", [(one.recall, one.precision) for one in real if one.recall and one.precision is not None])
        )
    with house_figure(3.8) as (figure, axes):
        for place, (name, points) in enumerate(lines):
            x, y = [100 * recall for recall, _ in points], [100 * precision for _, precision in points]
            style: dict[str, Any] = {
                "color": colour(place),
                "marker": marker(place),
                "markersize": 4.0,
                "linewidth": 1.6,
            }
            axes.plot(x, y, label=name, clip_on=False, **style)
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 102)
        axes.grid()
        axes.set_xlabel("recall, %")
        axes.set_ylabel("precision, %")
        if len(lines) > 1:
            figure.legend(loc="outside upper left", ncols=2)
        drawn = figure_to_svg(figure, "curve")
    beside = "" if gold is None else " The second line is what the true labels say, at the same levels."
    return Figure(
        drawn,
        "From left to right more and more negatives are flagged, the most probable ones first: how many of the hidden "
        f"positives are then found, and how many of the flags are right.{beside}",
        "Precision against recall over all levels",
    )


def label_parts(found: Cleaning) -> Parts:
    """Show which labels are missing.

    :param found: what was found
    :returns: a table
    """
    import torch

    report = found.report
    number = len(report.classes)
    positive, flagged = ~report.negative, report.flagged

    def tally(codes: torch.Tensor, rows: torch.Tensor, weight: torch.Tensor | None = None) -> list[float]:
        use = rows & (codes >= 0)
        return torch.bincount(codes[use], None if weight is None else weight[use].double(), minlength=number).tolist()

    given = tally(report.labels, positive)
    doubtful = tally(report.labels, positive & report.weak)
    hidden = tally(report.suggestion, report.negative, report.score)
    suggested = tally(report.suggestion, flagged)
    new = tally(report.suggestion, report.action == ACTIONS.index("reannotate"))
    order = sorted(range(1, number), key=lambda code: (-hidden[code], code))
    rows = tuple(
        (
            found.relation(code),
            f"{given[code]:,.0f}",
            f"{doubtful[code]:,.0f}",
            count(hidden[code]),
            f"{suggested[code]:,.0f}",
            f"{new[code]:,.0f}",
        )
        for code in order[:_MOST]
    )
    return [
        Table(
            ("label", "labelled", "doubtful", "expected hidden", "flagged", "reannotated"),
            rows,
            f"Labels by how many hidden positives are expected of them.{_cut(rows, order)}",
            notes=(
                ("doubtful", "rows with this label that look like negatives"),
                ("expected hidden", "sum of the probabilities of the negatives whose neighbours suggest this label"),
                ("flagged", "flagged negatives whose neighbours suggest this label"),
                ("reannotated", "those that get it; none unless it was asked for"),
            ),
        )
    ]


def type_parts(found: Cleaning) -> Parts:
    """Show of which types hidden positives are.

    :param found: what was found
    :returns: a table per column of types
    """
    report = found.report
    negative, flagged, score = report.negative.tolist(), report.flagged.tolist(), report.score.tolist()
    codes = report.suggestion.tolist()
    parts: Parts = []
    for name, values in found.types.items():
        labelled, negatives, hits, marks = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
        labels: dict[str, Counter[int]] = {}
        for row, value in enumerate(values):
            if not negative[row]:
                labelled[value] += 1
                continue
            negatives[value] += 1
            hits[value] += score[row]
            if flagged[row]:
                marks[value] += 1
                labels.setdefault(value, Counter())[codes[row]] += codes[row] >= 0
        order = sorted(negatives, key=lambda value: (-hits[value], value))
        rows = tuple(
            (
                value,
                f"{negatives[value]:,}",
                f"{labelled[value]:,}",
                count(hits[value]),
                f"{marks[value]:,}",
                _top(found, labels.get(value)),
            )
            for value in order[:_MOST]
        )
        columns = (name, "negatives", "labelled", "expected hidden", "flagged", "mostly suggested")
        caption = f"Categories of the column {name} by how many hidden positives are expected.{_cut(rows, order)}"
        parts.append(Table(columns, rows, caption, frozenset({"mostly suggested"})))
    return parts


def row_parts(found: Cleaning) -> Parts:
    """Show rows in words, with the nearest positives that speak for them.

    :param found: what was found
    :returns: paragraphs and tables
    """
    import torch

    report = found.report
    flagged = report.flagged.nonzero().squeeze(-1)
    order = flagged[torch.argsort(report.score[flagged], descending=True, stable=True)].tolist()
    doubtful = (report.weak & ~report.negative).nonzero().squeeze(-1)
    weak = doubtful[torch.argsort(report.support[doubtful], stable=True)].tolist()
    parts: Parts = [
        f"All {len(order) + len(weak):,} rows to look at are in review.jsonl, which annotation tools read: one JSON "
        "object per line with id, text, label, suggestion, score and evidence."
    ]
    edge = order[max(_ROWS, len(order) - _ROWS) :]
    for caption, rows in (
        ("Flagged negatives, the most probable ones.", order[:_ROWS]),
        ("Flagged negatives, the least probable ones.", edge),
        ("Doubtful positives: by the other rows, these look like negatives.", weak[:_ROWS]),
    ):
        if rows:
            parts.append(_row_table(found, caption, rows))
    return parts


def _row_table(found: Cleaning, caption: str, rows: Sequence[int]) -> Table:
    report = found.report
    lines = []
    for row in rows:
        code = int(report.suggestion[row])
        value = report.score[row] if bool(report.negative[row]) else report.support[row]
        lines.append(
            (
                _short(found.text(row)),
                f"{float(value):.3f}",
                found.relation(int(report.labels[row])),
                found.relation(code) if code >= 0 else NONE,
                _evidence(found, row),
            )
        )
    words = frozenset({"label", "suggestion", "nearest positives"})
    columns = ("row", "probability", "label", "suggestion", "nearest positives")
    return Table(columns, tuple(lines), caption, words)


def _evidence(found: Cleaning, row: int) -> str:
    said = (
        f"{found.relation(int(found.report.labels[near]))}: {_short(found.text(near))} ({cosine:.2f})"
        for near, cosine in nearest(found, row)
    )
    return " \N{BULLET} ".join(said) or NONE


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def _top(found: Cleaning, labels: Counter[int] | None) -> str:
    if not labels:
        return NONE
    (code, number), *_ = labels.most_common(1)
    return f"{found.relation(code)} ({number:,})" if number else NONE


def _cut(shown: Sequence[object], every: Sequence[object]) -> str:
    return "" if len(shown) == len(every) else f" The first {len(shown)} of {len(every):,}."
