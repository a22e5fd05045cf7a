"""From a knowledge base to questions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import chisquare

import kgneg.samplers
from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.sides import SidePolicy
from kgneg.datasets import KnowledgeGraph
from kgneg.qa import QuestionSet, build_questions
from kgneg.samplers import TypedCorruptor, UniformCorruptor

METHODS = ["random", "keyword", "concept", "adversarial"]
if not hasattr(kgneg.samplers, "ConceptCorruptor"):
    METHODS = ["random"]


def built(graph: KnowledgeGraph, **options: Any) -> QuestionSet:
    return build_questions(graph, **{"distractors": "random", "progress": False} | options)


def large(entities: int = 3000, triples: int = 20000) -> KnowledgeGraph:
    """Return a knowledge base of made-up words."""
    generator = torch.Generator().manual_seed(0)
    heads = torch.randint(entities, (triples,), generator=generator).tolist()
    tails = torch.randint(entities, (triples,), generator=generator).tolist()
    relations = torch.randint(3, (triples,), generator=generator).tolist()
    names = ("xAttr", "xWant", "oReact")
    rows = [
        (f"PersonX sees h{head} and h{head % 97}", names[relation], f"to go t{tail} u{tail % 89}")
        for head, relation, tail in zip(heads, relations, tails, strict=True)
    ]
    return KnowledgeGraph.from_labelled("large", list(dict.fromkeys(rows)))


@pytest.mark.parametrize("method", METHODS)
def test_questions(method: str, graph: KnowledgeGraph) -> None:
    options = {"options": {"encoder": "lexical"}} if method == "adversarial" else {}
    made = built(graph, distractors=method, **options)
    assert made.report["questions"] == len(made) == 14 and made.report["leaks"] == 1 and made.report["none"] == 1
    assert made.triples is not None and made.distractors is not None and made.fallback is not None
    known = {tuple(one) for one in graph.train.tolist()}
    of_relation: dict[int, set[int]] = {}
    for _, relation, tail in known:
        of_relation.setdefault(relation, set()).add(tail)
    flagged = 0
    for row, one in enumerate(made):
        head, relation, tail = made.triples[row].tolist()
        for place, other in enumerate(made.distractors[row].tolist()):
            assert (head, relation, other) not in known
            flag = bool(made.fallback[row, place])
            assert flag or other in of_relation[relation]
            flagged += flag
        assert len({choice.lower() for choice in one.choices}) == len(one.choices) == 3
        answer = one.choices[one.label]
        assert (
            answer.split()[-1].strip(".") == graph.entities[tail].split()[-1].strip(".") or "Y" in graph.entities[tail]
        )
        assert "Person" not in one.question and not any("Person" in choice for choice in one.choices)
        wrong = [choice for place, choice in enumerate(one.choices) if place != one.label]
        for choice, other in zip(wrong, made.distractors[row].tolist(), strict=True):
            assert choice.split()[0] in graph.entities[other] or "Person" in graph.entities[other]
    assert made.report["fallback"] == flagged


def test_same_seed_same_bytes(graph: KnowledgeGraph, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        built(graph, seed=seed).write_jsonl(tmp_path / name)
    assert torch.equal(torch.get_rng_state(), before)
    first, second, third = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == second != third


def test_methods_share_names_and_places(graph: KnowledgeGraph) -> None:
    first = built(graph)
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    other = built(graph, distractors=UniformCorruptor(sides=SidePolicy("tail"), seed=0, **sizes))
    assert first.questions == other.questions and torch.equal(first.labels, other.labels)
    assert first.choices != other.choices


def test_names(graph: KnowledgeGraph) -> None:
    plain = built(graph, names=False)
    assert all("PersonX" in one.question for one in plain)
    named = built(graph, names=["Kim", "Lee", "Sam"])
    first = named.questions[0].split()[0]
    assert first in ("Kim", "Lee", "Sam") and named.questions[0].count(first) == 2
    other = KnowledgeGraph.from_labelled("other", [("John sees Tom", "xAttr", "kind"), ("a", "xAttr", "red")])
    asked = built(other, aliases={"John": "PersonX", "Tom": "PersonY"}, names=["Kim", "Lee", "Sam"], n=1).questions
    assert "John" not in str(asked) and "Tom" not in str(asked)


def test_what_the_question_says_is_not_said_again() -> None:
    rows = [("John runs", "xEffect", "PersonX sweats"), ("PersonX sings", "xEffect", "he smiles at Person X")]
    made = built(KnowledgeGraph.from_labelled("own", rows), n=1, aliases={"John": "PersonX"}, names=False)
    assert made.questions == ["PersonX runs. After that, PersonX", "PersonX sings. After that, PersonX"]
    assert [one.choices[one.label] for one in made] == ["sweats", "he smiles at PersonX"]


def test_wildcards_are_something(graph: KnowledgeGraph) -> None:
    assert any("paints something again" in one for one in built(graph).questions)


def test_labels_and_distractors_are_spread() -> None:
    made = built(large(), n=3)
    counts = torch.bincount(made.labels, minlength=4).double() / len(made)
    assert ((counts - 0.25).abs() < 0.02).all()
    assert made.report["fallback"] == 0


def test_random_distractors_are_as_likely_as_heads_and_their_tails() -> None:
    rows = [(f"head {one}", "xAttr", f"tail{one % 4}") for one in range(40)]
    rows += [(f"big {one}", "xAttr", f"tail{place}") for one in range(40) for place in range(2)]
    rows += [(f"other {one}", "xAttr", "red") for one in range(2000)]
    graph = KnowledgeGraph.from_labelled("skew", rows)
    made = built(graph, n=1)
    assert made.distractors is not None and made.triples is not None
    asked = made.triples[:, 2] == graph.entities.index("red")
    drawn = torch.bincount(made.distractors[asked, 0], minlength=graph.num_entities)
    counts = [int(drawn[graph.entities.index(f"tail{one}")]) for one in range(4)]
    assert sum(counts) == 2000
    assert chisquare(counts, [750, 750, 250, 250]).pvalue > 0.01  # as 30, 30, 10 and 10 heads


def test_everything_forbidden_is_flagged() -> None:
    rows = [("a", "xAttr", "red"), ("a", "xAttr", "green"), ("b", "xWant", "to win"), ("c", "xWant", "to lose")]
    made = built(KnowledgeGraph.from_labelled("tiny", rows), n=2)
    assert made.fallback is not None and made.report["fallback"] >= 6 and made.report["without distractors"] == 0
    assert made.report["questions with fallback"] == len(made) == 4
    alone = built(KnowledgeGraph.from_labelled("alone", rows[:2]), n=2)
    assert len(alone) == 0 and alone.report["without distractors"] == 2


def test_what_can_be_known_without_the_question() -> None:
    # everybody is kind, so the answer with most heads is right for all questions with it
    rows = [(f"h{one}", "xAttr", tail) for one in range(6) for tail in ("kind", f"t{one}")]
    made = built(KnowledgeGraph.from_labelled("kind", rows), n=1, distractors="random")
    right = sum(question.choices[question.label] == "kind" for question in made)
    assert made.report["answers with most heads"] == right + (len(made) - right) // 2


def test_braces_of_a_head_are_no_place_for_answers() -> None:
    rows = [("PersonX reads {answer} sign", "xAttr", "kind"), ("b", "xAttr", "red"), ("c", "xAttr", "green")]
    made = built(KnowledgeGraph.from_labelled("braces", rows), n=1)
    assert any("reads answer sign" in question.question for question in made)


def test_a_corruptor_of_ones_own(graph: KnowledgeGraph) -> None:
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    pools = CandidateIndex.from_relation_types(graph.train, **sizes)
    typed = TypedCorruptor(pools, sides=SidePolicy("tail"), seed=0, **sizes)
    made = built(graph, distractors=typed)
    assert len(made) == 14 and typed.counts["drawn"] > 0
    uniform = UniformCorruptor(sides=SidePolicy("tail"), seed=0, **sizes)
    assert len(built(graph, distractors=uniform)) == 14
    with pytest.raises(InvalidInputError, match=r"build the corruptor with SidePolicy\('tail'\)"):
        built(graph, distractors=UniformCorruptor(seed=0, **sizes))
    with pytest.raises(InvalidInputError, match="or a corruptor for"):
        built(graph, distractors=UniformCorruptor(num_entities=3, num_relations=1, sides=SidePolicy("tail")))
    with pytest.raises(InvalidInputError, match="a method of your own"):
        built(graph, distractors=uniform, options={"budget": 0.1})


def test_held_out_triples_are_known_when_wished() -> None:
    heads = [("a", "one"), ("b", "two"), ("c", "six"), ("d", "ten")]
    rows = [(head, "xAttr", tail) for head, tail in heads]
    graph = KnowledgeGraph.from_labelled("held", rows, test=[("a", "xAttr", "two"), ("a", "xAttr", "six")])
    ten = graph.entities.index("ten")
    drawn = set()
    for seed in range(20):
        made = built(graph, known="all", n=1, seed=seed)
        assert made.distractors is not None and made.triples is not None
        assert int(made.distractors[made.triples[:, 0] == graph.entities.index("a")]) == ten
        free = built(graph, n=1, seed=seed)
        assert free.distractors is not None and free.triples is not None
        drawn.add(int(free.distractors[free.triples[:, 0] == graph.entities.index("a")]))
    assert len(drawn) == 3


def test_refusals(graph: KnowledgeGraph) -> None:
    with pytest.raises(InvalidInputError, match="distractors must be one of concept, keyword, random, adversarial"):
        built(graph, distractors="any")
    with pytest.raises(InvalidInputError, match="distractors 'random' have no option 'budget'; options are none"):
        built(graph, options={"budget": 0.1})
    with pytest.raises(InvalidInputError, match="n must be at least 1"):
        built(graph, n=0)
    with pytest.raises(InvalidInputError, match="atomic, conceptnet or a JSON file"):
        built(graph, templates="own")


@pytest.mark.slow
def test_it_is_quick() -> None:
    graph = large(6000, 30000)
    begin = time.perf_counter()
    made = built(graph)
    assert len(made) > 25000 and time.perf_counter() - begin < 15
