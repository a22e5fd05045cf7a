"""Reports in one HTML file that asks nobody for anything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from kgneg.core.errors import InvalidInputError
from kgneg.report.tables import Table

if TYPE_CHECKING:
    import jinja2

__all__ = ["Figure", "Report", "Section", "render_html"]


@dataclass(frozen=True)
class Figure:
    """A drawing with its explanation.

    :param svg: an ``<svg>`` element from :mod:`kgneg.report.plots`; it is put into the page as it is
    :param caption: what one sees, in plain words
    :param label: a short description for those who do not see it
    :raises InvalidInputError: if the text is no ``<svg>`` element

    >>> Figure("<svg></svg>", "Nothing.", "an empty figure").label
    'an empty figure'
    """

    svg: str
    caption: str
    label: str

    def __post_init__(self) -> None:
        if not self.svg.startswith("<svg") or not self.svg.rstrip().endswith("</svg>"):
            raise InvalidInputError(f"a figure must be an <svg> element, got {self.svg[:40]!r}")


#: What a section is made of: paragraphs of plain text, tables and figures.
Part: TypeAlias = str | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading and what is below it.

    :param title: the heading
    :param parts: paragraphs, tables and figures, in order
    :param folded: whether the reader has to open it
    """

    title: str
    parts: tuple[Part, ...]
    folded: bool = False

    @property
    def anchor(self) -> str:
        """The heading as it is written in links.

        >>> Section("False negatives", ()).anchor
        'false-negatives'
        """
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "section"


@dataclass(frozen=True)
class Report:
    """A page.

    :param title: its title
    :param lead: what came out, in one paragraph
    :param sections: what is below, in order; titles differ
    :param footer: a closing line
    """

    title: str
    lead: str
    sections: tuple[Section, ...]
    footer: str = ""


def render_html(report: Report) -> str:
    """Return a report as one HTML file without any reference to anything outside.

    All text is escaped; only the drawings are taken as they are. The page follows the light or dark setting of the
    reader, fits on a phone and on paper, and has neither scripts nor fonts of its own.

    :param report: the report
    :returns: the file, the same text for the same report

    >>> "<h1>A &amp; B</h1>" in render_html(Report("A & B", "Both.", ()))
    True
    """
    return _template().render(report=report) + "\n"


@cache
def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kgneg.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["table"] = lambda part: isinstance(part, Table)
    environment.tests["figure"] = lambda part: isinstance(part, Figure)
    return environment.get_template("report.html.j2")
