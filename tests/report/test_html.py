from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.report import Figure, Report, Section, Series, Table, dot_plot, render_html

EVIL = "<script>alert('x')</script>"
FIGURE = Figure(dot_plot("dots", [Series(EVIL, ((1.0,),))], x_label="MRR"), f"What one sees {EVIL}", f"Dots {EVIL}")
TABLE = Table(("name", "number"), ((EVIL, "1"),), f"A caption {EVIL}", notes=((f"term {EVIL}", f"meaning {EVIL}"),))
REPORT = Report(
    f"Title {EVIL}",
    f"Lead {EVIL}",
    (Section("First part", (f"Paragraph {EVIL}", TABLE, FIGURE)), Section("Second", (TABLE,), folded=True)),
    f"Footer {EVIL}",
)
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Checker(HTMLParser):
    """Collects tags and ids, and checks that tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page() -> str:
    return render_html(REPORT)


def test_is_well_formed(page: str) -> None:
    checker = Checker(page)
    assert not checker.open
    ids = [attributes["id"] for _, attributes in checker.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    pointed = [attributes["aria-labelledby"] for _, attributes in checker.tags if "aria-labelledby" in attributes]
    pointed += [str(attributes["href"])[1:] for tag, attributes in checker.tags if tag == "a"]
    assert len(pointed) == 4
    assert set(pointed) <= set(ids)


def test_everything_is_escaped(page: str) -> None:
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 10


def test_asks_nobody(page: str) -> None:
    tags = Checker(page).tags
    assert not {"script", "link", "img", "iframe", "object", "embed"} & {tag for tag, _ in tags}
    for _, attributes in tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert "default-src 'none'" in page


def test_is_accessible(page: str) -> None:
    tags = Checker(page).tags
    assert ("html", {"lang": "en"}) in tags
    assert any(tag == "meta" and "width=device-width" in str(found.get("content")) for tag, found in tags)
    assert "prefers-color-scheme: dark" in page
    assert sum(tag == "th" and found.get("scope") == "col" for tag, found in tags) == 4
    assert sum(tag == "th" and found.get("scope") == "row" for tag, found in tags) == 2
    assert all(found.get("aria-label") for tag, found in tags if found.get("role") == "img")
    assert sum(tag == "h1" for tag, _ in tags) == 1
    assert sum(tag == "details" for tag, _ in tags) == 1


def test_is_deterministic(page: str) -> None:
    assert render_html(REPORT) == page


def test_without_sections() -> None:
    page = render_html(Report("T", "L", ()))
    assert "<nav" not in page
    assert "<footer" not in page


def test_figures_are_svg() -> None:
    with pytest.raises(InvalidInputError, match="<svg> element"):
        Figure("<script></script>", "a", "b")
