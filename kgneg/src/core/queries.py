"""What a method is asked."""

from __future__ import annotations

from functools import cached_property, lru_cache

import torch

from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor

__all__ = ["Queries"]


@lru_cache(maxsize=8)
def _ends(number: int, device: torch.device) -> LongTensor:
    """Return ``0, 2, 0, 2, ...``, shape ``(2 * number,)``."""
    return torch.tensor([HEAD, TAIL], device=device).repeat(number)


@lru_cache(maxsize=8)
def _end(column: int, device: torch.device) -> LongTensor:
    return torch.tensor([column], device=device)


class Queries:
    """What a method is asked: one row per pair that needs replacements.

    :param kept: shape: ``(q,)``, int64, the entity that stays
    :param relation: shape: ``(q,)``, int64, the relation
    :param replaced: shape: ``(q,)``, int64, the entity that is replaced
    :param side: shape: ``(q,)``, int64, the column of the replaced entity, 0 or 2

    >>> Queries.from_triples(torch.tensor([[7, 0, 9]]), torch.tensor([2])).kept.tolist()
    [7]
    """

    def __init__(self, kept: LongTensor, relation: LongTensor, replaced: LongTensor, side: LongTensor) -> None:
        self.kept, self.relation, self.replaced, self.side = kept, relation, replaced, side

    @classmethod
    def from_triples(cls, triples: LongTensor, side: LongTensor) -> Queries:
        """Build the queries for replacing one end of each triple.

        :param triples: shape: ``(q, 3)``
        :param side: shape: ``(q,)``, the column to replace
        :returns: ``q`` queries
        """
        head, relation, tail = triples.unbind(-1)
        at_head = side == HEAD
        return cls(torch.where(at_head, tail, head), relation, torch.where(at_head, head, tail), side)

    @classmethod
    def even(cls, positives: LongTensor, heads: int, n: int) -> Queries:
        """Build one query per positive and end, when all positives have the same number of each end.

        :param positives: shape: ``(batch, 3)``
        :param heads: how many of the ``n`` negatives of each positive replace the head: 0, ``n / 2`` or ``n``
        :param n: the number of negatives per positive
        :returns: queries in the order of the positives, the head of each before its tail
        """
        head, relation, tail = positives.unbind(-1)
        if heads == n:
            return cls(tail, relation, head, _end(HEAD, head.device).expand(len(head)))
        if heads == 0:
            return cls(head, relation, tail, _end(TAIL, head.device).expand(len(head)))
        return _BothEnds(positives)

    @classmethod
    def uneven(cls, positives: LongTensor, heads: int | LongTensor, n: int) -> Queries:
        """Build one query per negative; among those of a positive the heads come first.

        :param positives: shape: ``(batch, 3)``
        :param heads: how many negatives replace the head: one number, or shape ``(batch,)``
        :param n: the number of negatives per positive
        :returns: ``batch * n`` queries
        """
        slots = torch.arange(n, device=positives.device)
        limit = heads if isinstance(heads, int) else heads[:, None]
        side = torch.where(slots < limit, HEAD, TAIL).expand(len(positives), n).reshape(-1)
        return cls.from_triples(positives[:, None].expand(-1, n, 3).reshape(-1, 3), side)

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, rows: LongTensor) -> Queries:
        return _Selection(self, rows)

    def turned(self) -> Queries:
        """Return the same triples with the other end replaced."""
        return Queries(self.replaced, self.relation, self.kept, TAIL - self.side)


class _Selection(Queries):
    """Some rows of other queries; a field is gathered when a method first looks at it."""

    def __init__(self, source: Queries, rows: LongTensor) -> None:
        self._source, self._rows = source, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getattr__(self, name: str) -> LongTensor:
        if name not in ("kept", "relation", "replaced", "side"):
            raise AttributeError(name)
        value: LongTensor = getattr(self._source, name).index_select(0, self._rows)
        setattr(self, name, value)
        return value


class _BothEnds(Queries):
    """Head and tail of each positive in turn; a field is made when somebody first looks at it."""

    def __init__(self, flat: LongTensor) -> None:
        self._flat = flat

    def __len__(self) -> int:
        return 2 * len(self._flat)

    @cached_property
    def replaced(self) -> LongTensor:  # type: ignore[override]
        return self._flat[:, ::TAIL].reshape(-1)

    @cached_property
    def kept(self) -> LongTensor:  # type: ignore[override]
        return self.replaced.view(-1, 2).flip(-1).view(-1)

    @cached_property
    def relation(self) -> LongTensor:  # type: ignore[override]
        return self._flat[:, RELATION].repeat_interleave(2)

    @cached_property
    def side(self) -> LongTensor:  # type: ignore[override]
        return _ends(len(self._flat), self._flat.device)
