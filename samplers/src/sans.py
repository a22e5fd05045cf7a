"""SANS: entities that the graph itself places nearby."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.draws import draw_below
from kgneg.core.errors import InvalidInputError
from kgneg.core.seeding import PrivateGenerators, mix_seeds
from kgneg.core.typing import HEAD, TAIL, LongTensor
from kgneg.core.validation import choose, validate_count, validate_triples

__all__ = ["MAX_HOPS", "MAX_MEMBERS", "SansCorruptor", "build_sans_pools"]

#: The largest number of hops: beyond, a neighbourhood is the whole graph.
MAX_HOPS = 4
#: How many members all neighbourhoods may have by default; each takes four bytes.
MAX_MEMBERS = 1 << 28
#: How many products, or steps of walks, or bytes of bits are made at a time.
_PRODUCTS, _STEPS, _BYTES = 1 << 21, 1 << 22, 1 << 22
#: Bits say who reaches whom where so many cells fit, and where at least this share of them may be set.
_MOST_CELLS, _SHARE = 1 << 31, 1 / 16
#: relations do not matter
_ANY = 1 << 62
_SALT = 2009_11355


class SansCorruptor(Corruptor):
    """Replace an end by an entity that is few hops away from the entity that stays.

    Hops are taken on the graph of the training triples, in either direction and whatever the relation. The
    neighbourhoods are built once, see :func:`build_sans_pools`; all members of one are equally likely. Published with
    the *kept* entity as the anchor. An entity without neighbours has no candidates, so that uniform draws take their
    place. Other than published, the anchor is not among its own neighbours: it would make loops.

    Source: Ahrabian, Feizi, Salehi, Hamilton and Bose, Structure Aware Negative Sampling in Knowledge Graphs, EMNLP
    2020, arXiv 2009.11355.

    :param pools: the neighbours of each entity, from :func:`build_sans_pools`
    :param anchor: ``"kept"`` or ``"replaced"``: whose neighbours are candidates
    :param options: the arguments of :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if the pools are for another number of entities, or the anchor is unknown

    >>> triples = torch.tensor([[0, 0, 1], [1, 0, 2], [2, 0, 3], [3, 0, 4]])
    >>> corruptor = SansCorruptor.from_triples(triples, hops=2, num_entities=5, num_relations=1, seed=0)
    >>> corruptor(torch.tensor([[0, 0, 1]]), 8).entity.unique().tolist()  # two hops from 1: 2, 3; from 0: 2
    [2, 3]
    """

    citation: ClassVar[str] = "Ahrabian et al., EMNLP 2020"

    def __init__(self, pools: CandidateIndex, *, anchor: str = "kept", **options: Any) -> None:
        super().__init__(**options)
        if pools.num_rows != self.num_entities or pools.num_columns != self.num_entities:
            raise InvalidInputError(
                f"pools of {pools.num_rows} rows x {pools.num_columns} entities do not fit {self.num_entities} "
                "entities: one row per entity is needed"
            )
        self.anchor = choose("anchor", anchor, ("kept", "replaced"))
        self.pools = pools

    @classmethod
    def from_triples(
        cls,
        triples: LongTensor,
        *,
        num_entities: int,
        hops: int = 2,
        walks: int | None = None,
        max_members: int = MAX_MEMBERS,
        anchor: str = "kept",
        seed: int | None = None,
        **options: Any,
    ) -> SansCorruptor:
        """Build the neighbourhoods and the corruptor.

        :param triples: shape: ``(m, 3)``, the training triples
        :param num_entities: the number of entities
        :param hops: see :func:`build_sans_pools`
        :param walks: see there
        :param max_members: see there
        :param anchor: whose neighbours are candidates
        :param seed: the seed of walks and draws
        :param options: the other arguments of :class:`~kgneg.core.corruption.Corruptor`
        :returns: the corruptor
        """
        pools = build_sans_pools(
            triples, num_entities=num_entities, hops=hops, walks=walks, seed=seed, max_members=max_members
        )
        return cls(pools, anchor=anchor, num_entities=num_entities, seed=seed, **options)

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Propose neighbours of the anchors.

        :param queries: the pairs that need replacements
        :param n: the number of proposals per query
        :param generator: the source of randomness
        :returns: ids and hits of shape ``(q, n)``; an entity without neighbours gives no hit
        """
        return self.pools.sample(queries.kept if self.anchor == "kept" else queries.replaced, n, generator)


#: How many members some entities have, and these members, entity by entity.
_Block = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def build_sans_pools(
    triples: LongTensor,
    *,
    num_entities: int,
    hops: int = 2,
    walks: int | None = None,
    seed: int | None = None,
    max_members: int = MAX_MEMBERS,
) -> CandidateIndex:
    """Find the entities within some hops of each entity.

    Exact neighbourhoods can be large: around an entity with many neighbours, two hops are often a third of the graph.
    With ``walks`` the neighbours of an entity are what so many random walks of ``hops`` steps from there visit, and
    none of them has more than ``walks * hops``. Every walk begins at the entity itself; in the published program only
    the first one did.

    :param triples: shape: ``(m, 3)``, the training triples; directions, relations and loops do not count
    :param num_entities: the number of entities
    :param hops: from 1 to 4
    :param walks: the number of random walks from each entity; ``None`` finds all neighbours
    :param seed: the seed of the walks; ``None`` takes :func:`torch.initial_seed`
    :param max_members: refuse to collect more members than that, of all entities together; 2**28 by default, which take
        1 GiB
    :returns: pools with one row per entity, sorted; an entity is not its own neighbour
    :raises InvalidInputError: if a value is out of range, or there are more members

    >>> pools = build_sans_pools(torch.tensor([[0, 0, 1], [2, 0, 1], [2, 0, 3]]), num_entities=5)
    >>> [pools.members(row).tolist() for row in range(5)]
    [[1, 2], [0, 2, 3], [0, 1, 3], [1, 2], []]
    """
    num_entities = validate_count("num_entities", num_entities)
    if validate_count("hops", hops) > MAX_HOPS:
        raise InvalidInputError(f"hops must be at most {MAX_HOPS}, got {hops}")
    max_members = validate_count("max_members", max_members)
    adjacency = _adjacency(triples, num_entities)
    if walks is None:
        blocks, remedy = _exact(adjacency, hops), "give a number of walks, which find a part of them"
    else:
        walks = validate_count("walks", walks)
        generator = torch.Generator().manual_seed(mix_seeds(PrivateGenerators(seed).seed, _SALT))
        blocks, remedy = _walked(adjacency, hops, walks, generator), "take fewer walks"
    sizes, members = [np.zeros(1, dtype=np.int64)], [np.zeros(0, dtype=np.int32)]
    found = done = 0
    for size, part in blocks:
        found, done = found + len(part), done + len(size)
        if found > max_members:
            raise InvalidInputError(
                f"{done:,} of {num_entities:,} entities have {found:,} neighbours within {hops} hops, which is more "
                f"than max_members={max_members:,}: {remedy}, take fewer hops, or raise max_members"
            )
        sizes.append(size)
        members.append(part)
    indptr = torch.from_numpy(np.concatenate(sizes).cumsum())
    return CandidateIndex(indptr, torch.from_numpy(np.concatenate(members)), num_columns=num_entities)


def _adjacency(triples: LongTensor, num_entities: int) -> Any:
    """Return which entities share a triple, a symmetric sparse matrix of bools without diagonal."""
    triples = validate_triples(triples, num_entities, _ANY).reshape(-1, 3)
    head, tail = triples[:, HEAD].cpu().numpy(), triples[:, TAIL].cpu().numpy()
    head, tail = head[head != tail], tail[head != tail]
    adjacency = scipy.sparse.csr_array(
        (np.ones(2 * len(head), dtype=bool), (np.concatenate([head, tail]), np.concatenate([tail, head]))),
        shape=(num_entities, num_entities),
    )
    adjacency.sum_duplicates()
    return adjacency


def _stretches(work: np.ndarray[Any, Any], limit: float) -> Iterator[tuple[int, int]]:
    """Divide rows into stretches of about so much work each."""
    cuts = np.flatnonzero(np.diff(np.cumsum(work) // limit)) + 1
    return pairwise([0, *cuts.tolist(), len(work)])


# All neighbours


def _exact(adjacency: Any, hops: int) -> Iterator[_Block]:
    """Find all neighbours; with rows of bits if most neighbourhoods are large, else with sparse products."""
    cells = adjacency.shape[0] ** 2
    reach = (adjacency + scipy.sparse.eye_array(adjacency.shape[0], dtype=bool, format="csr")).tocsr()
    work = np.diff(reach.indptr).astype(np.float64)  # how many products a row takes at most
    for _ in range(hops - 1):
        work = reach @ np.minimum(work, reach.nnz)
    if cells <= _MOST_CELLS and np.minimum(work, adjacency.shape[0]).sum() > _SHARE * cells:
        return _by_bits(reach, hops)
    return _by_products(reach, hops, work)


def _by_products(reach: Any, hops: int, work: np.ndarray[Any, Any]) -> Iterator[_Block]:
    for start, stop in _stretches(work, _PRODUCTS):
        block = reach[start:stop]
        for _ in range(hops - 1):
            block = block @ reach
        block.sort_indices()
        size = np.diff(block.indptr)
        own = block.indices == np.repeat(np.arange(start, stop), size)
        yield size - 1, block.indices[~own].astype(np.int32)


def _by_bits(reach: Any, hops: int) -> Iterator[_Block]:
    number = reach.shape[0]
    width = -(-number // 64) * 8
    rows = max(_BYTES // number, 1)
    bits = np.zeros((number, width), dtype=np.uint8)
    for start in range(0, number, rows):
        packed = np.packbits(reach[start : start + rows].toarray(), axis=1)
        bits[start : start + rows, : packed.shape[1]] = packed
    words = bits.view(np.uint64)
    entries = np.diff(reach.indptr)
    for _ in range(hops - 1):
        further = np.empty_like(words)
        for start, stop in _stretches(entries, _BYTES / width):
            first, last = reach.indptr[start], reach.indptr[stop]
            near = words[reach.indices[first:last]]
            further[start:stop] = np.bitwise_or.reduceat(near, reach.indptr[start:stop] - first, axis=0)
        words = further
    for start in range(0, number, rows):
        table = np.unpackbits(words[start : start + rows].view(np.uint8), axis=1, count=number).view(bool)
        height = np.arange(len(table))
        table[height, start + height] = False
        members = [np.flatnonzero(row).astype(np.int32) for row in table]  # faster than all rows at once
        yield np.array([len(part) for part in members]), np.concatenate(members)


# Some neighbours


def _walked(adjacency: Any, hops: int, walks: int, generator: torch.Generator) -> Iterator[_Block]:
    """Find what random walks visit."""
    number = adjacency.shape[0]
    begin, target = torch.from_numpy(adjacency.indptr).long(), torch.from_numpy(adjacency.indices).long()
    degree = begin.diff()
    largest = int(degree.max())
    for start, stop in _stretches(np.ones(number), max(_STEPS / (walks * hops), 1)):
        entities = torch.arange(start, stop)
        origin = entities[degree[start:stop] > 0].repeat_interleave(walks)
        here, keys = origin, []
        for _ in range(hops):
            step = draw_below(degree[here][:, None], (len(here), 1), generator, here.device, largest=largest)
            here = target[begin[here] + step.view(-1)]
            keys.append((origin * number + here)[here != origin])
        visited = np.sort(torch.cat(keys).numpy())
        visited = visited[np.diff(visited, prepend=-1) > 0]
        row = visited // number
        yield np.bincount(row - start, minlength=stop - start), (visited - row * number).astype(np.int32)
