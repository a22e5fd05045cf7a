"""Negatives that the user brings."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.typing import HEAD, TAIL, LongTensor
from kgneg.core.validation import validate_triples

__all__ = ["GivenCorruptor"]


class GivenCorruptor(BufferModule, Corruptor):
    """Replace an end such that a given negative results.

    A given negative ``(h, r, t)`` serves every positive ``(h, r, ?)`` when the tail is replaced, and every positive
    ``(?, r, t)`` when the head is. Pairs without a given negative take the fall-back. With an index, given negatives
    that are known triples are never drawn; :attr:`num_known` counts them.

    :param negatives: shape: ``(k, 3)``, the given negatives
    :param options: the arguments of :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if there are none, or an id is out of range

    >>> given = GivenCorruptor(torch.tensor([[0, 0, 4]]), num_entities=5, num_relations=1, seed=0)
    >>> given(torch.tensor([[0, 0, 1]]), 2).triples[0, 1].tolist()
    [0, 0, 4]
    """

    citation: ClassVar[str] = "kgneg"
    codes: LongTensor

    def __init__(self, negatives: LongTensor, **options: Any) -> None:
        super().__init__(**options)
        negatives = validate_triples(negatives, self.num_entities, self.num_relations)
        if negatives.ndim != 2 or not len(negatives):
            raise InvalidInputError(f"negatives must be a non-empty table (k, 3), got shape {tuple(negatives.shape)}")
        #: how many of the given negatives are known triples
        self.num_known = 0
        if self.index is not None:
            known = self.index.contains(negatives)
            self.num_known = int(known.sum())
            negatives = negatives[~known]
        head, relation, tail = negatives.unbind(-1)
        codes = torch.cat([self._code(tail, relation, HEAD), self._code(head, relation, TAIL)])
        codes, rows = torch.unique(codes, return_inverse=True)
        self.register_buffer("codes", codes)
        self.pools = CandidateIndex.from_pairs(
            rows, torch.cat([head, tail]), num_rows=len(codes), num_columns=self.num_entities
        )

    def _code(self, kept: LongTensor, relation: LongTensor, side: int | LongTensor) -> LongTensor:
        return (kept * self.num_relations + relation) * 2 + (side == TAIL)

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Propose the ends of given negatives.

        :param queries: the pairs that need replacements
        :param n: the number of proposals per query
        :param generator: the source of randomness
        :returns: ids and hits of shape ``(q, n)``; a pair without a given negative gives no hit
        """
        if not len(self.codes):  # all were known
            nothing = queries.kept.new_zeros((len(queries), n))
            return nothing, nothing.bool()
        codes = self._code(queries.kept, queries.relation, queries.side)
        rows = torch.searchsorted(self.codes, codes).clamp_(max=len(self.codes) - 1)
        ids, hit = self.pools.sample(rows, n, generator)
        return ids, hit & (self.codes[rows] == codes)[:, None]
