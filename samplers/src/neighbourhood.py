"""Neighbours of the replaced entity, from lists."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.errors import InvalidInputError

__all__ = ["NeighbourhoodCorruptor"]


class NeighbourhoodCorruptor(Corruptor):
    """Replace an entity by one of its neighbours: siblings in a taxonomy, similar names, nearby vectors.

    An entity whose list is empty gives no proposal, and so a uniform draw that is flagged as ``fallback``.

    :param pools: n x n, the neighbours of each entity, drawn from in proportion to their weights if they have any; see
        :mod:`kgneg.samplers.neighbourhoods` and :class:`kgneg.datasets.Taxonomy` for where they come from
    :param options: the arguments of :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if the pools are for another number of entities, or all empty

    >>> pools = CandidateIndex.from_lists([[1], [0], [0, 1]], num_columns=3)
    >>> corruptor = NeighbourhoodCorruptor(pools, num_entities=3, num_relations=1, seed=0)
    >>> corruptor(torch.tensor([[0, 0, 1]]), 2).triples[0].tolist()
    [[1, 0, 1], [0, 0, 0]]
    """

    citation: ClassVar[str] = "kgneg"
    hits_are_certain = True

    def __init__(self, pools: CandidateIndex, **options: Any) -> None:
        super().__init__(**options)
        self.refresh(pools)

    def refresh(self, pools: CandidateIndex) -> None:
        """Take other lists from now on, such as the nearest neighbours by the vectors that a model has learnt.

        :param pools: n x n
        :raises InvalidInputError: if they are for another number of entities, or all empty
        """
        if (pools.num_rows, pools.num_columns) != (self.num_entities, self.num_entities):
            raise InvalidInputError(
                f"lists of {pools.num_rows} rows x {pools.num_columns} entities do not fit {self.num_entities} "
                "entities: one list for each entity is needed"
            )
        if not len(pools.indices):
            raise InvalidInputError(
                f"none of the {self.num_entities} entities has a neighbour: there is nothing to draw"
            )
        self.pools = pools

    @property
    def hits_are_others(self) -> bool:  # type: ignore[override]
        """Whether no list holds the entity itself."""
        return self.pools.never_own

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Propose neighbours of the replaced entities.

        :param queries: the pairs that need replacements
        :param n: the number of proposals per query
        :param generator: the source of randomness
        :returns: ids and hits of shape ``(q, n)``; an entity without neighbours gives no hit
        """
        return self.pools.sample(queries.replaced, n, generator)
