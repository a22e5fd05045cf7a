"""How relations are put into words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.qa import BUILTIN_TEMPLATES, Templates, statement
from kgneg.qa.wording import statements

ATOMIC = {"xAttr", "xIntent", "xNeed", "xReact", "xWant", "xEffect", "oReact", "oWant", "oEffect"}
ATOMIC_2020 = {
    "xReason", "isAfter", "isBefore", "HinderedBy", "Causes", "isFilledBy", "HasSubEvent", "ObjectUse", "AtLocation",
    "MadeUpOf", "HasProperty", "CapableOf", "Desires", "NotDesires",
}  # fmt: skip
CONCEPTNET = {
    "AtLocation", "CapableOf", "Causes", "CausesDesire", "CreatedBy", "DefinedAs", "DesireOf", "Desires", "HasA",
    "HasFirstSubevent", "HasLastSubevent", "HasPainCharacter", "HasPainIntensity", "HasPrerequisite", "HasProperty",
    "HasSubevent", "InheritsFrom", "InstanceOf", "IsA", "LocatedNear", "LocationOfAction", "MadeOf",
    "MotivatedByGoal", "NotCapableOf", "NotDesires", "NotHasA", "NotHasProperty", "NotIsA", "NotMadeOf", "PartOf",
    "ReceivesAction", "RelatedTo", "SymbolOf", "UsedFor",
}  # fmt: skip


def test_all_relations_are_there() -> None:
    assert set(Templates.load("atomic").relations) == ATOMIC | ATOMIC_2020
    assert set(Templates.load("conceptnet").relations) >= CONCEPTNET
    assert len(CONCEPTNET) == 34


@pytest.mark.parametrize("name", BUILTIN_TEMPLATES)
def test_words_of_the_package_fit(name: str) -> None:
    templates = Templates.load(name)
    for relation in templates.relations:
        asked = templates.question("red deer", relation)
        assert "red deer" in asked.lower() and "{" not in asked and asked[0].isupper() and asked == asked.strip()


def test_answers() -> None:
    templates = Templates.load("atomic")
    assert templates.answer("wanted to go home.", "xWant") == "go home"
    assert templates.answer("To go  home", "xWant") == "go home"
    assert templates.answer("total failure", "xWant") == "total failure"
    assert templates.answer("to ", "xWant") == "to"
    assert templates.answer("to go home", "xEffect") == "to go home"
    assert templates.question("PersonX leaves.", "xReact") == "PersonX leaves. As a result, PersonX felt"


def test_statements() -> None:
    assert statement("Kim felt", "sad!") == "Kim felt sad!"
    assert statements(["Kim felt", "The {answer} left."], [["sad", "glad"], ["cat"]]) == (
        ["Kim felt sad.", "Kim felt glad.", "The cat left."],
        [2, 1],
    )


def test_files_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"eats": {"question": "What {head} eats is", "strip": ["some "]}}), encoding="utf-8")
    templates = Templates.load(path)
    assert Templates.load(templates) is templates and templates.relations == ("eats",)
    assert templates.question("a cat", "eats") == "What a cat eats is"
    assert templates.answer("some fish", "eats") == "fish"


def test_unknown_relation() -> None:
    with pytest.raises(
        InvalidInputError, match=r"atomic has no template for the relation 'eats', only for xAttr.*JSON"
    ):
        Templates.load("atomic").check(["xWant", "eats"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nothing", "no JSON file of templates"),
        ("[]", "expected a table of relations"),
        ('{"a": "b"}', "the relation 'a' needs a question"),
        ('{"a": {"question": "what"}}', "needs {head} once"),
        ('{"a": {"question": "{head} {head}"}}', "needs {head} once"),
        ('{"a": {"question": "{head}", "stripes": []}}', "has 'stripes', expected question and strip"),
        ('{"a": {"question": "{head}", "strip": "to "}}', "strip of 'a' must be a list of texts, got 'to '"),
        ('{"a": {"question": "{head}", "strip": [" "]}}', "must be a list of texts"),
    ],
)
def test_malformed_files(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=message):
        Templates.load(path)
    with pytest.raises(InvalidInputError, match="templates must be atomic, conceptnet or a JSON file"):
        Templates.load(tmp_path / "other.json")
