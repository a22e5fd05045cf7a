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


@pytest.mark.parametrize("language", BUILTIN_LANGUAGES)
def test_names_are_those_of_the_sentence_too(language: str) -> None:
    words = Verbalizer.load(language=language, names={"PersonX": "Alex", "head": "Kim"})
    for relation in words.relations:
        one = Candidates.from_triples([("PersonX wins", relation, "PersonX has PersonX's {tail}")])
        for form in (words.positive, words.negated):
            for said in (form(one, k)[0] for k in range(words.paraphrases(relation))):
                assert "PersonX" not in said
                assert "Alex wins" in said  # the slot {head} is no word
                assert "Alex's {tail}" in said
    wins = Candidates.from_triples([("PersonX wins", "xWant", "to celebrate")])
    if language == "en":
        assert words.positive(wins) == ["Alex wins. As a result, Alex wants to celebrate."]


@pytest.mark.parametrize("names", [{"PersonX": 5}, {5: "Alex"}, ["PersonX"], "PersonX"])
def test_malformed_names(names: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"names must be an object of texts, got .*5|Person"):
        Verbalizer.load(names=names)


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
    with pytest.raises(InvalidInputError, match=r"'eats', only for (\w+, ){9}oEffect and \d+ more\. Write") as caught:
        Verbalizer.load().check(["eats"])
    assert "AtLocation" not in str(caught.value)
    with pytest.raises(InvalidInputError, match=r"'is_a', but for IsA"):
        Verbalizer.load().check(["is_a"])
    with pytest.raises(InvalidInputError, match=r"'b', only for a\. Write"):
        Verbalizer(relations={"a": {"positive": ["{head} {tail}."], "negated": ["{tail} {head}."]}}).check(["b"])


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
        GOOD | {"negated": GOOD["positive"]},
        GOOD | {"whole": ["("]},
        GOOD | {"strip_end": "的"},
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


@pytest.mark.parametrize("more", [{"aliases": ["x"]}, {"aliases": {"b": ["a"]}}, {"language": 5}])
def test_malformed_aliases_and_languages(tmp_path: Path, more: dict[str, Any]) -> None:
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"relations": {"a": GOOD}} | more), encoding="utf-8")
    with pytest.raises(InvalidInputError, match=rf"words\.json: .*{next(iter(more))} must be"):
        Verbalizer.load(path)


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
        (("cat", "CapableOf", "can swim"), "Cat can swim.", "It is not true that cat can swim."),
        (("cat", "CapableOf", "swimming"), "Cat is capable of swimming.", "Cat is not capable of swimming."),
        (("bird", "CapableOf", "sing"), "Bird can sing.", "It is not true that bird can sing."),
        (("bird", "CapableOf", "bring luck"), "Bird can bring luck.", "It is not true that bird can bring luck."),
        (("cat", "HasA", "has a tail"), "Cat has the following: a tail.", "Cat does not have the following: a tail."),
        (
            ("eat", "HasSubEvent", "chewing food"),
            "Eat includes this event: chewing food.",
            "does not include this event",
        ),
        (("eat", "ObjectUse", "cutting"), "can be used for cutting.", "cannot be used for cutting."),
        (("PersonX wins", "xWant", "going home"), "wants the following: going home.", "does not want the following"),
        (("PersonX wins", "xAttr", "PersonX is proud"), "can be described as proud.", "cannot be described as proud."),
        (
            ("PersonX wins", "xAttr", "PersonX has luck"),
            "can be described like this: PersonX has luck.",
            "cannot be described like this: PersonX has luck.",
        ),
        (
            ("PersonX pays", "xEffect", "PersonX and PersonY go home"),
            "happens to PersonX: PersonX and PersonY go home.",
            "does not happen to PersonX: PersonX and PersonY go home.",
        ),
        (
            ("PersonX wins", "xWant", "PersonX and PersonY to be friends"),
            "wants the following: PersonX and PersonY to be friends.",
            "does not want the following: PersonX and",
        ),
        (
            ("PersonX pays", "xEffect", "PersonX 's mood is low"),
            "to PersonX: PersonX 's mood is low.",
            "does not happen",
        ),
    ],
)
def test_tails_of_every_form_fit(triple: tuple[str, str, str], said: str, denied: str) -> None:
    positive, negated = _both(*triple)
    assert said in positive
    assert denied in negated


@pytest.mark.parametrize(
    ("triple", "said", "denied"),
    [
        (("律师", "CapableOf", "会计"), "律师能够会计。", "律师不能会计。"),
        (("鸟", "CapableOf", "会飞"), "鸟会飞。", "鸟不会飞。"),
        (("鸟", "NotCapableOf", "能游泳"), "鸟不能游泳。", "鸟能游泳。"),
        (("孩子", "CapableOf", "会长大"), "孩子会长大。", "孩子不会长大。"),
        (("超市", "HasA", "有机食品"), "超市有有机食品。", "超市没有有机食品。"),
        (("猫", "HasA", "有尾巴"), "猫有尾巴。", "猫没有尾巴。"),
        (("孩子", "Desires", "想象力"), "孩子想要想象力。", "孩子不想要想象力。"),
        (("孩子", "Desires", "想玩"), "孩子想玩。", "孩子不想玩。"),
        (("衣服", "AtLocation", "在线商店"), "在在线商店可以找到衣服。", "在在线商店找不到衣服。"),
        (("牛奶", "AtLocation", "在冰箱里"), "在冰箱里可以找到牛奶。", "在冰箱里找不到牛奶。"),
        (("书店", "LocatedNear", "学校附近"), "书店通常在学校附近。", "书店通常不在学校附近。"),
        (("床", "ReceivesAction", "被子盖住"), "床可以被被子盖住。", "床不能被被子盖住。"),
        (("人", "ReceivesAction", "被医生检查"), "人可以被医生检查。", "人不能被医生检查。"),
        (("他", "HasProperty", "是非不分的"), "他是是非不分的。", "他不是是非不分的。"),
        (("苹果", "HasProperty", "红色的"), "苹果是红色的。", "苹果不是红色的。"),
        (("苹果", "HasProperty", "是红色的。"), "苹果是红色的。", "苹果不是红色的。"),
        (("行动", "HasProperty", "有目的"), "行动是有目的的。", "行动不是有目的的。"),
        (("X", "xAttr", "善良的"), "X。可以说，PersonX是善良的。", "X。不能说PersonX是善良的。"),  # noqa: RUF001
        (("X", "xReact", "高兴的"), "X。结果，PersonX感到高兴。", "X。结果，PersonX不会感到高兴。"),  # noqa: RUF001
        (("X", "xEffect", "PersonX的老板生气"), "X。结果，PersonX的老板生气。", "X。但结果并不是PersonX的老板生气。"),  # noqa: RUF001
        (("X", "xEffect", "被骂"), "X。结果，PersonX被骂。", "X。但结果并不是PersonX被骂。"),  # noqa: RUF001
    ],
)
def test_chinese_words_are_not_cut_apart(triple: tuple[str, str, str], said: str, denied: str) -> None:
    assert _both(*triple, language="zh") == (said, denied)


@pytest.mark.parametrize(
    ("relation", "tail", "said"),
    [
        ("isAfter", "在家里", ["先在家里，然后甲。"]),  # noqa: RUF001
        ("isAfter", "吃饭", ["先吃饭，然后甲。", "甲发生在吃饭之后。"]),  # noqa: RUF001
        ("isBefore", "在家里", ["先甲，然后在家里。"]),  # noqa: RUF001
        ("MadeOf", "用来切菜", ["关于甲的材料，可以这样说：用来切菜。"]),  # noqa: RUF001
        ("MadeOf", "木头做的", ["甲是用木头做的。", "木头是甲的材料。"]),
        ("NotMadeOf", "用木头做的", ["关于甲的材料，不能这样说：用木头做的。"]),  # noqa: RUF001
        ("PartOf", "红色的", ["甲是红色的一部分。", "红色包括甲。"]),
        ("InstanceOf", "红色的", ["甲是红色的一个实例。", "甲属于红色这一类。"]),
        ("SymbolOf", "红色的", ["甲是红色的象征。", "甲象征着红色。"]),
        ("MannerOf", "红色的", ["甲是红色的一种方式。", "可以通过甲来红色。"]),
        ("DesireOf", "红色的", ["甲是红色的愿望。", "红色想要甲。"]),
        ("DesireOf", "我们的目的", ["甲是我们的目的的愿望。", "我们的目的想要甲。"]),
    ],
)
def test_chinese_particles_are_not_doubled(relation: str, tail: str, said: list[str]) -> None:
    words, one = Verbalizer.load(language="zh"), Candidates.from_triples([("甲", relation, tail)])
    assert [words.positive(one, k)[0] for k in range(len(said))] == said
    assert words.positive(one, len(said))[0] == said[0]


def test_chinese_words_are_not_cut_apart_in_any_wording() -> None:
    words = Verbalizer.load(language="zh")
    for tail in ("会计", "有机食品", "想象力", "在线商店", "被子", "是非", "PersonX的错", "能量"):
        for relation in words.relations:
            one = Candidates.from_triples([("甲", relation, tail)])
            for k in range(words.paraphrases(relation)):
                assert tail in words.positive(one, k)[0]
                assert tail in words.negated(one, k)[0]


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
