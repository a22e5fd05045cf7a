"""The figures of a study: history, importance of parameters, and score against seconds."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kgneg.report.plots import colour, figure_to_svg, house_figure, marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from kgneg.studies.result import StudyResult

__all__ = ["Drawing", "draw_front", "draw_history", "draw_importance"]

_INK = "#555555"  # lines that belong to no sampler; readable on light and dark pages
_MOST = 15  # parameters in the figure of importance


@dataclass(frozen=True)
class Drawing:
    """A figure in two formats.

    :param name: the name of the figure, also of its file
    :param svg: an ``<svg>`` element, for a page
    :param png: the same as a PNG file
    """

    name: str
    svg: str
    png: bytes


def _draw(name: str, height: float, paint: Callable[[Axes], None], *, legend: bool = False) -> Drawing:
    """Draw one figure.

    :param name: its name
    :param height: its height in inches
    :param paint: puts everything into the axes
    :param legend: whether there are names to explain
    :returns: the figure in both formats
    """
    with house_figure(height) as (figure, axes):
        paint(axes)
        if legend and axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper left", ncols=4)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150, facecolor="white", metadata={"Software": None})
        return Drawing(name, figure_to_svg(figure, name), buffer.getvalue())


def _looks(result: StudyResult) -> dict[str, dict[str, Any]]:
    """Return colour and marker of each sampler, or of each model where there are none."""
    names = result.definition[f"{result.choices[0]}s"]
    return {name: {"color": colour(place), "marker": marker(place)} for place, name in enumerate(names)}


def _dots(axes: Axes, result: StudyResult, x: Callable[[Mapping[str, Any]], float]) -> None:
    """Put in a dot for every finished trial; those of pruned trials are hollow."""
    for name, look in _looks(result).items():
        own = [trial for trial in result.finished if trial[result.choices[0]] == name and trial["value"] is not None]
        for state, fill in (("complete", look["color"]), ("pruned", "none")):
            some = [trial for trial in own if trial["state"] == state]
            label = name if state == "complete" else f"{name}, pruned"
            if some:
                axes.plot(
                    [x(trial) for trial in some],
                    [trial["value"] for trial in some],
                    linestyle="",
                    marker=look["marker"],
                    markersize=6,
                    markeredgecolor=look["color"],
                    markerfacecolor=fill,
                    alpha=0.8,
                    label=label,
                    zorder=3,
                )


def draw_history(result: StudyResult) -> Drawing | None:
    """Draw the score of every trial by number, and the best so far.

    :param result: the study
    :returns: the figure, or ``None`` if no trial is finished
    """
    if not result.finished:
        return None

    def paint(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        _dots(axes, result, lambda trial: trial["number"])
        steps: list[int] = []
        best: list[float] = []
        for trial in result.complete:
            steps.append(trial["number"])
            best.append(max([trial["value"], *best[-1:]]))
        if steps:
            axes.step(steps, best, where="post", color=_INK, linewidth=1.4, label="best so far", zorder=2)
        axes.grid(axis="y")
        axes.set_xlabel("trial")
        axes.set_ylabel(f"validation {result.objective}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    return _draw("history", 3.6, paint, legend=True)


def draw_importance(result: StudyResult) -> Drawing | None:
    """Draw how much of the differences between complete trials each parameter explains.

    :param result: the study
    :returns: the figure, or ``None`` if that is not known
    """
    if isinstance(result.importance, str) or not result.importance:
        return None
    shares = sorted(result.importance.items(), key=lambda one: -one[1])[:_MOST]

    def paint(axes: Axes) -> None:
        axes.barh(range(len(shares)), [share for _, share in shares], color=colour(0), height=0.62, zorder=2)
        for place, (_, share) in enumerate(shares):
            axes.text(share, place, f" {share:.2f}", va="center", ha="left")
        axes.set_yticks(range(len(shares)), labels=[name for name, _ in shares])
        axes.set_ylim(len(shares) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.set_xlabel("importance (all together: 1)")
        axes.margins(x=0.1)
        axes.set_xlim(left=0)

    return _draw("importance", 0.85 + 0.32 * len(shares), paint)


def draw_front(result: StudyResult) -> Drawing | None:
    """Draw score against seconds, and the trials that no other one beats in both.

    :param result: the study
    :returns: the figure, or ``None`` if no trial is complete
    """
    if not result.complete:
        return None
    front = result.front()

    def paint(axes: Axes) -> None:
        complete = _only_complete(result)
        _dots(axes, complete, lambda trial: trial["seconds"])
        times = [trial["seconds"] for trial in complete.complete]
        axes.step(
            [trial["seconds"] for trial in front] + [max(times)],
            [trial["value"] for trial in front] + [front[-1]["value"]],
            where="post",
            color=_INK,
            linewidth=1.4,
            label="front",
            zorder=2,
        )
        if min(times) > 0 and max(times) > 10 * min(times):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda seconds, _: f"{seconds:g}")  # the style spells no formulas
        axes.grid(axis="both")
        axes.set_xlabel("seconds of training")
        axes.set_ylabel(f"validation {result.objective}")

    return _draw("pareto", 3.6, paint, legend=True)


def _only_complete(result: StudyResult) -> StudyResult:
    from dataclasses import replace

    return replace(result, trials=tuple(result.complete))
