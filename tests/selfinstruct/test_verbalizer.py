"""Triples as sentences."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.verbalizer import BUILTIN_LANGUAGES, Verbalizer

ATOMIC = "xAttr xIntent xNeed xReact xWant xEffect oReact oWant oEffect"
ATOMIC_2020 = "xReason isAfter isBefore HinderedBy Causes isFilledBy HasSubEvent ObjectUse AtLocation MadeUpOf"
ATOMIC_2020 += " HasProperty CapableOf Desires NotDesires"
CKBP = "Causes HasSubEvent HinderedBy isAfter isBefore xReason"
CONCEPTNET = (
    "AtLocation CapableOf Causes CausesDesire CreatedBy DefinedAs DesireOf Desires HasA HasFirstSubevent "
    "HasLastSubevent HasPainCharacter HasPainIntensity HasPrerequisite HasProperty HasSubevent "
    "InheritsFrom InstanceOf IsA LocatedNear LocationOfAction MadeOf MotivatedByGoal NotCapableOf "
    "NotDesires NotHasA NotHasProperty NotIsA NotMadeOf PartOf ReceivesAction RelatedTo SymbolOf UsedFor"
)


@pytest.mark.parametrize("language", BUILTIN_LANGUAGES)
@pytest.mark.parametrize("relations", [ATOMIC, ATOMIC_2020, CKBP, CONCEPTNET], ids=["atomic", "2020", "ckbp", "cn"])
def test_sets_of_relations_are_covered(language: str, relations: str) -> None:
    words = Verbalizer.load(language=language)
    words.check(relations.split())
    assert all(2 <= words.paraphrases(relation) <= 3 for relation in relations.split())


@pytest.mark.parametrize("language", BUILTIN_LANGUAGES)
def test_every_sentence_says_both_parts_and_no_two_are_equal(language: str) -> None:
    words = Verbalizer.load(language=language)
    for relation in words.relations:
        one = Candidates.from_triples([("HHH", relation, "TTT")])
        said = [form(one, k)[0] for form in (words.positive, words.negated) for k in range(words.paraphrases(relation))]
        assert all("HHH" in text and "TTT" in text for text in said)
        assert len(set(said)) == len(said)
        assert all(text.endswith({"en": ".", "zh": "。"}[language]) for text in said)


def test_both_languages_have_the_same_relations() -> None:
    assert len({Verbalizer.load(language=one).relations for one in BUILTIN_LANGUAGES}) == 1


def test_negated_relations_are_turned_round() -> None:
    words = Verbalizer.load()
    negation = Candidates.from_triples([("cat", "NotIsA", "fish")])
    plain = Candidates.from_triples([("cat", "IsA", "fish")])
    assert words.positive(negation) == words.negated(plain) == ["Cat is not a kind of fish."]


def test_what_the_sentence_says_already_is_left_out_of_tails() -> None:
    words = Verbalizer.load()
    tails = ["to go home", "PersonX wants to go home", "go home.", "Go home"]
    said = words.positive(Candidates(["PersonX works"] * 4, ["xWant"] * 4, tails))
    assert len({one.lower() for one in said}) == 1
    assert said[0] == "PersonX works. As a result, PersonX wants to go home."
    only = Candidates.from_triples([("a", "xWant", "to ")])
    assert words.positive(only)[0].endswith("following: to.")  # nothing else would be left


def test_braces_in_texts_stay() -> None:
    said = Verbalizer.load().positive(Candidates.from_triples([("{tail}", "IsA", "{head} x")]))
    assert said == ["{tail} is a kind of {head} x."]


def test_paraphrases_go_round() -> None:
    words, one = Verbalizer.load(), Candidates.from_triples([("a", "IsA", "b")])
    assert words.positive(one, 3) == words.positive(one, 0) != words.positive(one, 1)
    with pytest.raises(InvalidInputError):
        words.positive(one, -1)


def test_names_are_replaced_as_whole_words() -> None:
    words = Verbalizer.load(names={"PersonX": "Alex", "PersonY": "Kim"})
    one = Candidates.from_triples([("PersonX meets PersonY's PersonXY", "HasSubEvent", "PersonX talks")])
    assert words.positive(one) == ["Alex meets Kim's PersonXY includes the event that Alex talks."]
    again = pickle.loads(pickle.dumps(words))  # noqa: S301 - our own
    assert again.positive(one) == words.positive(one)
    assert again.fingerprint() == words.fingerprint() != Verbalizer.load().fingerprint()


def test_chinese() -> None:
    said = Verbalizer.load(language="zh")
    one = Candidates.from_triples([("猫", "IsA", "一种动物。")])
    assert said.positive(one) == ["猫是一种动物。"]
    assert said.negated(one) == ["猫不是一种动物。"]


def test_aliases() -> None:
    words = Verbalizer.load()
    said = [words.positive(Candidates.from_triples([("a", name, "b")])) for name in ("gWant", "general Want")]
    assert said[0] == said[1]


def test_unknown_relation() -> None:
    with pytest.raises(InvalidInputError, match=r"'eats', only for xAttr.*JSON file"):
        Verbalizer.load().positive(Candidates.from_triples([("cat", "eats", "fish")]))


def test_own_file(tmp_path: Path) -> None:
    content = {
        "language": "de",
        "relations": {"ist": {"positive": ["{head} ist {tail}."], "negated": ["{tail}? {head} nicht."]}},
    }
    path = tmp_path / "de.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    words = Verbalizer.load(path)
    one = Candidates.from_triples([("Das", "ist", "gut")])
    assert (words.language, words.positive(one), words.negated(one)) == ("de", ["Das ist gut."], ["Gut? Das nicht."])
    assert Verbalizer.load(words) is words


GOOD = {"positive": ["{head} {tail}"], "negated": ["{head} no {tail}"]}


@pytest.mark.parametrize(
    "entry",
    [
        {"positive": ["{head} {tail}"]},
        GOOD | {"extra": []},
        GOOD | {"positive": []},
        GOOD | {"positive": "{head} {tail}"},
        GOOD | {"positive": ["{head}"]},
        GOOD | {"positive": ["{head} {tail} {tail}"]},
        GOOD | {"positive": ["{head} {tail} {x}"]},
        GOOD | {"positive": [3]},
        GOOD | {"negated": ["{head} {tail}", "{head} {tail}"]},
        "text",
    ],
)
def test_malformed_entries(entry: Any) -> None:
    with pytest.raises(InvalidInputError, match="'r'"):
        Verbalizer(relations={"r": entry})


@pytest.mark.parametrize("text", ["[]", "{", '{"relations": {}}', '{"relations": 3}', '{"relations": {}, "x": 1}'])
def test_malformed_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "words.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"words\.json"):
        Verbalizer.load(path)


def test_no_such_file_language_or_alias() -> None:
    with pytest.raises(InvalidInputError, match="no file"):
        Verbalizer.load("nowhere.json")
    with pytest.raises(InvalidInputError, match="'fr'"):
        Verbalizer.load(language="fr")
    with pytest.raises(InvalidInputError, match="alias"):
        Verbalizer(relations={"r": GOOD}, aliases={"s": "t"})


def _both(head: str, relation: str, tail: str, paraphrase: int = 0, language: str = "en") -> tuple[str, str]:
    words, one = Verbalizer.load(language=language), Candidates.from_triples([(head, relation, tail)])
    return words.positive(one, paraphrase)[0], words.negated(one, paraphrase)[0]


@pytest.mark.parametrize(
    ("triple", "said", "denied"),
    [
        (("hammer", "UsedFor", "to drive nails"), "can be used to drive nails.", "cannot be used to drive nails."),
        (("pen", "UsedFor", "write"), "can be used for the following: write.", "cannot be used for the"),
        (("oven", "UsedFor", "for baking"), "used for the following: baking.", "cannot be used for the following"),
        (("drive", "HasPrerequisite", "to have a key"), "requires the following: to have a key.", "does not require"),
        (("PersonX wins", "xReact", "PersonX has a prize"), "reacts like this: PersonX has a prize.", "does not react"),
        (("PersonX wins", "xReact", "PersonX feels happy"), "PersonX feels happy.", "PersonX does not feel happy."),
        (("PersonX wins", "oWant", "PersonX sings"), "others want the following: PersonX sings.", "do not want the"),
        (("PersonX wins", "oWant", "PersonY to sing"), "others want to sing.", "others do not want to sing."),
        (("PersonX wins", "xIntent", "PersonY sings"), "intended the following: PersonY sings.", "did not intend"),
        (("cup", "AtLocation", "on the table"), "can be found on the table.", "cannot be found on the table."),
        (("cup", "AtLocation", "kitchen"), "can be found at kitchen.", "cannot be found at kitchen."),
        (("rain", "Causes", "you get wet"), "causes the following: you get wet.", "does not cause the following"),
        (("cat", "HasA", "a tail"), "has the following: a tail.", "does not have the following: a tail."),
        (("cat", "CapableOf", "swim"), "Cat can swim.", "It is not true that cat can swim."),
    ],
)
def test_tails_of_every_form_fit(triple: tuple[str, str, str], said: str, denied: str) -> None:
    positive, negated = _both(*triple)
    assert said in positive
    assert denied in negated


def test_the_negation_of_a_kind_says_the_opposite() -> None:
    assert _both("cat", "IsA", "pet", 2) == ("Cat is a type of pet.", "Cat is not a type of pet.")
    assert _both("猫", "HinderedBy", "狗", 0, "zh") == ("狗会妨碍猫。", "狗不会妨碍猫。")
    positive, negated = _both("他赢", "xAttr", "强", 0, "zh")
    assert positive.startswith("他赢。可以说")
    assert negated == "他赢。不能说PersonX是强的。"


def test_stops_and_capitals() -> None:
    assert _both("iPhone", "IsA", "phone")[0] == "iPhone is a kind of phone."
    assert _both("PersonX asks why?", "xWant", "to know")[0].startswith("PersonX asks why? As a")
    assert _both("Texas", "PartOf", "the U.S.")[0] == "Texas is a part of the U.S."
    assert _both("the U.S.", "HasProperty", "large")[0] == "The U.S. can be described as large."


@pytest.mark.parametrize(
    "more",
    [
        {"clause": ["to "]},
        {"clause": ["("], "clause_positive": ["{head} {tail}"], "clause_negated": ["{head} no {tail}"]},
        {"clause": ["to "], "clause_positive": ["{head}"], "clause_negated": ["{head} no {tail}"]},
        {"clause": ["to "], "clause_positive": ["{head} {tail}"], "clause_negated": []},
    ],
)
def test_malformed_clauses(more: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidInputError, match="'r'"):
        Verbalizer(relations={"r": GOOD | more})


def test_content_makes_it_again() -> None:
    words = Verbalizer.load()
    assert Verbalizer(**words.content()).fingerprint() == words.fingerprint()
