"""The knowledge graph that every reader returns."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch

from kgneg.core.errors import InvalidInputError, MissingTextError
from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor
from kgneg.datasets._labels import (
    LabelTriples,
    as_label_array,
    clean_texts,
    clean_types,
    humanise,
    map_triples,
    vocabulary,
)

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["KnowledgeGraph"]

logger = logging.getLogger(__name__)

_TRIPLES = ("train", "valid", "test", "valid_negatives", "test_negatives")


def _no_triples() -> LongTensor:
    """Make an empty tensor of triples."""
    return torch.empty((0, 3), dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class KnowledgeGraph:
    """A knowledge graph with its splits, texts, types, and negatives that people have made for it.

    Ids are positions in the sorted labels of the *training* triples, as PyKEEN assigns them; each split is sorted and
    without repetitions, also as in PyKEEN, so that tensors of both can be compared and exchanged. Build one with
    :meth:`from_labelled` or a reader of this room; the constructor expects ids and checks them.

    :param name: the name of the graph
    :param entities: the labels of the entities in ascending order; the id of an entity is its position
    :param relations: the labels of the relations, likewise
    :param train: shape: (m, 3), dtype: int64, the training triples
    :param valid: shape: (m, 3), dtype: int64, the validation triples
    :param test: shape: (m, 3), dtype: int64, the test triples
    :param texts: entity label -> text; may miss entities, and may know entities that training does not
    :param types: (entity label, type label) pairs in ascending order; may know further entities as well
    :param valid_negatives: shape: (m, 3), dtype: int64, false triples that go with the validation triples, in the
        order of their source
    :param test_negatives: shape: (m, 3), dtype: int64, those that go with the test triples
    :param report: how many of what were dropped on the way, for example ``valid_unseen_entity`` or
        ``duplicate_train``; a key that is missing counts as 0
    :param relation_texts: relation label -> text; may miss relations
    :raises InvalidInputError: if labels are not in strictly ascending order, or triples have another shape or dtype or
        ids out of range

    >>> graph = KnowledgeGraph.from_labelled("zoo", [("lion", "eats", "zebra"), ("zebra", "fears", "lion")])
    >>> graph.entities, graph.train.tolist()
    (('lion', 'zebra'), [[0, 0, 1], [1, 1, 0]])
    """

    name: str
    entities: tuple[str, ...]
    relations: tuple[str, ...]
    train: LongTensor
    valid: LongTensor = field(default_factory=_no_triples)
    test: LongTensor = field(default_factory=_no_triples)
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    types: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    valid_negatives: LongTensor = field(default_factory=_no_triples)
    test_negatives: LongTensor = field(default_factory=_no_triples)
    report: Mapping[str, int] = field(default_factory=Counter)
    relation_texts: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for what, labels in (("entities", self.entities), ("relations", self.relations)):
            for first, second in pairwise(labels):
                if first >= second:
                    raise InvalidInputError(f"{what}: got {first!r} before {second!r}, expected ascending labels")
        for what in _TRIPLES:
            self._check_triples(what, getattr(self, what))

    def __repr__(self) -> str:
        counts = (("entities", self.entities), ("relations", self.relations))
        parts = [f"{what}={len(labels)}" for what, labels in counts]
        parts += [f"{what}={len(getattr(self, what))}" for what in _TRIPLES]
        return f"KnowledgeGraph({self.name!r}, {', '.join(parts)}, texts={len(self.texts)}, types={len(self.types)})"

    @property
    def num_entities(self) -> int:
        """The number of entities in training."""
        return len(self.entities)

    @property
    def num_relations(self) -> int:
        """The number of relations in training."""
        return len(self.relations)

    @classmethod
    def from_labelled(
        cls,
        name: str,
        train: LabelTriples,
        valid: LabelTriples | None = None,
        test: LabelTriples | None = None,
        texts: Mapping[str, str] | None = None,
        types: Iterable[tuple[str, str]] = (),
        valid_negatives: LabelTriples | None = None,
        test_negatives: LabelTriples | None = None,
        *,
        relation_texts: Mapping[str, str] | None = None,
        report: Mapping[str, int] | None = None,
    ) -> KnowledgeGraph:
        """Build a graph from triples of labels.

        A validation triple, test triple or negative whose entity or relation does not occur in training cannot be
        scored; it is dropped and counted in :attr:`report`, and so are repeated triples. One warning is logged.

        :param name: the name of the graph
        :param train: shape: (m, 3), m >= 1, labels (an object array or a sequence of 3-tuples)
        :param valid: shape: (m, 3), labels
        :param test: shape: (m, 3), labels
        :param texts: entity label -> text; a blank text is no text
        :param types: (entity label, type label) pairs
        :param valid_negatives: shape: (m, 3), labels of false triples; repetitions are kept
        :param test_negatives: shape: (m, 3), labels of false triples; repetitions are kept
        :param relation_texts: relation label -> text
        :param report: counts of what was dropped before, to be continued
        :returns: the graph
        :raises InvalidInputError: if there is no training triple, or a triple, a text or a type is malformed
        """
        labelled = {
            what: as_label_array(triples, what)
            for what, triples in zip(_TRIPLES, (train, valid, test, valid_negatives, test_negatives), strict=True)
        }
        if not len(labelled["train"]):
            raise InvalidInputError(f"train: got no triple for {name!r}, expected at least one")
        entities, relations = vocabulary(labelled["train"])
        entity_ids = {label: i for i, label in enumerate(entities)}
        relation_ids = {label: i for i, label in enumerate(relations)}
        dropped: Counter[str] = Counter()
        mapped = {
            what: map_triples(
                triples, entity_ids, relation_ids, what=what, report=dropped, unique=not what.endswith("negatives")
            )
            for what, triples in labelled.items()
        }
        if dropped:
            logger.warning(
                "%s: dropped triples that are repeated or have an entity or a relation not seen in training: %s",
                name,
                ", ".join(f"{what} {count}" for what, count in sorted(dropped.items())),
            )
        kinds = clean_types(types, dropped)
        return cls(
            name=name,
            entities=entities,
            relations=relations,
            texts=clean_texts(texts, "texts"),
            types=kinds,
            report=dropped + Counter(report or {}),
            relation_texts=clean_texts(relation_texts, "relation_texts"),
            **mapped,
        )

    @classmethod
    def from_networkx(
        cls, graph: nx.DiGraph[str], name: str | None = None, relation: str = "relation"
    ) -> KnowledgeGraph:
        """Build a graph from a directed networkx graph.

        Nodes are labels; the text of a node is its attribute ``text``, else ``label``, its types are the attribute
        ``types`` (a text or several). The relation of an edge is its attribute named by ``relation``, else its key;
        its split is its attribute ``split``: ``train`` (default), ``valid`` or ``test``, or several with commas.

        :param graph: a ``DiGraph`` or a ``MultiDiGraph``, as made by :meth:`to_networkx` or by hand
        :param name: the name of the graph; by default the name of the networkx graph, or ``networkx``
        :param relation: the edge attribute that holds the relation
        :returns: the graph; a node without edges, text and types is counted in :attr:`report` as ``isolated_node``
        :raises InvalidInputError: if the graph is undirected, or a node or an edge cannot be understood; the message
            names it
        """
        from kgneg.datasets._networkx import parse_graph

        return cls.from_labelled(**parse_graph(graph, name=name, relation=relation))

    def to_networkx(self) -> nx.MultiDiGraph[str]:
        """Convert to networkx.

        :returns: a graph whose nodes are labels, with the attributes ``types`` and, where there is one, ``text``, and
            whose edges have the relation as key and the attribute ``split``. A triple in several splits is one edge
            with the splits joined by commas. An entity that only texts or types know is a node without edges.
            Negatives are no edges; :meth:`from_networkx` finds them in ``graph.graph["kgneg"]``.

        >>> graph = KnowledgeGraph.from_labelled("zoo", [("lion", "eats", "zebra")], texts={"lion": "a big cat"})
        >>> list(graph.to_networkx().edges(keys=True, data=True))
        [('lion', 'zebra', 'eats', {'split': 'train'})]
        """
        from kgneg.datasets._networkx import build_graph

        return build_graph(self)

    def equals(self, other: object) -> bool:
        """Compare with another graph.

        :param other: anything
        :returns: whether it is a knowledge graph with the same name, labels, triples, texts, types and report
        """
        if not isinstance(other, KnowledgeGraph):
            return False
        for name in (item.name for item in fields(self)):
            mine, theirs = getattr(self, name), getattr(other, name)
            same = torch.equal(mine, theirs) if isinstance(mine, torch.Tensor) else bool(mine == theirs)
            if not same:
                return False
        return True

    def labels_of(self, triples: LongTensor) -> list[tuple[str, str, str]]:
        """Look up the labels of triples.

        :param triples: shape: (m, 3), dtype: int64
        :returns: length: m, the labels
        :raises InvalidInputError: if the shape or the dtype is another one, or an id is out of range
        """
        self._check_triples("triples", triples)
        entities, relations = self.entities, self.relations
        return [(entities[head], relations[relation], entities[tail]) for head, relation, tail in triples.tolist()]

    def entity_texts(self, missing: Literal["error", "label"] = "error") -> list[str]:
        """Give one text for each entity.

        :param missing: what to do for entities without text: ``error`` refuses, ``label`` takes the label, with spaces
            for underscores and without the path of an IRI
        :returns: length: num_entities, the texts in the order of the ids
        :raises MissingTextError: if entities have no text and ``missing`` is ``error``
        :raises InvalidInputError: if ``missing`` is anything else

        >>> KnowledgeGraph.from_labelled("zoo", [("red_deer", "eats", "grass")]).entity_texts(missing="label")
        ['grass', 'red deer']
        """
        if missing not in ("error", "label"):
            raise InvalidInputError(f"missing: got {missing!r}, expected 'error' or 'label'")
        without = [label for label in self.entities if label not in self.texts]
        if without:
            amount = f"{len(without)} of {self.num_entities} entities of {self.name!r} have no text"
            if missing == "error":
                raise MissingTextError(
                    f"{amount}, for example {', '.join(repr(label) for label in without[:3])}; add their texts, or use "
                    'their labels by missing="label" (on the command line: --missing-text label)'
                )
            logger.info("%s; their labels are used instead", amount)
        return [self.texts.get(label) or humanise(label) for label in self.entities]

    def type_ids(self) -> tuple[LongTensor, tuple[str, ...]]:
        """Give the types as ids; pairs whose entity is not in training are skipped, counted, and logged.

        :returns: shape: (k, 2), dtype: int64, pairs (entity id, type id) in ascending order; and the labels of the
            types in ascending order

        >>> graph = KnowledgeGraph.from_labelled("zoo", [("lion", "eats", "zebra")], types=[("zebra", "prey")])
        >>> graph.type_ids()
        (tensor([[1, 0]]), ('prey',))
        """
        entity_ids = {label: i for i, label in enumerate(self.entities)}
        known = [(entity_ids[entity], kind) for entity, kind in self.types if entity in entity_ids]
        if len(known) < len(self.types):
            skipped = len(self.types) - len(known)
            logger.warning(
                "%s: skipped %d of %d types, of entities not seen in training", self.name, skipped, len(self.types)
            )
        labels = tuple(sorted({kind for _, kind in known}))
        type_of = {label: i for i, label in enumerate(labels)}
        pairs = sorted((entity, type_of[kind]) for entity, kind in known)
        return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2), labels

    def _check_triples(self, what: str, triples: LongTensor) -> None:
        """Refuse triples of another shape, another dtype, or with ids out of range."""
        if triples.ndim != 2 or triples.shape[1] != 3 or triples.dtype != torch.int64:
            raise InvalidInputError(
                f"{what}: got shape {tuple(triples.shape)} and dtype {triples.dtype}, expected (m, 3) and torch.int64"
            )
        for column, count in ((HEAD, self.num_entities), (RELATION, self.num_relations), (TAIL, self.num_entities)):
            ids = triples[:, column]
            if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= count):
                raise InvalidInputError(
                    f"{what}: got ids from {int(ids.min())} to {int(ids.max())} in column {column}, "
                    f"expected 0 to {count - 1}"
                )
