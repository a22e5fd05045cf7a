"""Figures as SVG text that fits into a page: deterministic, in the colours of the page, without global state."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kgneg.core.errors import InvalidInputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Series",
    "colour",
    "dot_plot",
    "figure_to_svg",
    "house_figure",
    "line_plot",
    "marker",
    "quantile_plot",
    "scatter_plot",
]

#: Colours that stand out on white as well as on black, also for people who do not see all colours.
_COLOURS = ("#2f7fc1", "#d9722e", "#2f9e78", "#b65fa8", "#a68a1f", "#cf4858", "#5f74c9", "#7a8691")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES = ("-", "--", "-.", ":")
_INK = "#010203"  # stands for the colour of the text around the figure
_SETTINGS: Any = {
    "svg.hashsalt": "kgneg",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may have a dollar sign
    "font.family": "sans-serif",
    "font.size": 11.0,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.linewidth": 0.6,
    "axes.unicode_minus": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Series:
    """What belongs to one name in a figure: several repetitions of the same measurement.

    :param name: how it is called in the figure
    :param values: for :func:`line_plot` one sequence per repetition, all of the same length; for :func:`dot_plot` one
        sequence with one number per repetition. All numbers are finite.
    :raises InvalidInputError: if there is no number, one is not finite, or lengths differ
    """

    name: str
    values: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        lengths = {len(line) for line in self.values}
        if len(lengths) != 1 or lengths == {0}:
            raise InvalidInputError(
                f"series {self.name!r} needs lines of one positive length, got lengths {sorted(lengths)}"
            )
        if not all(math.isfinite(number) for line in self.values for number in line):
            raise InvalidInputError(f"series {self.name!r} has a number that is not finite")


def line_plot(name: str, series: Sequence[Series], *, x_label: str, y_label: str) -> str:
    """Draw lines over steps 1, 2, ...: the mean over the repetitions, and a band from the lowest to the highest.

    :param name: a name that no other figure on the page has; letters, digits and hyphens
    :param series: at least one; each gets a colour and a line style
    :param x_label: what the steps are
    :param y_label: what the numbers are, with their unit
    :returns: an ``<svg>`` element, the same text for the same input
    :raises InvalidInputError: if there is no series, or the name has other characters

    >>> line_plot("loss", [Series("basic", ((0.9, 0.5),))], x_label="epoch", y_label="mean loss")[:4]
    '<svg'
    """
    from matplotlib.ticker import MaxNLocator

    _check(name, series)
    with house_figure(3.4) as (figure, axes):
        for position, one in enumerate(series):
            columns = list(zip(*one.values, strict=True))
            steps = range(1, len(columns) + 1)
            mean = [math.fsum(column) / len(column) for column in columns]
            own, dash = colour(position), _DASHES[position % len(_DASHES)]
            dot = marker(position) if len(columns) == 1 else ""
            axes.plot(steps, mean, color=own, linestyle=dash, marker=dot, linewidth=1.8, label=one.name)
            if len(one.values) > 1:
                low, high = [min(column) for column in columns], [max(column) for column in columns]
                axes.fill_between(steps, low, high, color=own, alpha=0.2, linewidth=0)
        axes.grid(axis="y")
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.02)
        figure.legend(loc="outside upper left", ncols=3)
        return figure_to_svg(figure, name)


def dot_plot(name: str, series: Sequence[Series], *, x_label: str, from_zero: bool = False) -> str:
    """Draw one row per series: a dot per repetition, and a bar at their mean.

    :param name: a name that no other figure on the page has; letters, digits and hyphens
    :param series: at least one, drawn from top to bottom; those of one name after another are told apart by colour
    :param x_label: what the numbers are, with their unit
    :param from_zero: whether the axis begins at zero
    :returns: an ``<svg>`` element, the same text for the same input
    :raises InvalidInputError: if there is no series, or the name has other characters

    >>> dot_plot("ranks", [Series("basic", ((0.6, 0.7),))], x_label="MRR")[:4]
    '<svg'
    """
    _check(name, series)
    with house_figure(0.75 + 0.42 * len(series)) as (figure, axes):
        for position, one in enumerate(series):
            numbers = [number for line in one.values for number in line]
            mean = math.fsum(numbers) / len(numbers)
            own = colour(position)
            axes.plot([mean, mean], [position - 0.3, position + 0.3], color=own, linewidth=2.4, zorder=3)
            axes.plot(
                numbers,
                [position] * len(numbers),
                linestyle="",
                marker=marker(position),
                markersize=7,
                markeredgewidth=0,
                clip_on=False,  # a dot at zero shows as a whole
                color=own,
                alpha=0.65,
            )
        axes.set_yticks(range(len(series)), labels=[one.name for one in series])
        axes.set_ylim(len(series) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_xlabel(x_label)
        if from_zero:
            highest = max(number for one in series for line in one.values for number in line)
            axes.set_xlim(0 if highest > 0 else -0.05, 1.06 * highest if highest > 0 else 1)
        else:
            axes.margins(x=0.08)
        return figure_to_svg(figure, name)


def quantile_plot(name: str, series: Sequence[Series], *, x_label: str, mark: float | None = None) -> str:
    """Draw one row per series: a thin line, a thick line and a dot for distributions that are given by five quantiles.

    :param name: a name that no other figure on the page has; letters, digits and hyphens
    :param series: at least one, drawn from top to bottom, each with one sequence of five numbers in ascending order:
        the ends of the thin line, those of the thick line within it, and in their middle the dot
    :param x_label: what the numbers are, with their unit
    :param mark: where to draw a vertical line
    :returns: an ``<svg>`` element, the same text for the same input
    :raises InvalidInputError: if there is no series, the name has other characters, or numbers are not five or do not
        ascend

    >>> quantile_plot("scores", [Series("basic", ((1, 2, 3, 4, 5),))], x_label="score")[:4]
    '<svg'
    """
    _check(name, series)
    for one in series:
        if len(one.values) != 1 or len(one.values[0]) != 5 or list(one.values[0]) != sorted(one.values[0]):
            raise InvalidInputError(f"series {one.name!r} needs five numbers in ascending order, got {one.values}")
    with house_figure(0.75 + 0.42 * len(series)) as (figure, axes):
        for position, one in enumerate(series):
            lowest, low, middle, high, highest = one.values[0]
            own = colour(position)
            axes.plot([lowest, highest], [position, position], color=own, linewidth=1.4)
            axes.plot([low, high], [position, position], color=own, linewidth=7, alpha=0.55, solid_capstyle="butt")
            axes.plot([middle], [position], color=own, marker=marker(position), markersize=7, markeredgewidth=0)
        if mark is not None:
            axes.axvline(mark, color=_INK, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(series)), labels=[one.name for one in series])
        axes.set_ylim(len(series) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_xlabel(x_label)
        return figure_to_svg(figure, name)


def scatter_plot(name: str, series: Sequence[Series], *, x_label: str, y_label: str) -> str:
    """Draw dots on a plane, those of each series in a colour and a shape of their own; both axes begin at zero.

    :param name: a name that no other figure on the page has; letters, digits and hyphens
    :param series: at least one, each with two sequences: the numbers to the right, and those upwards
    :param x_label: what the numbers to the right are, with their unit
    :param y_label: what the numbers upwards are, with their unit
    :returns: an ``<svg>`` element, the same text for the same input
    :raises InvalidInputError: if there is no series, the name has other characters, or there are not two sequences

    >>> scatter_plot("trade", [Series("basic", ((0.2,), (0.1,)))], x_label="share", y_label="share")[:4]
    '<svg'
    """
    _check(name, series)
    for one in series:
        if len(one.values) != 2:
            raise InvalidInputError(f"series {one.name!r} needs two sequences, got {len(one.values)}")
    with house_figure(3.8) as (figure, axes):
        for position, one in enumerate(series):
            axes.plot(
                *one.values,
                linestyle="",
                marker=marker(position),
                markersize=9,
                markeredgewidth=0,
                clip_on=False,
                color=colour(position),
                alpha=0.85,
                label=one.name,
            )
        for axis, limit in (("x", axes.set_xlim), ("y", axes.set_ylim)):
            highest = max(number for one in series for number in one.values["xy".index(axis)])
            limit(0, 1.08 * highest if highest > 0 else 1)
        axes.grid()
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        figure.legend(loc="outside upper left", ncols=3)
        return figure_to_svg(figure, name)


def colour(position: int) -> str:
    """Return the colour of a series.

    :param position: the place of the series, from 0; after the last colour they repeat
    :returns: a colour that stands out on white as well as on black

    >>> colour(0) == colour(8) != colour(1)
    True
    """
    return _COLOURS[position % len(_COLOURS)]


def marker(position: int) -> str:
    """Return the shape of the dots of a series.

    :param position: the place of the series, from 0; after the last shape they repeat
    :returns: a marker of matplotlib

    >>> marker(0) == marker(8) != marker(1)
    True
    """
    return _MARKERS[position % len(_MARKERS)]


@contextmanager
def house_figure(height: float) -> Iterator[tuple[Figure, Axes]]:
    """Make an empty figure, outside of pyplot; within the block it is drawn in the style of all figures here.

    :param height: its height in inches
    :yields: the figure, and its axes

    >>> with house_figure(3.0) as (figure, axes):
    ...     _ = axes.plot([1, 2])
    ...     figure_to_svg(figure, "line")[:4]
    '<svg'
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(_SETTINGS):
        figure = Figure(figsize=(7.2, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot()


def figure_to_svg(figure: Figure, name: str) -> str:
    """Return a figure as an element for a page: no prologue, no fixed size, ids that are unique on the page.

    :param figure: a figure of :func:`house_figure`, within its block
    :param name: a name that no other figure on the page has; letters, digits and hyphens
    :returns: an ``<svg>`` element, the same text for the same figure
    :raises InvalidInputError: if the name has other characters
    """
    _check_name(name)
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = text.replace(_INK, "currentColor")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(\s|xlink:)(id|href)="(#?)', rf'\1\2="\3{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    return "\n".join(line.rstrip() for line in text.splitlines())


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        raise InvalidInputError(f"the name of a figure must be letters, digits and hyphens, got {name!r}")


def _check(name: str, series: Sequence[Series]) -> None:
    _check_name(name)
    if not series:
        raise InvalidInputError(f"figure {name!r} has no series")
