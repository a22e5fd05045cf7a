"""What a ranker gets wrong."""

from __future__ import annotations

import torch

from kgneg.report import render_html
from kgneg.skills import ConceptSet, judge_ranking
from kgneg.skills.mistakes import find_mistakes
from kgneg.skills.page import build_report


def test_mistakes(concepts: ConceptSet) -> None:
    """Ids: bend 0, bread 1, cut 2, soup 3, staff 4, team 5, weld 6."""
    scores = torch.tensor([[5.0, 0, 4, 3, 2, 1, 6], [6.0, 5, 4, 3, 2, 1, 0], [0.0, 0, 0, 0, 0, 0, 0]])
    queries, right = torch.tensor([0, 0, 1]), torch.tensor([6, 1, 4])
    found = find_mistakes(scores, queries, right, concepts, k=3)
    assert found.ranks.tolist() == [7, 1, 5]  # in the order of concepts
    assert found.concepts.tolist() == [1, 6, 4]
    assert found.related == {
        "same name": 0, "broader or narrower": 0, "sibling": 2, "cousin": 0, "similar spelling": 0, "none of these": 3,
    }  # fmt: skip
    assert found.wrongly == {0: 2, 2: 2, 1: 1}
    assert found.missed() == {1: 1, 4: 1} and found.worst(5) == [1]
    figures = {"all": judge_ranking(scores, queries, right)}
    texts = ["<b>steel</b>", "people", "x"]
    page = render_html(build_report(found, figures, texts, concepts, "gold.csv"))
    assert "&lt;b&gt;steel" not in page and "people" in page  # the first text has a right concept on top
    assert "manage staff (5)" in page and "bend metal; bake bread; cut metal" in page
    assert page == render_html(build_report(found, figures, texts, concepts, "gold.csv"))


def test_without_a_taxonomy_and_without_mistakes() -> None:
    concepts = ConceptSet(["a", "b"], ["weld metal", "cut metal"], [(), ()])
    scores, pairs = torch.tensor([[1.0, 0.0]]), (torch.tensor([0]), torch.tensor([0]))
    found = find_mistakes(scores, *pairs, concepts, k=1)
    page = render_html(build_report(found, {"all": found.figures}, ["weld"], concepts, "gold"))
    assert "sibling" not in page and "none" in page and not found.worst(3)
