"""The templates of one relation."""

from __future__ import annotations

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.statements import Statements, filled

ENTRY = {"positive": ["{head} is {tail}."], "negated": ["{head} is not {tail}."]}


def test_what_is_said_already_goes_at_both_ends() -> None:
    words = Statements.read("w", ENTRY | {"strip": ["to ", "to be "], "strip_end": ["ly", "slowly"]})
    assert words.fitted("To be quick") == ("quick", False)
    assert words.fitted("to friendly") == ("friend", False)
    assert words.fitted("go slowly") == ("go", False)
    assert words.fitted("to be") == ("be", False)
    assert words.fitted("ly") == ("ly", False)


def test_what_is_whole_keeps_both_ends() -> None:
    words = Statements.read(
        "w", ENTRY | {"strip": ["to "], "strip_end": ["ly"], "whole": ["to (?:and|fam)", ".*bully$"]}
    )
    assert words.fitted("to family")[0] == "to family"
    assert words.fitted("to a bully")[0] == "to a bully"
    assert words.fitted("to go dearly")[0] == "go dear"


def test_other_wordings_keep_the_ending() -> None:
    other = {"clause": ["is "], "clause_positive": ["{head} {tail}."], "clause_negated": ["not {head} {tail}."]}
    words = Statements.read("w", ENTRY | other | {"strip": ["it "], "strip_end": ["的"]})
    assert words.fitted("it is 红的") == ("is 红的", True)
    assert words.fitted("红的") == ("红", False)


@pytest.mark.parametrize("field", ["positive", "clause_positive"])
def test_a_sentence_is_not_its_own_negation(field: str) -> None:
    other = {"clause": ["is "], "clause_positive": ["{head} {tail}."], "clause_negated": ["not {head} {tail}."]}
    entry = ENTRY | other
    negated = field.replace("positive", "negated")
    with pytest.raises(InvalidInputError, match=r"w: .* is its own negation.*under negated"):
        Statements.read("w", entry | {field: entry[negated]})


def test_names_and_stops() -> None:
    assert filled("{head} helps PersonX.", "a", "b", lambda text: text.replace("PersonX", "Kim")) == "A helps Kim."
    assert filled("{head}? {tail}.", "why?", "PersonX etc.", str.upper) == "Why?? PersonX etc."
    assert filled("{head}: {tail}.", "{tail}", "{head}") == "{tail}: {head}."
