"""Vectors of items from a knowledge graph that they are linked with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch.nn.functional import normalize

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import BoolTensor, FloatTensor, LongTensor
from kgneg.core.validation import validate_count, validate_triples
from kgneg.recsys.interactions import Interactions

__all__ = ["ItemVectors", "item_vectors_from_graph", "neighbour_agreement"]

#: What is shorter counts as zero: singular values by the largest, and what the projection keeps of rows of length one.
_NOISE, _LEAST = 1e-6, 1e-2
#: For how many items neighbours are looked for at once.
_BLOCK = 256


class ItemVectors(NamedTuple):
    """Vectors of items, as far as something is known of them.

    :param vectors: shape: ``(num_items, d)``, float32, of length one, or zero
    :param known: shape: ``(num_items,)``, which items have a vector; the vectors of the others are zero
    """

    vectors: FloatTensor
    known: BoolTensor

    @property
    def missing(self) -> int:
        """The number of items without a vector."""
        return int((~self.known).sum())


def item_vectors_from_graph(
    triples: LongTensor,
    item_entities: LongTensor,
    *,
    num_entities: int,
    num_relations: int,
    dim: int = 64,
    hops: int = 1,
    seed: int = 0,
) -> ItemVectors:
    r"""Make vectors such that items are near each other if they have the same neighbours in a knowledge graph.

    What describes an entity are its triples: relation, direction and the entity at the other end. What only one
    entity has says nothing and is left out; the rest is weighted by :math:`\log(n / f)`, where :math:`f` of :math:`n`
    described entities have it. The rows of the resulting sparse matrix are scaled to length one and projected on its
    ``dim`` leading singular vectors, as in latent semantic analysis. With two hops an entity is also described by the
    mean of the vectors of its neighbours, rare ones counting more, so that items with different but similar
    neighbours come close.

    Items without a link, linked ones that share no neighbour with another item, and those of which the singular vectors
    keep next to nothing have no vector: they are not known.

    :param triples: shape: ``(m, 3)``, the triples of the graph
    :param item_entities: shape: ``(num_items,)``, the entity of each item, or -1 where there is none
    :param num_entities: the number of entities of the graph
    :param num_relations: the number of relations of the graph
    :param dim: how many singular vectors; fewer where the matrix has fewer
    :param hops: 1, or 2 to look at the neighbours of neighbours too
    :param seed: the seed of the projection
    :returns: the vectors, and which items have one
    :raises InvalidInputError: if an id is out of range, or no two items have anything in common

    >>> triples = torch.tensor([[0, 0, 3], [1, 0, 3], [2, 0, 4]])
    >>> found = item_vectors_from_graph(triples, torch.tensor([0, 1, 2, -1]), num_entities=5, num_relations=1)
    >>> found.known.tolist(), found.missing
    ([True, True, False, False], 2)
    """
    validate_count("dim", dim)
    if validate_count("hops", hops) > 2:
        raise InvalidInputError(f"hops must be 1 or 2, got {hops}")
    triples = validate_triples(triples, num_entities, num_relations).cpu()
    entities = _check_entities(item_entities, num_entities)
    linked = entities >= 0
    described = np.zeros(num_entities, dtype=bool)
    described[entities[linked] if hops == 1 else np.arange(num_entities)] = True
    facts = _facts(triples, num_entities, described)
    by_entity = _project(facts, dim, seed)
    if hops == 2:
        by_entity = _with_neighbours(by_entity, triples, num_entities)
    by_item = by_entity[np.where(linked, entities, 0)] * linked[:, None]
    if hops == 2:
        by_item = _project(scipy.sparse.csr_array(by_item), dim, seed)
    if not by_item.any():
        raise InvalidInputError(
            f"no two of the {int(linked.sum())} linked items have a neighbour in common: check that the links are "
            "those of this graph, or take hops=2"
        )
    vectors = torch.from_numpy(np.ascontiguousarray(by_item, dtype=np.float32))
    return ItemVectors(vectors, vectors.any(dim=-1))


def _check_entities(item_entities: LongTensor, num_entities: int) -> np.ndarray:
    """Return the entities of items as an array."""
    if item_entities.ndim != 1 or item_entities.is_floating_point() or item_entities.dtype == torch.bool:
        raise InvalidInputError(
            f"item_entities must be a vector of ids, got {item_entities.dtype} of shape {tuple(item_entities.shape)}"
        )
    wrong = ((item_entities < -1) | (item_entities >= num_entities)).nonzero()
    if len(wrong):
        raise InvalidInputError(
            f"entity {int(item_entities[wrong[0]])} of item {int(wrong[0])} is out of range: entities are in "
            f"[0, {num_entities}), and -1 says that an item has none"
        )
    found: np.ndarray = item_entities.cpu().numpy().astype(np.int64)
    return found


def _facts(triples: LongTensor, num_entities: int, described: np.ndarray) -> scipy.sparse.csr_array:
    """Return what is said of each described entity, weighted, shape ``(num_entities, facts)``."""
    head, relation, tail = (column.numpy() for column in triples.unbind(-1))
    rows = np.concatenate([head, tail])
    directed = np.concatenate([2 * relation, 2 * relation + 1])
    other = np.concatenate([tail, head])
    kept = described[rows] & (rows != other)
    rows = rows[kept]
    _, columns = np.unique(directed[kept] * num_entities + other[kept], return_inverse=True)
    shape = (num_entities, int(columns.max()) + 1 if len(columns) else 1)
    facts = scipy.sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
    facts.sum_duplicates()
    facts.data[:] = 1.0
    frequency = np.bincount(facts.indices, minlength=shape[1])
    number = int((np.diff(facts.indptr) > 0).sum())
    # one more than there are, lest what all entities have takes the last weight from them
    weights = np.where(frequency > 1, np.log((number + 1) / np.maximum(frequency, 1)), 0.0)
    facts.data *= weights[facts.indices]
    facts.eliminate_zeros()
    return facts


def _project(matrix: scipy.sparse.csr_array, dim: int, seed: int) -> np.ndarray:
    """Scale rows to length one and project them on the leading singular vectors; rows of the result have length one."""
    from sklearn.utils.extmath import randomized_svd

    kept = np.flatnonzero(np.diff(matrix.indptr))
    result = np.zeros((matrix.shape[0], min(dim, max(len(kept), 1), matrix.shape[1])))
    if not len(kept):
        return result
    scaled = scipy.sparse.diags_array(_inverse(scipy.sparse.linalg.norm(matrix, axis=1)[kept])) @ matrix[kept]
    left, values, _ = randomized_svd(
        scipy.sparse.csr_matrix(scaled), n_components=result.shape[1], n_iter=7, random_state=seed % 2**32
    )
    left = left * np.where(values > _NOISE * values[0], values, 0.0)
    result[kept] = left * _inverse(np.linalg.norm(left, axis=1))[:, None]
    return result


def _inverse(lengths: np.ndarray) -> np.ndarray:
    """Return one by the length, or zero where there is next to none."""
    return np.where(lengths > _LEAST, 1.0 / np.maximum(lengths, _LEAST), 0.0)


def _with_neighbours(vectors: np.ndarray, triples: LongTensor, num_entities: int) -> np.ndarray:
    """Append the weighted mean of the vectors of the neighbours, scaled to length one, to the vector of each entity."""
    head, _, tail = (column.numpy() for column in triples.unbind(-1))
    ends = np.concatenate([head, tail]), np.concatenate([tail, head])
    adjacent = scipy.sparse.csr_array((np.ones(2 * len(head)), ends), shape=(num_entities, num_entities))
    adjacent.setdiag(0)
    adjacent.eliminate_zeros()
    adjacent.data[:] = 1.0
    weights = np.log(num_entities + 1) - np.log(np.maximum(np.diff(adjacent.indptr), 1))
    mean = adjacent @ (vectors * weights[:, None])
    mean = mean * _inverse(np.linalg.norm(mean, axis=1))[:, None]
    return np.concatenate([vectors, mean], axis=1)


def neighbour_agreement(
    interactions: Interactions, found: ItemVectors, *, k: int = 10, anchors: int = 2000, seed: int = 0
) -> float:
    """Tell how much more alike the users of near items are than those of any two items.

    Vectors that say something of what people choose give more than 1. About 1 means that they do not, as where links
    lead to the wrong entities. Compared is the mean cosine between columns of the matrix of interactions, for items
    with their nearest neighbours, and with these neighbours in another order, such that popularity makes no
    difference.

    :param interactions: who chose what
    :param found: vectors of the items
    :param k: how many neighbours of each item
    :param anchors: for how many items with vectors and users, drawn at random
    :param seed: the seed of these draws
    :returns: the ratio; NaN where there is nothing to compare
    :raises InvalidInputError: if the vectors are for another number of items

    >>> pairs = Interactions(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 2, 3]), num_users=2, num_items=4)
    >>> vectors = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> neighbour_agreement(pairs, ItemVectors(vectors, vectors.any(-1)), k=1) > 1
    True
    """
    if len(found.vectors) != interactions.num_items:
        raise InvalidInputError(f"{len(found.vectors)} vectors do not fit {interactions.num_items} items")
    generator = torch.Generator().manual_seed(seed)
    usable = (found.known & (interactions.item_counts > 0)).nonzero().squeeze(-1)
    k = min(k, len(usable) - 1)
    if k < 1:
        return float("nan")
    chosen = torch.randperm(len(usable), generator=generator)[:anchors]
    unit = normalize(found.vectors[usable], dim=-1)
    near = [_nearest(unit, block, k) for block in torch.split(chosen, _BLOCK)]
    left, right = chosen.repeat_interleave(k), torch.cat(near).reshape(-1)
    by_item = interactions.to_scipy().T.tocsr()[usable.numpy()]
    by_item = scipy.sparse.diags_array(1 / scipy.sparse.linalg.norm(by_item, axis=1)) @ by_item

    def alike(other: LongTensor) -> float:
        apart = (left != other).numpy()
        common = by_item[left.numpy()[apart]].multiply(by_item[other.numpy()[apart]])
        return float(common.sum()) / max(int(apart.sum()), 1)

    shuffled = alike(right[torch.randperm(len(right), generator=generator)])
    return alike(right) / shuffled if shuffled else float("nan")


def _nearest(unit: FloatTensor, chosen: LongTensor, k: int) -> LongTensor:
    """Return the nearest rows of some rows of unit length, without the rows themselves, shape ``(len(chosen), k)``."""
    cosines = (unit[chosen] @ unit.T).scatter_(1, chosen[:, None], -torch.inf)
    return cosines.topk(k, dim=-1).indices
