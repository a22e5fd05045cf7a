"""The page about a zero-shot evaluation."""

from __future__ import annotations

from kgneg.qa import SetResult, ZeroShotResult
from kgneg.qa.page import build_page
from kgneg.report import render_html

RESULT = ZeroShotResult({"csqa": SetResult(0.5, 10, 0.2, 0.8, 0.2)})


def test_page() -> None:
    page = build_page(RESULT, "<lexical>", {"recipe": {"steps": 3}, "questions": 1234})
    assert page.lead == (
        "<lexical> answers 50.0 per cent of the questions of 1 set right, on average; guessing is worth 20.0 per cent."
    )
    html = render_html(page)
    assert "1,234" in html and "How it was trained" in html and "&lt;lexical&gt;" in html


def test_untrained() -> None:
    assert [one.title for one in build_page(RESULT, "lexical").sections] == ["Accuracy"]
