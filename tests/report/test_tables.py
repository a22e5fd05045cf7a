from __future__ import annotations

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.report import Table, render_text


def test_alignment() -> None:
    table = Table(("name", "note", "n"), (("a", "x", "10.0"), ("long", "yy", "1")), text_columns=frozenset({"note"}))
    assert render_text(table).splitlines() == [
        "name  note     n",
        "----  ----  ----",
        "a     x     10.0",
        "long  yy       1",
    ]


def test_wide_characters_take_two_places() -> None:
    lines = render_text(Table(("name", "n"), (("日本", "1"), ("abcd", "2")))).splitlines()
    assert lines[2:] == ["日本  1", "abcd  2"]


def test_no_rows() -> None:
    assert render_text(Table(("a", "b"), ())) == "a  b\n-  -"


def test_uneven_rows_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="row 1 has 1 cells, expected 2"):
        Table(("a", "b"), (("1", "2"), ("3",)))
