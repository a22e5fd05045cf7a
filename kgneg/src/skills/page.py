"""The page about mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from kgneg.report import Report, Section, Table
from kgneg.skills.concepts import ConceptSet
from kgneg.skills.figures import RankingFigures
from kgneg.skills.mistakes import Mistakes

__all__ = ["build_report", "figure_rows"]

_BOUNDS = (1, 5, 10, 100)
_SHOWN, _TEXTS = 20, 50


def figure_rows(figures: Mapping[str, RankingFigures]) -> Table:
    """Return a table of figures.

    :param figures: row -> figures
    """
    ks = list(next(iter(figures.values())).precision)
    rows = tuple(
        (name, f"{one.mrr:.3f}", *(f"{100 * value:.2f}" for value in one.precision.values()))
        for name, one in figures.items()
    )
    return Table(("", "MRR", *(f"RP@{k}" for k in ks)), rows, "Mean reciprocal rank, and R-precision in per cent.")


def build_report(
    found: Mistakes, figures: Mapping[str, RankingFigures], texts: Sequence[str], concepts: ConceptSet, name: str
) -> Report:
    """Return the page.

    :param found: the mistakes
    :param figures: row -> figures, to be shown side by side
    :param texts: the texts
    :param concepts: the concepts
    :param name: what was judged
    :returns: title, lead and sections
    """
    labels, k = concepts.labels, found.k
    top = f"first {k}"
    missed = int((found.ranks > k).sum())
    lead = (
        f"Of {len(found.ranks):,} right concepts of {found.figures.queries:,} texts, {len(found.ranks) - missed:,} are "
        f"among the {top}. Wrong ones among the {top} are counted by the closest relation to a right one of their text."
    )
    ranks = [
        (label, f"{number:,}", f"{100 * number / len(found.ranks):.1f}") for label, number in _by_rank(found).items()
    ]
    wrong = max(sum(found.related.values()), 1)
    related = [
        (name, f"{number:,}", f"{100 * number / wrong:.1f}")
        for name, number in found.related.items()
        if concepts.taxonomy is not None or name not in ("broader or narrower", "sibling", "cousin")
    ]
    sections = (
        Section("Figures", (figure_rows(figures),)),
        Section(
            "Where right concepts stand", (Table(("place", "concepts", "%"), tuple(ranks), "Ties count as last."),)
        ),
        Section("What is wrong", (Table(("relation to a right one", "concepts", "%"), tuple(related), ""),)),
        Section(f"Most often wrong among the {top}", (_counted(found.wrongly, labels),)),
        Section(f"Most often missed among the {top}", (_counted(found.missed(), labels),)),
        Section("Texts to look at", (_texts(found, texts, labels),)),
    )
    return Report(f"Mistakes in {name}", lead, sections, "Made by kgneg skills evaluate.")


def _by_rank(found: Mistakes) -> dict[str, int]:
    ranks = found.ranks.tolist()
    counts, low = {}, 0
    for bound in _BOUNDS:
        label = str(bound) if bound == low + 1 else f"{low + 1} to {bound}"
        counts[label] = sum(low < rank <= bound for rank in ranks)
        low = bound
    return {**counts, f"after {low}": sum(rank > low for rank in ranks)}


def _counted(counts: Counter[int], labels: Sequence[str]) -> Table:
    rows = sorted(counts.items(), key=lambda one: (-one[1], labels[one[0]]))[:_SHOWN]
    shown = tuple((labels[concept], f"{number:,}") for concept, number in rows) or (("none", "0"),)
    return Table(("concept", "texts"), shown, "")


def _texts(found: Mistakes, texts: Sequence[str], labels: Sequence[str]) -> Table:
    right: dict[int, list[str]] = {}
    for query, concept, rank in zip(found.queries.tolist(), found.concepts.tolist(), found.ranks.tolist(), strict=True):
        right.setdefault(query, []).append(f"{labels[concept]} ({rank:,})")
    rows = tuple(
        (texts[query], "; ".join(right[query]), "; ".join(labels[one] for one in found.top[query, :3].tolist()))
        for query in found.worst(_TEXTS)
    ) or (("none", "", ""),)
    return Table(
        ("text", "right (place)", "first three"),
        rows,
        "The best placed right concept stands lowest.",
        frozenset({"right (place)", "first three"}),
    )
