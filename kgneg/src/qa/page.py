"""The page about a zero-shot evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgneg.qa.evaluation import ZeroShotResult
from kgneg.report import Report, Section, Table

__all__ = ["build_page"]


def build_page(result: ZeroShotResult, name: str, record: Mapping[str, Any] | None = None) -> Report:
    """Return the page.

    :param result: the figures
    :param name: what the scorer is called
    :param record: how it was trained, see :func:`~kgneg.qa.load_scorer`
    :returns: title, lead and sections
    """
    sets = len(result.sets)
    lead = (
        f"{name} answers {100 * result.mean:.1f} per cent of the questions of {sets} "
        f"set{'s' if sets > 1 else ''} right, on average; guessing is worth {100 * result.chance:.1f} per cent."
    )
    sections = [Section("Accuracy", (result.table(),))]
    recipe = (record or {}).get("recipe")
    if recipe:
        rows = [(key, str(value)) for key, value in recipe.items()]
        rows.append(("questions", f"{record['questions']:,}" if record else ""))
        sections.append(Section("How it was trained", (Table(("", "value"), tuple(rows)),), folded=True))
    return Report(f"Zero-shot questions: {name}", lead, tuple(sections), "Made by kgneg qa evaluate.")
