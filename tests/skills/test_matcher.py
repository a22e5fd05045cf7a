"""Labels in texts, against regular expressions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.skills import LabelMatcher

LABELS = ["weld", "weld metal", "manage a team", "C", "Java", "use Java"]


def words(matcher: LabelMatcher, text: str) -> list[str]:
    return [mention.text for mention in matcher.find(text)]


def test_whole_words_and_the_longest() -> None:
    matcher = LabelMatcher(LABELS, least=1)
    assert words(matcher, "WELD METAL, weld; welders weld.") == ["WELD METAL", "weld", "weld"]
    assert words(matcher, "We use Java and JavaScript in C") == ["use Java", "C"]
    assert words(matcher, "Manage \t a\nteam") == ["Manage \t a\nteam"]
    assert words(matcher, "snake_weld") == []
    assert words(matcher, "") == []


def test_overlapping_labels() -> None:
    found = LabelMatcher(LABELS).find("we use Java, weld metal", overlapping=True)
    assert [one.text for one in found] == ["use Java", "Java", "weld metal", "weld"]


def test_a_longer_label_that_is_no_whole_word_hides_nothing() -> None:
    assert words(LabelMatcher(["cook", "cook so"]), "cook some") == ["cook"]


def test_spans_are_those_of_the_text() -> None:
    text = "Ünlü İstanbul'da  weld   metal — weld"
    for mention in LabelMatcher(LABELS).find(text):
        assert text[mention.start : mention.end] == mention.text
    assert words(LabelMatcher(LABELS), text) == ["weld   metal", "weld"]


def test_letters_with_marks() -> None:
    import unicodedata

    matcher = LabelMatcher(["cafe", unicodedata.normalize("NFD", "Café Löwe")])
    for form in ("NFC", "NFD"):
        text = unicodedata.normalize(form, "im Café Löwe, café")
        assert words(matcher, text) == [unicodedata.normalize(form, "Café Löwe")]


@given(
    st.lists(st.text("ab ", min_size=1, max_size=5).filter(str.strip), min_size=1, max_size=6, unique=True),
    st.text("ab .", max_size=24),
)
@settings(max_examples=200, deadline=None)
def test_the_same_as_a_regular_expression(labels: list[str], text: str) -> None:
    forms = sorted({" ".join(one.split()) for one in labels}, key=len, reverse=True)
    pattern = "|".join(r"(?<!\w)" + r"\s+".join(map(re.escape, one.split())) + r"(?!\w)" for one in forms)
    found = LabelMatcher(labels, least=1).find(text)
    assert [(one.start, one.end) for one in found] == [one.span() for one in re.finditer(pattern, text)]


def test_ambiguous_labels() -> None:
    labels, more = ["handle cash", "manage cash flow", "other"], [["cash"], ["handle cash", "cash"], ["cash"]]
    for policy, cash, handle in (("all", (0, 1, 2), (0, 1)), ("preferred", (0, 1, 2), (0,)), ("drop", None, None)):
        matcher = LabelMatcher(labels, more, ambiguous=policy)
        assert matcher.ambiguous == {"cash": (0, 1, 2), "handle cash": (0, 1)}
        found = {one.text: one.concepts for one in matcher.find("handle cash, cash")}
        assert (found.get("cash"), found.get("handle cash")) == (cash, handle)


def test_short_labels_are_listed() -> None:
    matcher = LabelMatcher(["C", "R", "C#", "Java"])
    assert matcher.short == ["C", "R", "C#"]
    assert words(matcher, "C and R and Java") == ["Java"]


def test_distant_labels() -> None:
    rows, concepts = LabelMatcher(LABELS).find_all(["weld and weld metal", "nothing", "Java, weld"])
    assert rows.tolist() == [0, 0, 2, 2] and concepts.tolist() == [0, 1, 0, 4]


def test_refusals() -> None:
    with pytest.raises(InvalidInputError, match="alternatives for 1"):
        LabelMatcher(["a b", "c d"], [[]])
    with pytest.raises(InvalidInputError, match="none of the 1 labels"):
        LabelMatcher(["-"])
    with pytest.raises(InvalidInputError, match="ambiguous"):
        LabelMatcher(["a b"], ambiguous="first")
