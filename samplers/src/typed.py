"""Entities of the right type: the domain and range of the relation."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.sparse
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import TAIL, LongTensor
from kgneg.core.validation import validate_share

__all__ = ["TypedCorruptor", "pools_from_types"]


class TypedCorruptor(Corruptor):
    """Replace an end by an entity that fits that end of the relation.

    The pools are the observed domain and range of each relation
    (:meth:`~kgneg.core.candidates.CandidateIndex.from_relation_types`), or come from a table of entity types
    (:func:`pools_from_types`). Such negatives are hard without any text, but many of them are known or unknown true
    triples: draw them with an index of known triples.

    Source: Krompass, Baier and Tresp, Type-Constrained Representation Learning in Knowledge Graphs, ISWC 2015.

    :param pools: row ``2 * relation`` holds the candidates for its head, row ``2 * relation + 1`` those for its tail
    :param options: the arguments of :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if the pools do not have two rows per relation

    >>> triples = torch.tensor([[0, 0, 1], [2, 0, 3]])
    >>> pools = CandidateIndex.from_relation_types(triples, num_entities=5, num_relations=1)
    >>> corruptor = TypedCorruptor(pools, num_entities=5, num_relations=1, seed=0)
    >>> corruptor(triples, 2).triples[0].tolist()
    [[2, 0, 1], [0, 0, 3]]
    """

    citation: ClassVar[str] = "Krompass et al., ISWC 2015"

    def __init__(self, pools: CandidateIndex, **options: Any) -> None:
        super().__init__(**options)
        if (pools.num_rows, pools.num_columns) != (2 * self.num_relations, self.num_entities):
            raise InvalidInputError(
                f"pools of {pools.num_rows} rows x {pools.num_columns} entities do not fit {self.num_relations} "
                f"relations and {self.num_entities} entities: two rows per relation are needed"
            )
        self.pools = pools

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Propose entities from the pools of the relations.

        :param queries: the pairs that need replacements
        :param n: the number of proposals per query
        :param generator: the source of randomness
        :returns: ids and hits of shape ``(q, n)``; a relation without candidates gives no hit
        """
        return self.pools.sample(2 * queries.relation + (queries.side == TAIL), n, generator)


def pools_from_types(
    triples: LongTensor,
    types: LongTensor,
    *,
    num_entities: int,
    num_relations: int,
    support: float = 0.05,
) -> CandidateIndex:
    """Build the candidates of each relation and end from entity types.

    A type is admitted at an end when at least the share ``support`` of the distinct entities seen there have it (the
    most frequent one always). The pool is everything that has an admitted type, and everything seen there.

    :param triples: shape: ``(m, 3)``, the training triples
    :param types: shape: ``(k, 2)``, pairs (entity id, type id)
    :param num_entities: the number of entities
    :param num_relations: the number of relations
    :param support: in ``[0, 1]``
    :returns: pools with two rows per relation, as :class:`TypedCorruptor` takes them
    :raises InvalidInputError: if there are no types, or a type pair is out of range
    """
    validate_share("support", support)
    if types.ndim != 2 or types.shape[-1] != 2 or not len(types):
        raise InvalidInputError(
            f"types must be a non-empty table (k, 2) of entity and type ids, got {tuple(types.shape)}"
        )
    if int(types.min()) < 0:
        raise InvalidInputError(f"types must hold ids, which are not negative, got {int(types.min())}")
    if int(types[:, 0].max()) >= num_entities:
        raise InvalidInputError(f"a type is given for entity {int(types[:, 0].max())}, but there are {num_entities}")
    observed = CandidateIndex.from_relation_types(triples, num_entities=num_entities, num_relations=num_relations)
    rows, members = (part.numpy() for part in observed.pairs())
    seen = scipy.sparse.csr_array(
        (np.ones(len(rows), dtype=np.float32), (rows, members)), shape=(2 * num_relations, num_entities)
    )
    entity, kind = types[:, 0].numpy(), types[:, 1].numpy()
    table = scipy.sparse.csr_array(
        (np.ones(len(entity), dtype=np.float32), (entity, kind)), shape=(num_entities, int(kind.max()) + 1)
    )
    table.data[:] = 1  # a repeated pair counts once
    counts = (seen @ table).tocsr()
    enough = support * np.diff(seen.indptr) - 1e-9  # a share of exactly the support is enough
    best = counts.max(axis=1).toarray().ravel() if counts.nnz else np.zeros(2 * num_relations)
    limit = np.repeat(np.minimum(enough, best), np.diff(counts.indptr))
    counts.data = ((counts.data > 0) & (counts.data >= limit)).astype(np.float32)
    counts.eliminate_zeros()
    return CandidateIndex.from_scipy(counts @ table.T + seen)
