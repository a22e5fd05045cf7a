"""Lists of neighbours: by the spelling of names, by vectors; and what must not be among them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.knn import validate_vectors
from kgneg.core.neighbours import find_neighbours
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import validate_count

__all__ = [
    "edit_distance_pools",
    "embedding_pools",
    "occurring_together",
    "same_names",
    "similar_pairs",
    "unite",
]

_BLOCK = 1 << 24  # distances held at once


def edit_distance_pools(
    names: Sequence[str], k: int = 10, *, normalised: bool = True, workers: int = -1, progress: bool = False
) -> CandidateIndex:
    """Return the ``k`` names with the fewest edits (Levenshtein) to each.

    Counted as they are, edits pair short names that have nothing in common; ``normalised`` divides them by the length
    of the longer name. Case does not matter, and of equally distant names the earlier ones are taken.

    :param names: length: n
    :param k: the number of neighbours
    :param normalised: whether to divide by the length
    :param workers: threads; -1: all
    :param progress: whether to show a progress bar
    :returns: n x n
    :raises InvalidInputError: if there are not more than ``k`` names, or one is empty

    >>> edit_distance_pools(["manage staff", "manage zoo staff", "polymerisation"], 1).members(0).tolist()
    [1]
    """
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist
    from tqdm.auto import tqdm

    lowered = _names(names)
    _enough(len(lowered), k)
    scorer: Any = Levenshtein.normalized_distance if normalised else Levenshtein.distance
    neighbours = np.empty((len(lowered), k), dtype=np.int64)
    size = max(_BLOCK // len(lowered), 1)
    for begin in tqdm(range(0, len(lowered), size), desc="edit distance", unit="block", disable=not progress):
        block = lowered[begin : begin + size]
        distance = cdist(block, lowered, scorer=scorer, workers=workers)
        distance = distance.astype(np.float64) + np.arange(len(lowered)) * 1e-12  # the earlier of equals
        distance[np.arange(len(block)), begin + np.arange(len(block))] = np.inf
        neighbours[begin : begin + size] = np.argpartition(distance, k - 1, axis=1)[:, :k]
    return CandidateIndex.from_knn(torch.from_numpy(neighbours))


def embedding_pools(vectors: FloatTensor, k: int = 10, *, ceiling: float | None = None) -> CandidateIndex:
    """Return the ``k`` nearest entities of each by cosine.

    :param vectors: shape: ``(n, d)``
    :param k: the number of neighbours
    :param ceiling: leave out those with a higher cosine, in ``[-1, 1]``; they are likely to mean the same
    :returns: n x n, on the CPU; an entity may have fewer than ``k`` neighbours, if there is a ceiling
    :raises InvalidInputError: if vectors are malformed, or not more than ``k``

    >>> embedding_pools(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), 1).members(0).tolist()
    [1]
    """
    vectors = validate_vectors(vectors)
    _enough(len(vectors), k)
    own = torch.arange(len(vectors), device=vectors.device)
    found = find_neighbours(vectors, vectors, k, query_groups=own, reference_groups=own)
    ids = found.ids if ceiling is None else found.ids.masked_fill(found.cosine > ceiling, -1)
    return CandidateIndex.from_knn(ids.long().cpu())


def similar_pairs(vectors: FloatTensor, ceiling: float) -> CandidateIndex:
    """Return all entities whose cosine to each is above a ceiling.

    :param vectors: shape: ``(n, d)``
    :param ceiling: in ``[-1, 1]``
    :returns: n x n, on the CPU
    :raises InvalidInputError: if vectors are malformed

    >>> similar_pairs(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), 0.9).members(1).tolist()
    [0]
    """
    unit = normalize(validate_vectors(vectors), dim=-1)
    if not len(unit):
        raise InvalidInputError("there are no vectors to compare")
    rows, members = [], []
    size = max(_BLOCK // max(len(unit), 1), 1)
    for begin in range(0, len(unit), size):
        high = (unit[begin : begin + size] @ unit.T > ceiling).nonzero().cpu()
        high[:, 0] += begin
        high = high[high[:, 0] != high[:, 1]]
        rows.append(high[:, 0])
        members.append(high[:, 1])
    return CandidateIndex.from_pairs(torch.cat(rows), torch.cat(members), num_rows=len(unit), num_columns=len(unit))


def same_names(names: Sequence[str], alternatives: Sequence[Sequence[str]] | None = None) -> CandidateIndex:
    """Return the entities that have a name in common with each, also as an alternative one; case does not matter.

    :param names: length: n
    :param alternatives: length: n, further names
    :returns: n x n

    >>> same_names(["manage cash flow", "handle money"], [[], ["Manage cash flow"]]).members(0).tolist()
    [1]
    """
    further = [()] * len(names) if alternatives is None else alternatives
    if len(further) != len(names):
        raise InvalidInputError(f"there are {len(names)} names, but alternatives for {len(further)}")
    owners: dict[str, set[int]] = defaultdict(set)
    for number, (name, more) in enumerate(zip(names, further, strict=True)):
        for form in (name, *more):
            owners[" ".join(form.casefold().split())].add(number)
    owners.pop("", None)
    pairs = [(a, b) for shared in owners.values() if len(shared) > 1 for a in shared for b in shared if a != b]
    table = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
    return CandidateIndex.from_pairs(table[:, 0], table[:, 1], num_rows=len(names), num_columns=len(names))


def occurring_together(
    groups: LongTensor, entities: LongTensor, *, num_entities: int, least: int = 1
) -> CandidateIndex:
    """Return the entities that are found together with each, such as the labels of one sentence.

    :param groups: shape: ``(k,)``, the number of the sentence of each observation, at least 0
    :param entities: shape: ``(k,)``, the entity that was found there
    :param num_entities: the number of entities
    :param least: in how many groups they have to be together
    :returns: n x n
    :raises InvalidInputError: if an id is out of range

    >>> occurring_together(torch.tensor([0, 0, 1]), torch.tensor([2, 1, 0]), num_entities=3).members(2).tolist()
    [1]
    """
    validate_count("least", least)
    sentences = int(groups.max()) + 1 if len(groups) else 1
    there = CandidateIndex.from_pairs(entities, groups, num_rows=num_entities, num_columns=sentences)
    matrix = _matrix(there)
    counts = (matrix @ matrix.T).tocsr()
    counts.setdiag(0)
    counts.data[counts.data < least] = 0
    return CandidateIndex.from_scipy(counts)


def unite(*pools: CandidateIndex) -> CandidateIndex:
    """Return lists with everything that is in any of some lists, without weights.

    :param pools: lists of one size
    :returns: the lists
    """
    if not pools:
        raise InvalidInputError("there are no lists to unite")
    pairs = [one.pairs() for one in pools]
    return CandidateIndex.from_pairs(
        torch.cat([rows for rows, _ in pairs]),
        torch.cat([members for _, members in pairs]),
        num_rows=pools[0].num_rows,
        num_columns=pools[0].num_columns,
    )


def _matrix(index: CandidateIndex) -> Any:
    import scipy.sparse

    data = np.ones(len(index.indices))
    return scipy.sparse.csr_array(
        (data, index.indices.numpy(), index.indptr.numpy()), shape=(index.num_rows, index.num_columns)
    )


def _names(names: Sequence[str]) -> list[str]:
    for number, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise InvalidInputError(f"name {number} is {name!r}: every entity needs a name that is no blank")
    return [name.casefold() for name in names]


def _enough(number: int, k: int) -> None:
    validate_count("k", k)
    if number <= k:
        raise InvalidInputError(f"{k} neighbours need at least {k + 1} entities, there are {number}")
