"""Conversion between knowledge graphs and networkx."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from kgneg.core.errors import InvalidInputError

if TYPE_CHECKING:
    import networkx as nx

    from kgneg.datasets.graph import KnowledgeGraph

__all__ = ["GraphParts", "build_graph", "parse_graph"]

_SPLITS = ("train", "valid", "test")
#: The graph attribute that carries what is no node and no edge.
_REST = "kgneg"

_Triple = tuple[str, str, str]


class GraphParts(TypedDict):
    """The arguments of :meth:`kgneg.datasets.KnowledgeGraph.from_labelled`."""

    name: str
    train: list[_Triple]
    valid: list[_Triple]
    test: list[_Triple]
    texts: dict[str, str]
    types: list[tuple[str, str]]
    valid_negatives: list[_Triple]
    test_negatives: list[_Triple]
    relation_texts: dict[str, str]
    report: dict[str, int]


def build_graph(knowledge: KnowledgeGraph) -> nx.MultiDiGraph[str]:
    """Convert a knowledge graph to networkx, see :meth:`kgneg.datasets.KnowledgeGraph.to_networkx`.

    :param knowledge: the knowledge graph
    :returns: the networkx graph
    """
    import networkx as nx

    rest = {
        "valid_negatives": knowledge.labels_of(knowledge.valid_negatives),
        "test_negatives": knowledge.labels_of(knowledge.test_negatives),
        "relation_texts": dict(knowledge.relation_texts),
        "report": dict(knowledge.report),
    }
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph(name=knowledge.name)
    graph.graph[_REST] = rest
    types: dict[str, list[str]] = {}
    for entity, kind in knowledge.types:
        types.setdefault(entity, []).append(kind)
    for label in dict.fromkeys([*knowledge.entities, *knowledge.texts, *types]):
        text = {"text": knowledge.texts[label]} if label in knowledge.texts else {}
        graph.add_node(label, types=tuple(types.get(label, ())), **text)
    splits: dict[_Triple, str] = {}
    for split in _SPLITS:
        for triple in knowledge.labels_of(getattr(knowledge, split)):
            splits[triple] = f"{splits[triple]},{split}" if triple in splits else split
    for (head, relation, tail), names in splits.items():
        graph.add_edge(head, tail, key=relation, split=names)
    return graph


def parse_graph(graph: nx.DiGraph[str], *, name: str | None, relation: str) -> GraphParts:
    """Take a networkx graph apart, see :meth:`kgneg.datasets.KnowledgeGraph.from_networkx`.

    :param graph: a directed graph
    :param name: the name of the result; None for the name of the graph
    :param relation: the edge attribute that holds the relation
    :returns: labelled triples, texts, types and the rest
    :raises InvalidInputError: if the graph is undirected, or a node or an edge cannot be understood
    """
    import networkx as nx

    if not isinstance(graph, nx.Graph):
        raise InvalidInputError(f"graph: got {type(graph).__name__}, expected a networkx DiGraph or MultiDiGraph")
    if not graph.is_directed():
        raise InvalidInputError(
            f"graph: got an undirected {type(graph).__name__}, expected a DiGraph or MultiDiGraph, because a triple "
            "has a head and a tail; graph.to_directed() makes two triples of each edge"
        )
    rest: Mapping[str, Any] = graph.graph.get(_REST, {})
    parts = GraphParts(
        name=name or graph.graph.get("name") or "networkx",
        train=[],
        valid=[],
        test=[],
        texts={},
        types=[],
        valid_negatives=list(rest.get("valid_negatives", ())),
        test_negatives=list(rest.get("test_negatives", ())),
        relation_texts=dict(rest.get("relation_texts", {})),
        report=dict(rest.get("report", {})),
    )
    isolated = 0
    for node, data in graph.nodes(data=True):
        text, types = _node_text(node, data), _node_types(node, data)
        if text:
            parts["texts"][node] = text
        parts["types"].extend((node, kind) for kind in types)
        isolated += not text and not types and not graph.degree(node)
    if isolated:
        parts["report"]["isolated_node"] = parts["report"].get("isolated_node", 0) + isolated
    by_split = {"train": parts["train"], "valid": parts["valid"], "test": parts["test"]}
    for head, tail, key, attributes in _edges(graph):
        triple = (head, _edge_relation(head, tail, key, attributes, relation), tail)
        for split in _edge_splits(head, tail, key, attributes):
            by_split[split].append(triple)
    return parts


def _edges(graph: nx.DiGraph[str]) -> Iterator[tuple[str, str, object, Mapping[str, Any]]]:
    """Iterate over head, tail, key (None where there are no keys) and attributes of all edges."""
    if graph.is_multigraph():
        multi: Any = graph
        yield from multi.edges(keys=True, data=True)
    else:
        for head, tail, data in graph.edges(data=True):
            yield head, tail, None, data


def _node_text(node: object, data: Mapping[str, Any]) -> str | None:
    """Get the text of a node and check its label."""
    if not isinstance(node, str) or not node:
        raise InvalidInputError(
            f"node {node!r}: got a {type(node).__name__}, expected a non-empty text as label; "
            "networkx.relabel_nodes(graph, str) makes one"
        )
    text = data.get("text", data.get("label"))
    if text is not None and not isinstance(text, str):
        raise InvalidInputError(f"node {node!r}: got {text!r} as text, expected a str")
    return text


def _node_types(node: str, data: Mapping[str, Any]) -> list[str]:
    """Get the types of a node."""
    types = data.get("types", ())
    several = [types] if isinstance(types, str) else list(types) if isinstance(types, Iterable) else [types]
    for kind in several:
        if not isinstance(kind, str) or not kind:
            raise InvalidInputError(f"node {node!r}: got {kind!r} among its types, expected non-empty text")
    return several


def _edge_relation(head: str, tail: str, key: object, data: Mapping[str, Any], attribute: str) -> str:
    """Get the relation of an edge."""
    relation = data.get(attribute, key)
    if not isinstance(relation, str) or not relation:
        raise InvalidInputError(
            f"edge {head!r} -> {tail!r} (key {key!r}): got {relation!r} as relation, expected a text as edge key or as "
            f"edge attribute {attribute!r}; pass relation= to name another attribute"
        )
    return relation


def _edge_splits(head: str, tail: str, key: object, data: Mapping[str, Any]) -> list[str]:
    """Get the splits of an edge."""
    value = data.get("split", "train")
    splits = [part.strip() for part in value.split(",")] if isinstance(value, str) else []
    if not splits or any(split not in _SPLITS for split in splits):
        raise InvalidInputError(
            f"edge {head!r} -> {tail!r} (key {key!r}): got {value!r} as split, expected 'train', 'valid' or 'test'"
        )
    return splits
