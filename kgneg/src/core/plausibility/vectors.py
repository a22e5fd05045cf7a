"""Entity vectors that need nothing but known triples."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch

from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import validate_count, validate_triples

__all__ = ["adjacency_vectors"]

_ROUNDS = 4


def adjacency_vectors(
    triples: LongTensor, *, num_entities: int, num_relations: int, dim: int = 88, seed: int = 0
) -> FloatTensor:
    """Return entity vectors by a truncated singular value decomposition of the adjacency.

    The table has a row per entity, a column per pair of an entity and an end of a relation, and a one for each known
    triple. An entity gets its left singular vector, each number times the root of its singular value: entities that
    stand in the same places lie close to each other.

    :param triples: shape: ``(m, 3)``, the known triples
    :param num_entities: the number of entities
    :param num_relations: the number of relations
    :param dim: the number of dimensions; no more than the table allows, at least one
    :param seed: the seed of the decomposition
    :returns: shape: ``(num_entities, dim)``; zeros for an entity without triples
    :raises InvalidInputError: if ids are out of range

    >>> vectors = adjacency_vectors(torch.tensor([[0, 0, 1], [2, 0, 1]]), num_entities=4, num_relations=1, dim=2)
    >>> vectors.shape, bool((vectors[0] - vectors[2]).abs().max() < 1e-5), bool((vectors[3] == 0).all())
    (torch.Size([4, 2]), True, True)
    """
    from sklearn.utils.extmath import randomized_svd

    validate_count("dim", dim)
    triples = torch.unique(validate_triples(triples, num_entities, num_relations).reshape(-1, 3).cpu(), dim=0)
    head, relation, tail = triples.unbind(-1)
    row = torch.cat([head, tail])
    place = torch.cat([relation * num_entities + tail, (relation + num_relations) * num_entities + head])
    places, column = torch.unique(place, return_inverse=True)
    dim = max(min(dim, min(num_entities, len(places)) - 1), 1)
    if not len(places):
        return torch.zeros(num_entities, dim)
    ones = np.ones(len(row), dtype=np.float32)
    table = scipy.sparse.csr_array((ones, (row.numpy(), column.numpy())), shape=(num_entities, len(places)))
    left, values, _ = randomized_svd(table, dim, n_iter=_ROUNDS, random_state=seed % 2**32)
    vectors = torch.from_numpy(np.ascontiguousarray(left * np.sqrt(values), dtype=np.float32))
    seen = torch.zeros(num_entities, 1, dtype=torch.bool).index_fill_(0, row, 1)
    return vectors * seen
