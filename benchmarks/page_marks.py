"""Tables between marks of a page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from kgneg.core.storage import atomic_path

__all__ = ["put_tables"]


def put_tables(page: Path, family: str, tables: Mapping[str, str]) -> None:
    """Replace what stands between the marks ``<!-- family-name:begin -->`` and ``<!-- family-name:end -->`` of a page.

    :param page: a Markdown file
    :param family: the first part of the names of the marks
    :param tables: Markdown by name
    """
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {family}-{name}:begin -->", f"<!-- {family}-{name}:end -->"
        if begin not in text or end not in text:
            raise SystemExit(f"{page} has no marks {begin} ... {end}")
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        text = pattern.sub(lambda _, inner=f"{begin}\n\n{table}\n\n{end}": inner, text)
    with atomic_path(page) as path:
        path.write_text(text, encoding="utf-8")
