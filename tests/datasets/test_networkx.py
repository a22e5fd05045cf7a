from __future__ import annotations

from dataclasses import replace
from typing import Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import KnowledgeGraph

labels = st.text(min_size=1, max_size=3)
triples = st.lists(st.tuples(labels, labels, labels), max_size=12)
texts = st.dictionaries(labels, labels, max_size=5)


def test_nodes_and_edges(zoo: KnowledgeGraph) -> None:
    graph = zoo.to_networkx()
    assert isinstance(graph, nx.MultiDiGraph)
    assert list(graph.nodes) == ["grass", "lion", "red_deer", "zebra", "unicorn"]
    assert graph.nodes["zebra"] == {"text": "a striped horse", "types": ("horse", "prey")}
    assert graph.nodes["grass"] == {"types": ()}
    assert graph.degree("unicorn") == 0
    assert sorted(graph.edges(keys=True, data="split")) == [
        ("lion", "red_deer", "eats", "valid"),
        ("lion", "zebra", "eats", "train,test"),
        ("red_deer", "grass", "eats", "train"),
        ("red_deer", "lion", "fears", "test"),
        ("zebra", "lion", "fears", "train"),
    ]
    assert not graph.has_edge("grass", "lion")  # negatives are no edges


def test_round_trip_of_everything(zoo: KnowledgeGraph) -> None:
    again = KnowledgeGraph.from_networkx(zoo.to_networkx())
    assert again.equals(zoo)
    assert again.report == zoo.report
    assert KnowledgeGraph.from_networkx(zoo.to_networkx(), name="b").equals(replace(zoo, name="b"))


@given(
    train=triples.filter(bool),
    valid=triples,
    test=triples,
    texts=texts,
    types=st.lists(st.tuples(labels, labels), max_size=6),
    valid_negatives=triples,
    relation_texts=texts,
)
def test_round_trip(**parts: Any) -> None:
    graph = KnowledgeGraph.from_labelled("g", **parts)
    assert KnowledgeGraph.from_networkx(graph.to_networkx()).equals(graph)


def test_digraph_with_edge_attributes() -> None:
    graph: Any = nx.DiGraph()
    graph.add_node("lion", label="a big cat", types="predator")
    graph.add_node("zebra", text="a striped horse", label="ignored", types=["prey", "horse"])
    graph.add_node("ghost")
    graph.add_node("unicorn", text="a horned horse")
    graph.add_edge("lion", "zebra", kind="eats")
    graph.add_edge("zebra", "lion", kind="fears", split="train")
    graph.add_edge("lion", "lion", kind="eats", split="valid, test")
    found = KnowledgeGraph.from_networkx(graph, relation="kind")
    assert found.name == "networkx"
    assert found.labels_of(found.train) == [("lion", "eats", "zebra"), ("zebra", "fears", "lion")]
    assert found.labels_of(found.valid) == found.labels_of(found.test) == [("lion", "eats", "lion")]
    assert found.texts == {"lion": "a big cat", "zebra": "a striped horse", "unicorn": "a horned horse"}
    assert found.types == (("lion", "predator"), ("zebra", "horse"), ("zebra", "prey"))
    assert found.report == {"isolated_node": 1}


def test_attribute_wins_over_key_of_multigraph() -> None:
    graph: Any = nx.MultiDiGraph(name="named")
    graph.add_edge("a", "b", key="edge-17", relation="likes")
    graph.add_edge("a", "b", key="knows")
    graph.add_edge("b", "a", relation="likes")  # the key is a number
    found = KnowledgeGraph.from_networkx(graph)
    assert found.name == "named"
    assert found.labels_of(found.train) == [("a", "knows", "b"), ("a", "likes", "b"), ("b", "likes", "a")]


@pytest.mark.parametrize("kind", [nx.Graph, nx.MultiGraph])
def test_undirected_graphs_are_refused(kind: type[Any]) -> None:
    graph = kind()
    graph.add_edge("a", "b", relation="r")
    with pytest.raises(InvalidInputError, match=rf"undirected {kind.__name__}.*to_directed"):
        KnowledgeGraph.from_networkx(graph)


def test_other_objects_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"got dict, expected a networkx"):
        KnowledgeGraph.from_networkx({})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [nx.DiGraph, nx.MultiDiGraph])
@pytest.mark.parametrize("attributes", [{}, {"relation": 3}, {"relation": ""}])
def test_edge_without_relation_is_named(kind: type[Any], attributes: dict[str, Any]) -> None:
    graph = kind()
    graph.add_edge("a", "b", **attributes)
    with pytest.raises(InvalidInputError, match=r"edge 'a' -> 'b' \(key .*as relation, expected .*relation="):
        KnowledgeGraph.from_networkx(graph)


@pytest.mark.parametrize("split", ["training", "", "train,dev", 1])
def test_unknown_split_is_refused(split: object) -> None:
    graph: Any = nx.DiGraph()
    graph.add_edge("a", "b", relation="r", split=split)
    with pytest.raises(InvalidInputError, match=r"edge 'a' -> 'b' .* as split, expected 'train', 'valid' or 'test'"):
        KnowledgeGraph.from_networkx(graph)


@pytest.mark.parametrize(
    ("node", "attributes", "message"),
    [
        (3, {}, r"node 3: got a int.*relabel_nodes"),
        ("", {}, "node '': got a str, expected a non-empty"),
        ("n", {"text": 3}, "node 'n': got 3 as text"),
        ("n", {"types": 3}, "node 'n': got 3 among its types"),
        ("n", {"types": ["a", None]}, "node 'n': got None among its types"),
    ],
)
def test_malformed_node_is_named(node: object, attributes: dict[str, Any], message: str) -> None:
    graph: Any = nx.DiGraph()
    graph.add_edge("a", "b", relation="r")
    graph.add_node(node, **attributes)
    with pytest.raises(InvalidInputError, match=message):
        KnowledgeGraph.from_networkx(graph)


def test_graph_without_training_edge_is_refused() -> None:
    graph: Any = nx.DiGraph()
    graph.add_edge("a", "b", relation="r", split="valid")
    with pytest.raises(InvalidInputError, match=r"train: got no triple for 'networkx'"):
        KnowledgeGraph.from_networkx(graph)
