"""A knowledge graph whose entities are linked with items."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.datasets import read_triples, read_types
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.item_vectors import ItemVectors, item_vectors_from_graph

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ItemGraph", "read_item_graph"]

logger = logging.getLogger(__name__)

#: A field of the first line of RecBole's files, such as ``head_id:token``.
_HEADER = re.compile(r"\w+:(?:token|float)(?:_seq)?")


@dataclass(frozen=True)
class ItemGraph:
    """Triples, and which entity each item is.

    :param triples: shape: ``(m, 3)``, ids
    :param item_entities: shape: ``(num_items,)``, the entity of each item, -1 where it has none
    :param entity_labels: what entities are called, by id
    :param relation_labels: what relations are called, by id
    :param unknown_items: how many links name an item that the interactions do not have
    :param unknown_entities: how many links of known items name an entity that the triples do not have
    :param repeated: how many links were left out because their item was linked before
    """

    triples: LongTensor
    item_entities: LongTensor
    entity_labels: tuple[str, ...]
    relation_labels: tuple[str, ...]
    unknown_items: int = 0
    unknown_entities: int = 0
    repeated: int = 0

    @property
    def num_entities(self) -> int:
        """The number of entities."""
        return len(self.entity_labels)

    @property
    def num_relations(self) -> int:
        """The number of relations."""
        return len(self.relation_labels)

    @property
    def linked(self) -> int:
        """How many items have an entity."""
        return int((self.item_entities >= 0).sum())

    @property
    def unlinked(self) -> int:
        """How many items have none."""
        return len(self.item_entities) - self.linked

    def __repr__(self) -> str:
        return (
            f"ItemGraph(triples={len(self.triples)}, entities={self.num_entities}, relations={self.num_relations}, "
            f"linked={self.linked}, unlinked={self.unlinked}, unknown_items={self.unknown_items}, "
            f"unknown_entities={self.unknown_entities}, repeated={self.repeated})"
        )

    @classmethod
    def from_labels(
        cls, triples: np.ndarray, links: Sequence[tuple[str, str]], interactions: Interactions
    ) -> ItemGraph:
        """Give entities and relations ids, and find those of the items.

        :param triples: shape: ``(m, 3)``, labels
        :param links: pairs of the label of an item, or its id as text where items have no labels, and that of an entity
        :param interactions: whose items they are
        :returns: the graph
        :raises InvalidInputError: if no item is linked with an entity of the graph

        >>> import numpy as np
        >>> pairs = Interactions(torch.tensor([0]), torch.tensor([1]), num_users=1, num_items=2)
        >>> triples = np.array([["heat", "genre", "crime"]])
        >>> graph = ItemGraph.from_labels(triples, [("1", "heat"), ("7", "heat")], pairs)
        >>> graph.item_entities.tolist(), graph.unknown_items
        ([-1, 1], 1)
        """
        import pandas as pd

        ends, entities = pd.factorize(triples[:, [0, 2]].ravel(), sort=True)
        relation, relations = pd.factorize(triples[:, 1], sort=True)
        heads, tails = torch.from_numpy(ends.reshape(-1, 2)).long().unbind(-1)
        entity_of = {label: number for number, label in enumerate(entities)}
        labels = (
            map(str, range(interactions.num_items)) if interactions.item_labels is None else interactions.item_labels
        )
        item_of = {label: number for number, label in enumerate(labels)}
        found: dict[int, int] = {}
        known = [(item_of[item], entity) for item, entity in links if item in item_of]
        there = [(item, entity_of[entity]) for item, entity in known if entity in entity_of]
        for item, entity in there:
            found.setdefault(item, entity)
        if not found:
            raise InvalidInputError(
                f"none of {len(links)} links leads from an item of the interactions to an entity of the graph: "
                f"{len(known)} name a known item, such as {next(iter(item_of), '')!r}, and entities are called like "
                f"{next(iter(entity_of), '')!r}"
            )
        item_entities = torch.full((interactions.num_items,), -1, dtype=torch.int64)
        item_entities[torch.tensor(list(found))] = torch.tensor(list(found.values()))
        return cls(
            torch.stack([heads, torch.from_numpy(relation).long(), tails], dim=-1),
            item_entities,
            tuple(map(str, entities)),
            tuple(map(str, relations)),
            unknown_items=len(links) - len(known),
            unknown_entities=len(known) - len(there),
            repeated=len(there) - len(found),
        )

    def vectors(self, *, dim: int = 64, hops: int = 1, seed: int = 0) -> ItemVectors:
        """Return vectors of the items, see :func:`~kgneg.recsys.item_vectors.item_vectors_from_graph`.

        :param dim: the length of the vectors
        :param hops: how far to look
        :param seed: the seed of the projection
        :returns: the vectors, and which items have one
        """
        return item_vectors_from_graph(
            self.triples,
            self.item_entities,
            num_entities=self.num_entities,
            num_relations=self.num_relations,
            dim=dim,
            hops=hops,
            seed=seed,
        )


def read_item_graph(kg: str | os.PathLike[str], link: str | os.PathLike[str], train: Interactions) -> ItemGraph:
    r"""Read a knowledge graph, and which of its entities the items are.

    Both are tables separated by tabs, packed or not, without a header or with that of RecBole's ``.kg`` and ``.link``
    files (``head_id:token`` and so on). Items are named as in the interactions.

    :param kg: a file of triples: head, relation, tail
    :param link: a file of links: item, entity
    :param train: whose items they are
    :returns: the graph
    :raises InvalidInputError: if a file is missing or malformed, or no item is linked

    >>> import tempfile
    >>> from pathlib import Path
    >>> pairs = Interactions(torch.tensor([0]), torch.tensor([1]), num_users=1, num_items=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kg, link = Path(folder, "a.kg"), Path(folder, "a.link")
    ...     _ = kg.write_text("head_id:token\trelation_id:token\ttail_id:token\nheat\tgenre\tcrime\n")
    ...     _ = link.write_text("item_id:token\tentity_id:token\n1\theat\n")
    ...     read_item_graph(kg, link, pairs).linked
    1
    """
    triples = read_triples(kg)
    order = _order(triples[0].tolist(), ("head_id", "relation_id", "tail_id"))
    if order is not None:
        triples = triples[1:, order]
    links = read_types(link)
    order = _order(list(links[0]), ("item_id", "entity_id"))
    if order is not None:
        links = tuple((row[order[0]], row[order[1]]) for row in links[1:])
    graph = ItemGraph.from_labels(triples, links, train)
    logger.info("%s and %s: %r", kg, link, graph)
    return graph


def _order(fields: list[str], names: tuple[str, ...]) -> list[int] | None:
    """Return where the columns of a file with a header are, or ``None`` if its first line is none."""
    if not all(_HEADER.fullmatch(field) for field in fields):
        return None
    found = [field.partition(":")[0] for field in fields]
    return [found.index(name) for name in names] if set(names) <= set(found) else list(range(len(names)))
