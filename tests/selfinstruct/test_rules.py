"""Verdicts by rules."""

from __future__ import annotations

import pickle
from itertools import product
from typing import Any

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.rules import RuleJudge, Schema

#: a family: ann -> bob -> cleo -> dan by parent
PARENTS = [("ann", "parent", "bob"), ("bob", "parent", "cleo"), ("cleo", "parent", "dan")]
FAMILY = Schema(
    inverses={"parent": "child", "married": "married", "ancestor": "descendant"},
    implies={"parent": ["ancestor"]},
    transitive=["ancestor"],
)


def said(judge: RuleJudge, *triples: tuple[str, str, str]) -> list[tuple[float, str]]:
    found = judge.judge(Candidates.from_triples(triples))
    return list(zip(found.probability.tolist(), found.reasons, strict=True))


def test_known_triples_and_what_follows() -> None:
    judge = RuleJudge(known=[*PARENTS, ("ann", "married", "eve")], schema=FAMILY)
    assert said(judge, PARENTS[0]) == [(0.99, "known")]
    assert said(judge, ("bob", "child", "ann")) == [(0.99, "follows from a known triple")]
    assert said(judge, ("eve", "married", "ann")) == [(0.99, "follows from a known triple")]
    assert said(judge, ("ann", "ancestor", "bob")) == [(0.99, "follows from a known triple")]
    assert said(judge, ("ann", "ancestor", "dan")) == [(0.99, "follows from a chain of known triples")]
    assert said(judge, ("dan", "descendant", "ann")) == [(0.99, "follows from a chain of known triples")]
    for nothing in (("dan", "ancestor", "ann"), ("ann", "parent", "cleo"), ("ann", "descendant", "dan")):
        probability, reason = said(judge, nothing)[0]
        assert np.isnan(probability)
        assert reason == "no rule"


def test_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    names = [f"n{number}" for number in range(9)]
    relations = ["p", "q", "inv_p", "s", "t"]
    schema = Schema(inverses={"p": "inv_p", "s": "s"}, implies={"p": ["q"], "q": ["t"]}, transitive=["q", "s", "t"])
    for _ in range(20):
        known = {(names[h], relations[r], names[t]) for h, r, t in rng.integers(0, (9, 5, 9), (12, 3))}
        facts = set(known)
        while True:
            new = {(t, {"p": "inv_p", "inv_p": "p", "s": "s"}[r], h) for h, r, t in facts if r in ("p", "inv_p", "s")}
            new |= {(h, {"p": "q", "q": "t"}[r], t) for h, r, t in facts if r in ("p", "q")}
            new |= {
                (h, r, u)
                for (h, r, t), (k, o, u) in product(facts, facts)
                if r == o and r in ("q", "s", "t") and t == k
            }
            if new <= facts:
                break
            facts |= new
        everything = [(h, r, t) for h, r, t in product(names, relations, names)]
        found = RuleJudge(known=sorted(known), schema=schema).judge(Candidates.from_triples(everything))
        assert {one for one, given in zip(everything, found.given, strict=True) if given} == facts


def test_types() -> None:
    schema = Schema(domains={"born": ["person"]}, ranges={"born": ["place"]})
    types = {"ann": ["person", "painter"], "rome": ["place"]}
    judge = RuleJudge(schema=schema, types=types)
    assert said(judge, ("rome", "born", "rome"))[0] == (pytest.approx(0.01), "type of the head")
    assert said(judge, ("ann", "born", "ann"))[0] == (pytest.approx(0.01), "type of the tail")
    assert said(judge, ("ann", "born", "rome"))[0][1] == said(judge, ("who", "born", "where"))[0][1] == "no rule"


def test_functional_relations() -> None:
    schema = Schema(functional=["born"], inverse_functional=["wrote"], inverses={"wrote": "by"})
    judge = RuleJudge(known=[("ann", "born", "rome"), ("ann", "wrote", "book")], schema=schema, certainty=1)
    assert said(judge, ("ann", "born", "oslo")) == [(0.0, "functional relation with another tail")]
    assert said(judge, ("bob", "wrote", "book")) == [(0.0, "inverse functional relation with another head")]
    assert said(judge, ("ann", "born", "rome")) == [(1.0, "known")]
    assert said(judge, ("bob", "born", "rome"))[0][1] == "no rule"


def test_texts_are_compared_normalised() -> None:
    known = [("Cafe\u0301", "r", "B")]
    assert said(RuleJudge(known=known), ("Café ", "r", "B"))[0][1] == "known"
    assert said(RuleJudge(known=known), ("café", "r", "b"))[0][1] == "no rule"
    assert said(RuleJudge(known=known, casefold=True), ("café", "r", "b"))[0][1] == "known"


def test_long_chains_and_circles() -> None:
    known = [(f"n{number}", "before", f"n{number + 1}") for number in range(5_000)] + [("n5000", "before", "n0")]
    judge = RuleJudge(known=known, schema=Schema(transitive=["before"]))
    assert said(judge, ("n17", "before", "n17"))[0][1] == "follows from a chain of known triples"


def test_fingerprint_and_pickle() -> None:
    judge = RuleJudge(known=PARENTS, schema=FAMILY)
    judge.judge(Candidates.from_triples(PARENTS))
    assert judge.fingerprint() == RuleJudge(known=PARENTS[::-1], schema=FAMILY).fingerprint()
    others = [RuleJudge(known=PARENTS), RuleJudge(known=PARENTS[:1], schema=FAMILY)]
    others += [RuleJudge(known=PARENTS, schema=FAMILY, certainty=0.9)]
    assert len({one.fingerprint() for one in (judge, *others)}) == 4
    again = pickle.loads(pickle.dumps(judge))  # noqa: S301 - our own
    assert said(again, ("ann", "ancestor", "dan")) == said(judge, ("ann", "ancestor", "dan"))


@pytest.mark.parametrize("certainty", [0.5, 1.1, float("nan")])
def test_certainty(certainty: float) -> None:
    with pytest.raises(InvalidInputError, match="certainty"):
        RuleJudge(certainty=certainty)


def test_another_case_is_no_certain_falsehood() -> None:
    known, schema = [("France", "capital", "Paris")], Schema(functional=["capital"], inverse_functional=["capital"])
    same, other, head = ("France", "capital", "paris"), ("France", "capital", "Rome"), ("france", "capital", "Paris")
    for one in (same, head):
        probability, reason = said(RuleJudge(known=known, schema=schema), one)[0]
        assert np.isnan(probability)
        assert "casefold=True" in reason
    assert said(RuleJudge(known=known, schema=schema), other)[0][0] == pytest.approx(0.01)
    assert said(RuleJudge(known=known, schema=schema, casefold=True), same)[0][0] == 0.99


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"domains": {"bornIn": "Person"}}, r"domains\['bornIn'\] must be several names, got 'Person'.*\['Person'\]"),
        ({"ranges": {"bornIn": "Place"}}, "ranges"),
        ({"implies": {"parent": "ancestor"}}, "implies"),
        ({"functional": "bornIn"}, "functional must be several names, got 'bornIn'"),
        ({"inverse_functional": "bornIn"}, "inverse_functional"),
        ({"transitive": "isA"}, "transitive"),
        ({"transitive": [["isA"]]}, r"transitive must be names, got \['isA'\] of type list"),
        ({"domains": {"bornIn": 3}}, "must be several names, got 3"),
        ({"inverses": {"a": ["b"]}}, r"inverses\['a'\] must be one relation, got \['b'\].*implies"),
    ],
)
def test_single_texts_where_several_are_expected(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        Schema(**schema)


def test_types_are_several() -> None:
    with pytest.raises(InvalidInputError, match=r"types\['ann'\] must be several names, got 'Person'"):
        RuleJudge(schema=Schema(domains={"bornIn": ["Person"]}), types={"ann": "Person"})


def test_names_may_come_once_only() -> None:
    schema = Schema(functional=(one for one in ["bornIn"]), domains={"bornIn": (one for one in ["Person"])})
    judge = RuleJudge(known=[("x", "bornIn", "Rome")], schema=schema, types={"rock": iter(["Stone"])})
    assert [reason for _, reason in said(judge, ("x", "bornIn", "Oslo"), ("rock", "bornIn", "Oslo"))] == [
        "functional relation with another tail",
        "type of the head",
    ]
