"""What the known triples say about a triple that is not among them: popularity, links and co-occurrence."""

from __future__ import annotations

import logging
from typing import ClassVar

import numpy as np
import scipy.sparse
import torch

from kgneg.core.bits import KeyTable
from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.queries import Queries
from kgneg.core.typing import TAIL, FloatTensor, IntTensor, LongTensor
from kgneg.core.validation import validate_count, validate_triples

__all__ = ["PlausibilityFeatures"]

logger = logging.getLogger(__name__)

_FLOOR = 1e-3  # of what is reconstructed, before its logarithm
_DENSE = 1 << 26  # as many counts are held in a plain table
_CELLS = 1 << 22  # numbers that are gathered at once
_ROUNDS = 4
_MAX_BYTES = 1 << 30  # of the factors; where they would take more, the rank is lowered


class PlausibilityFeatures(BufferModule):
    r"""Features of candidates for :math:`(h, r, ?)` and :math:`(?, r, t)` that need nothing but known triples.

    ======================  =====================================================================================
    feature                 what it is
    ======================  =====================================================================================
    ``popularity``          :math:`\log(1 + n)`, how often the candidate is known at this end of the relation
    ``known``               :math:`\log(1 + n)`, how many completions of the pair are known
    ``size``                :math:`\log(1 + n)`, how many triples the relation has
    ``link``                1 where some known triple joins the candidate and the entity that stays
    ``affinity``            what a factorisation of the table of entities and pairs puts at this place
    ``log affinity``        its logarithm, from :math:`10^{-3}` on
    ======================  =====================================================================================

    The table has a row per entity, a column per pair of an entity and an end of a relation, and a one for each known
    triple; its truncated singular value decomposition is what recommenders call PureSVD (Cremonesi, Koren and Turrin,
    RecSys 2010): entities that complete the same pairs are taken to complete further pairs alike.

    :param triples: shape: ``(m, 3)``, the known triples
    :param num_entities: the number of entities
    :param num_relations: the number of relations
    :param rank: the rank of the factorisation; 0 leaves it out; lowered, with a warning, where its factors would take
        more than 1 GiB
    :param seed: the seed of the factorisation
    :raises InvalidInputError: if there are no triples, or ids are out of range

    >>> features = PlausibilityFeatures(torch.tensor([[0, 0, 1], [2, 0, 1]]), num_entities=4, num_relations=1, rank=1)
    >>> queries = Queries.from_triples(torch.tensor([[0, 0, 1]]), torch.tensor([2]))
    >>> features(queries, torch.tensor([[1, 3]], dtype=torch.int32))[..., 0].exp().round().tolist()
    [[3.0, 1.0]]
    """

    NAMES: ClassVar[tuple[str, ...]] = ("popularity", "known", "size", "link", "affinity", "log affinity")

    codes: LongTensor
    known: FloatTensor
    size: FloatTensor
    popularity: FloatTensor
    popular: LongTensor
    pair_factors: FloatTensor
    entity_factors: FloatTensor

    def __init__(
        self, triples: LongTensor, *, num_entities: int, num_relations: int, rank: int = 64, seed: int = 0
    ) -> None:
        super().__init__()
        self.num_entities = validate_count("num_entities", num_entities)
        self.num_relations = validate_count("num_relations", num_relations)
        validate_count("rank", rank, 0)
        triples = torch.unique(validate_triples(triples, num_entities, num_relations).reshape(-1, 3).cpu(), dim=0)
        if not len(triples):
            raise InvalidInputError("there are no known triples to learn from: give at least one")
        head, relation, tail = triples.unbind(-1)
        slots = torch.cat([relation, relation + num_relations])  # heads are asked for first
        kept, asked = torch.cat([tail, head]), torch.cat([head, tail])
        codes, column = torch.unique(slots * num_entities + kept, return_inverse=True)
        self.register_buffer("codes", codes)
        self.register_buffer("known", torch.bincount(column).float().log1p())
        self.register_buffer("size", torch.bincount(slots, minlength=2 * num_relations).float().log1p())
        popular, counts = torch.unique(slots * num_entities + asked, return_counts=True)
        table = torch.zeros(2 * num_relations * num_entities if 2 * num_relations * num_entities <= _DENSE else 0)
        if len(table):
            table[popular] = counts.float().log1p()
            popular = popular[:0]
        self.register_buffer("popularity", table if len(table) else counts.float().log1p())
        self.register_buffer("popular", popular)
        both = torch.cat([head * num_entities + tail, tail * num_entities + head])
        self.links = KeyTable(torch.unique(both).numpy(), 0, num_entities * num_entities)
        pair_factors, entity_factors = _factorise(asked, column, (num_entities, len(codes)), rank, seed)
        self.register_buffer("pair_factors", pair_factors)
        self.register_buffer("entity_factors", entity_factors)

    def forward(self, queries: Queries, ids: IntTensor) -> FloatTensor:
        """Return the features of candidates.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, candidates for each
        :returns: shape: ``(q, n, 6)``, in the order of :attr:`NAMES`
        """
        known, size, row = self.of_queries(queries)
        popularity, link, affinity = self.of_candidates(queries, row, ids)
        shape = ids.shape
        columns = (popularity, known[:, None].expand(shape), size[:, None].expand(shape), link, affinity)
        return torch.stack([*columns, affinity.clamp(min=_FLOOR).log()], dim=-1)

    def weighted(self, queries: Queries, ids: IntTensor, weights: FloatTensor) -> FloatTensor:
        """Return the weighted sum of the features, without writing them out.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, candidates for each
        :param weights: shape: ``(6,)``
        :returns: shape: ``(q, n)``
        """
        known, size, row = self.of_queries(queries)
        popularity, link, affinity = self.of_candidates(queries, row, ids)
        each = weights.tolist()
        total = popularity.mul_(each[0]).add_(link, alpha=each[3]).add_(affinity, alpha=each[4])
        total += (each[1] * known + each[2] * size)[:, None]
        return total.add_(affinity.clamp_(min=_FLOOR).log_(), alpha=each[5])

    def of_queries(self, queries: Queries) -> tuple[FloatTensor, FloatTensor, LongTensor]:
        """Return what depends on the pair alone.

        :param queries: ``q`` pairs
        :returns: ``known`` and ``size`` of each, and its row among the known pairs (-1: none), all of shape ``(q,)``
        """
        slot = self._slot(queries)
        code = slot * self.num_entities + queries.kept
        row = torch.searchsorted(self.codes, code).clamp_(max=len(self.codes) - 1)
        found = self.codes[row] == code
        return torch.where(found, self.known[row], 0.0), self.size[slot], torch.where(found, row, -1)

    def of_candidates(
        self, queries: Queries, row: LongTensor, ids: IntTensor
    ) -> tuple[FloatTensor, FloatTensor, FloatTensor]:
        """Return what depends on the candidate too.

        :param queries: ``q`` pairs
        :param row: shape: ``(q,)``, from :meth:`of_queries`
        :param ids: shape: ``(q, n)``, candidates for each
        :returns: ``popularity``, ``link`` and ``affinity``, all of shape ``(q, n)``
        """
        at = (self._slot(queries) * self.num_entities)[:, None] + ids
        if len(self.popular):
            place = torch.searchsorted(self.popular, at).clamp_(max=len(self.popular) - 1)
            popularity = torch.where(self.popular[place] == at, self.popularity[place], 0.0)
        else:
            popularity = self.popularity.index_select(0, at.reshape(-1)).view(at.shape)
        joined = (queries.kept * self.num_entities)[:, None] + ids
        link = self.links.contains(joined.reshape(-1)).view(at.shape).to(popularity.dtype)
        return popularity, link, self._affinity(row, ids)

    def _affinity(self, row: LongTensor, ids: IntTensor) -> FloatTensor:
        rank = self.entity_factors.shape[1]
        if not rank:
            return torch.zeros(ids.shape, device=ids.device)
        found = torch.empty(ids.shape, device=ids.device, dtype=self.pair_factors.dtype)
        step = max(1, _CELLS // (rank * (1 + ids.shape[1])))
        for begin in range(0, len(ids), step):
            part, own = ids[begin : begin + step], row[begin : begin + step]
            pairs = self.pair_factors.index_select(0, own.clamp(min=0)) * (own >= 0)[:, None]
            factors = self.entity_factors.index_select(0, part.reshape(-1)).view(*part.shape, rank)
            found[begin : begin + step] = torch.bmm(factors, pairs[:, :, None]).squeeze(-1)
        return found

    def _slot(self, queries: Queries) -> LongTensor:
        return queries.relation + (queries.side == TAIL) * self.num_relations


def _factorise(
    entity: LongTensor, column: LongTensor, shape: tuple[int, int], rank: int, seed: int
) -> tuple[FloatTensor, FloatTensor]:
    """Return factors of the columns, with the singular values, and of the rows of a table of zeros and ones."""
    fits = _MAX_BYTES // (4 * sum(shape))
    if rank > fits:
        logger.warning(
            "factors of rank %d for %d pairs and %d entities exceed %d bytes: taking rank %d",
            *(rank, shape[1], shape[0], _MAX_BYTES, fits),
        )
    rank = min(rank, min(shape) - 1, fits)
    if rank <= 0:
        return torch.zeros(shape[1], 0), torch.zeros(shape[0], 0)
    from sklearn.utils.extmath import randomized_svd

    ones = np.ones(len(entity), dtype=np.float32)
    table = scipy.sparse.csr_array((ones, (entity.numpy(), column.numpy())), shape=shape)
    left, values, right = randomized_svd(table, rank, n_iter=_ROUNDS, random_state=seed % 2**32)
    pairs = np.ascontiguousarray((right * values[:, None]).T, dtype=np.float32)
    return torch.from_numpy(pairs), torch.from_numpy(np.ascontiguousarray(left, dtype=np.float32))
