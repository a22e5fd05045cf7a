"""Tables of finished text, and their form for the terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from unicodedata import east_asian_width

from kgneg.core.errors import InvalidInputError

__all__ = ["Table", "render_text"]


@dataclass(frozen=True)
class Table:
    """A table whose cells are finished text.

    :param columns: the headings; the first column names the rows
    :param rows: the rows, each as long as ``columns``
    :param caption: what one sees, in plain words; one or a few sentences
    :param text_columns: the columns, besides the first, that hold words and are aligned to the left; all others are
        taken as numbers and aligned to the right
    :param notes: what the columns mean, as pairs of a term and its explanation
    :raises InvalidInputError: if a row has another length than ``columns``

    >>> Table(("sampler", "MRR"), (("basic", "0.61"),)).rows
    (('basic', '0.61'),)
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    text_columns: frozenset[str] = field(default_factory=frozenset)
    notes: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise InvalidInputError(f"row {number} has {len(row)} cells, expected {len(self.columns)}: {row}")

    def is_text(self, column: int) -> bool:
        """Return whether a column is aligned to the left.

        :param column: the position of the column
        :returns: true for the first column and for those of ``text_columns``
        """
        return column == 0 or self.columns[column] in self.text_columns


def render_text(table: Table) -> str:
    """Return a table for the terminal, without its caption and notes.

    :param table: the table
    :returns: a line of headings, a rule, and one line per row; no line ends in a blank

    >>> print(render_text(Table(("sampler", "MRR"), (("basic", "0.61"), ("lemon", "0.7")))))
    sampler   MRR
    -------  ----
    basic    0.61
    lemon     0.7
    """
    cells = [table.columns, *table.rows]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(table.columns))]
    lines = []
    for row in cells:
        parts = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            blanks = " " * (width - _width(cell))
            parts.append(cell + blanks if table.is_text(column) else blanks + cell)
        lines.append("  ".join(parts).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _width(text: str) -> int:
    """Return how many places of a terminal a text takes."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
