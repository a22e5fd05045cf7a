"""Hierarchies, against networkx and against plain loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError, MissingTextError
from kgneg.datasets import Taxonomy

PAIRS = [
    ("lion", "cat"),
    ("tiger", "cat"),
    ("lion", "african"),
    ("zebra", "african"),
    ("zebra", "horse"),
    ("cat", "animal"),
    ("horse", "animal"),
]


def lists(taxonomy: Taxonomy, pools: CandidateIndex) -> dict[str, set[str]]:
    return {
        one: {taxonomy.concepts[other] for other in pools.members(number).tolist()}
        for number, one in enumerate(taxonomy.concepts)
    }


@st.composite
def dags(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Links from a larger number to a smaller one, so that there is no cycle."""
    size = draw(st.integers(2, 9))
    possible = [(f"c{child}", f"c{parent}") for child in range(size) for parent in range(child)]
    return draw(st.lists(st.sampled_from(possible), min_size=1, max_size=14, unique=True))


def test_who_is_beside_whom() -> None:
    zoo = Taxonomy.from_pairs(PAIRS)
    found = lists(zoo, zoo.siblings())
    assert found["lion"] == {"tiger", "zebra"} and found["tiger"] == {"lion"}
    assert found["cat"] == {"horse"} and found["animal"] == set()
    assert lists(zoo, zoo.cousins(2))["tiger"] == {"zebra"}
    assert lists(zoo, zoo.ancestors())["zebra"] == {"african", "horse", "animal"}
    assert lists(zoo, zoo.descendants())["animal"] == {"cat", "horse", "lion", "tiger", "zebra"}
    assert [zoo.concepts[one] for one in zoo.roots] == ["african", "animal"]
    assert zoo.report == {"several_parents": 2}


@given(dags())
@settings(max_examples=60, deadline=None)
def test_neighbourhoods_are_those_of_plain_loops(pairs: list[tuple[str, str]]) -> None:
    made = Taxonomy.from_pairs(pairs)
    graph = nx.DiGraph(pairs)
    parents = {one: set(graph.successors(one)) for one in graph}
    assert lists(made, made.parents) == parents
    siblings = {a: {b for b in graph if a != b and parents[a] & parents[b]} for a in graph}
    assert lists(made, made.siblings()) == siblings == lists(made, made.siblings(weighted=False))
    above = {one: nx.descendants(graph, one) for one in graph}
    assert lists(made, made.ancestors()) == above
    assert lists(made, made.descendants()) == {one: nx.ancestors(graph, one) for one in graph}
    grand = {one: {two for parent in parents[one] for two in parents[parent]} - parents[one] for one in graph}
    cousins = {
        a: {
            b
            for b in graph
            if a != b
            and grand[a] & grand[b]
            and not parents[a] & parents[b]
            and b not in above[a]
            and a not in above[b]
        }
        for a in graph
    }
    assert lists(made, made.cousins(2)) == cousins
    steps = made.ancestors()
    rows, members = steps.pairs()
    assert steps.weights is not None or not len(rows)
    for row, member, far in zip(
        rows.tolist(), members.tolist(), steps.weights.tolist() if len(rows) else [], strict=True
    ):
        assert far == nx.shortest_path_length(graph, made.concepts[row], made.concepts[member])


@given(dags())
@settings(max_examples=40, deadline=None)
def test_siblings_are_weighted_by_the_size_of_their_parents(pairs: list[tuple[str, str]]) -> None:
    made = Taxonomy.from_pairs(pairs)
    graph = nx.DiGraph(pairs)
    pools = made.siblings()
    rows, members = pools.pairs()
    for row, member, weight in zip(
        rows.tolist(), members.tolist(), [] if pools.weights is None else pools.weights.tolist(), strict=True
    ):
        shared = set(graph.successors(made.concepts[row])) & set(graph.successors(made.concepts[member]))
        assert weight == pytest.approx(sum(1 / (graph.in_degree(one) - 1) for one in shared))


def wu_palmer(graph: nx.DiGraph[str], first: str, second: str) -> float:
    depth = {one: 1 + max((d for n, d in paths(graph, one)), default=0) for one in graph}
    best = 0.0
    for common in graph:
        if all(nx.has_path(graph, one, common) for one in (first, second)):
            far = sum(nx.shortest_path_length(graph, one, common) for one in (first, second))
            best = max(best, 2 * depth[common] / (far + 2 * depth[common]))
    return best


def paths(graph: nx.DiGraph[str], one: str) -> list[tuple[str, int]]:
    """Return the longest way to each root."""
    found = []
    for root in (other for other in graph if not graph.out_degree(other)):
        ways = [len(way) - 1 for way in nx.all_simple_paths(graph, one, root)] if root != one else [0]
        if ways:
            found.append((root, max(ways)))
    return found


def lin(graph: nx.DiGraph[str], first: str, second: str) -> float:
    content = {one: -math.log((1 + len(nx.ancestors(graph, one))) / len(graph)) for one in graph}
    shared = [one for one in graph if all(nx.has_path(graph, end, one) for end in (first, second))]
    if not shared:
        return 0.0
    both = content[first] + content[second]
    return 2 * max(content[one] for one in shared) / both if both else float(first == second)


@given(dags())
@settings(max_examples=30, deadline=None)
def test_similarities_are_those_of_plain_loops(pairs: list[tuple[str, str]]) -> None:
    made, graph = Taxonomy.from_pairs(pairs), nx.DiGraph(pairs)
    both = list(product(made.concepts, repeat=2))
    first, second = (torch.tensor([made.ids[one[end]] for one in both]) for end in (0, 1))
    for measure, plain in (("wu-palmer", wu_palmer), ("lin", lin)):
        found = made.similarity(first, second, measure)
        assert found.tolist() == pytest.approx([plain(graph, a, b) for a, b in both])


def test_similarity_refuses() -> None:
    zoo, one = Taxonomy.from_pairs(PAIRS), torch.tensor([0])
    with pytest.raises(InvalidInputError, match="expected 0 to 6"):
        zoo.similarity(one, torch.tensor([7]))
    with pytest.raises(InvalidInputError, match="one shape"):
        zoo.similarity(one, torch.tensor([1, 2]))
    with pytest.raises(InvalidInputError, match="'cosine'"):
        zoo.similarity(one, one, "cosine")


def test_kinds_and_relations() -> None:
    made = Taxonomy.from_pairs(
        [("a", "g"), ("b", "g"), ("a", "s"), ("c", "s")],
        kinds={"a": "skill", "b": "skill", "c": "skill", "s": "skill", "g": "group"},
        relations={"job": [("a", "cook"), ("b", "cook"), ("c", "smith"), ("nobody", "smith")]},
    )
    assert lists(made, made.siblings("group"))["a"] == {"b"}
    assert lists(made, made.siblings("skill"))["a"] == {"c"}
    assert lists(made, made.shared_relation("job")) == {"a": {"b"}, "b": {"a"}, "c": set(), "g": set(), "s": set()}
    assert made.report["job_of_unknown_concept"] == 1
    assert [made.concepts[one] for one in made.of_kind("group")] == ["g"]
    with pytest.raises(InvalidInputError, match="kinds of 'taxonomy' are group, skill"):
        made.siblings("topic")
    with pytest.raises(InvalidInputError, match="no relation 'task', its relations: job"):
        made.shared_relation("task")


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ([], {}, "is empty"),
        ([("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")], {}, "has a cycle: 'a' -> 'b' -> 'c' -> 'a'"),
        ([("a", "a")], {}, "has a cycle: 'a' -> 'a'"),
        ([("a", "b")], {"concepts": ["a"]}, "the unknown parent 'b' of the link 'a' -> 'b'"),
        ([("a", "b")], {"concepts": ["b"]}, "the unknown child 'a'"),
        ([("a", "b")], {"concepts": ["a", "b", "a"]}, "more than once, the first is 'a'"),
        ([("a", "b")], {"concepts": ["a", "b", ""]}, "got the concept ''"),
        ([("a", "")], {}, "got the link"),
        ([("a", "b")], {"concepts": ["c"], "unknown": "drop"}, "nothing is left"),
        ([("a", "b")], {"unknown": "ignore"}, "unknown"),
        ([("a", "b")], {"alternatives": {"a": "big"}}, "got the text 'big' as further labels"),
        ([1, 2], {}, "got the link 1"),
        ([("a", "a")], {"cycles": "drop"}, "all links are inside cycles"),
        ([("a", "b")], {"relations": {"job": [("c", "cook")]}}, "none of the 1 pairs of the relation 'job'"),
    ],
)
def test_refusals(pairs: list[tuple[str, str]], options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Taxonomy.from_pairs(pairs, **options)  # type: ignore[arg-type]


def test_what_is_mended_is_counted() -> None:
    made = Taxonomy.from_pairs(
        [("a", "b"), ("a", "b"), ("b", "c"), ("c", "b"), ("d", "x")],
        concepts=["a", "b", "c", "d"],
        cycles="drop",
        unknown="drop",
        labels={"a": "A", "z": "Z"},
    )
    assert made.report == {
        "repeated_link": 1,
        "link_in_cycle": 2,
        "dropped_link": 1,
        "orphan": 2,
        "without_label": 3,
        "label_of_unknown_concept": 1,
    }
    more = Taxonomy.from_pairs([("a", "b")], concepts=["a"], unknown="add")
    assert more.concepts == ("a", "b") and more.report["added_concept"] == 1


def test_texts() -> None:
    made = Taxonomy.from_pairs([("e/red_deer", "e/deer")], labels={"e/deer": "Deer"})
    with pytest.raises(MissingTextError, match="1 of 2 concepts of 'taxonomy' have no label, for example 'e/red_deer'"):
        made.texts()
    assert made.texts(missing="id") == ["Deer", "e/red deer"]


def test_networkx_both_ways() -> None:
    graph = nx.DiGraph(PAIRS, name="zoo")
    graph.add_node("lion", label="Lion", alternatives=["king", "Lion"], kind="species")
    graph.add_node("rock")
    made = Taxonomy.from_networkx(graph)
    assert made.name == "zoo" and made.report["orphan"] == 1
    assert made.labels[made.ids["lion"]] == "Lion" and made.alternatives[made.ids["lion"]] == ("king",)
    turned = Taxonomy.from_networkx(graph.reverse(), edges="parent-child")
    assert lists(turned, turned.parents) == lists(made, made.parents)
    with pytest.raises(InvalidInputError, match="directed"):
        Taxonomy.from_networkx(nx.Graph(PAIRS))


def test_files(tmp_path: Path) -> None:
    made = Taxonomy.from_pairs(
        PAIRS, labels={"lion": "Löwe"}, alternatives={"lion": ["Leu"]}, kinds={"lion": "beast"},
        relations={"food": [("lion", "zebra")]},
    )  # fmt: skip
    path = tmp_path / "zoo.safetensors"
    made.save(path)
    again = Taxonomy.load(path)
    for name in ("name", "concepts", "labels", "alternatives", "kinds", "contexts", "report"):
        assert getattr(again, name) == getattr(made, name)
    assert again.parents.fingerprint() == made.parents.fingerprint()
    assert again.relations["food"].fingerprint() == made.relations["food"].fingerprint()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InvalidInputError, match="complete"):
        Taxonomy.load(path)
    made.parents.save(path)
    with pytest.raises(InvalidInputError, match="expected a saved taxonomy"):
        Taxonomy.load(path)


def test_a_long_cycle_is_cut_short_in_the_message() -> None:
    names: Sequence[str] = [f"c{number:02}" for number in range(30)]
    pairs = list(zip(names, [*names[1:], names[0]], strict=True))
    with pytest.raises(InvalidInputError, match=r"'c00' -> .* -> \.\.\. \(30 concepts\)"):
        Taxonomy.from_pairs(pairs)


def test_too_many_pairs_are_refused() -> None:
    wide = Taxonomy.from_pairs([(f"c{number}", "top") for number in range(17_000)])
    with pytest.raises(InvalidInputError, match="the largest context alone has 17,000"):
        wide.siblings()
