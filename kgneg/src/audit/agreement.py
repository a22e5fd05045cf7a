"""Whether an entity is of the sort of the one that it replaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse

from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, LongTensor

__all__ = ["TypeAgreement"]

_WORD = 63  # bits of a signed integer that are used
_MAX_WORDS = 1 << 24  # 128 MB of bits; larger tables are compared as sparse matrices


class TypeAgreement:
    """Types of entities, and the entities seen at each end of each relation.

    Without types of its own, the graph is taken to have one type per relation and end: that of the entities seen there
    in training.

    :param train: shape: ``(m, 3)``, the training triples
    :param types: shape: ``(k, 2)``, pairs of entity and type, or ``None``
    :param num_entities: the number of entities
    :param num_relations: the number of relations

    >>> train = torch.tensor([[0, 0, 1], [2, 0, 3]])
    >>> agreement = TypeAgreement(train, None, num_entities=4, num_relations=1)
    >>> agreement.shares(torch.tensor([0, 0]), torch.tensor([2, 3])).tolist()
    [True, False]
    >>> agreement.fits(torch.tensor([0]), torch.tensor([0]), torch.tensor([2])).tolist()
    [True]
    """

    def __init__(self, train: LongTensor, types: LongTensor | None, *, num_entities: int, num_relations: int) -> None:
        self.num_entities, self.num_relations = num_entities, num_relations
        self.source = "slots" if types is None else "types"
        slots = torch.cat([self._slots(train, HEAD), self._slots(train, TAIL)])
        self._seen = torch.unique(slots[:, 1] * num_entities + slots[:, 0])
        pairs = (slots if types is None else types).numpy()
        kinds, columns = np.unique(pairs[:, 1], return_inverse=True)
        self.num_types = len(kinds)
        words = -(-len(kinds) // _WORD)
        self._bits: LongTensor | None = None
        self._table: Any = None
        if num_entities * words <= _MAX_WORDS:
            bits = np.zeros((num_entities, words), dtype=np.int64)
            np.bitwise_or.at(bits, (pairs[:, 0], columns // _WORD), np.int64(1) << (columns % _WORD))
            self._bits = torch.from_numpy(bits)
        else:
            ones = np.ones(len(pairs), dtype=np.int32)
            self._table = sparse.csr_array((ones, (pairs[:, 0], columns)), shape=(num_entities, len(kinds)))

    def _slots(self, triples: LongTensor, end: int) -> LongTensor:
        """Return pairs of an entity and the slot in which it stands, shape ``(m, 2)``."""
        return torch.stack([triples[:, end], 2 * triples[:, RELATION] + end // TAIL], dim=-1)

    def shares(self, first: LongTensor, second: LongTensor) -> BoolTensor:
        """Return which pairs of entities have a type in common.

        :param first: shape: ``(n,)``
        :param second: shape: ``(n,)``
        :returns: shape: ``(n,)``
        """
        if self._bits is not None:
            return (self._bits.index_select(0, first) & self._bits.index_select(0, second)).any(dim=-1)
        common = self._table[first.numpy()].multiply(self._table[second.numpy()]).sum(axis=1)
        return torch.from_numpy(np.asarray(common).reshape(-1) > 0)

    def fits(self, relation: LongTensor, end: LongTensor, entity: LongTensor) -> BoolTensor:
        """Return which entities are seen at an end of a relation in training.

        :param relation: shape: ``(n,)``
        :param end: shape: ``(n,)``, 0 for the head and 2 for the tail
        :param entity: shape: ``(n,)``
        :returns: shape: ``(n,)``
        """
        keys = (2 * relation + end // TAIL) * self.num_entities + entity
        place = torch.searchsorted(self._seen, keys).clamp_(max=len(self._seen) - 1)
        found: BoolTensor = self._seen[place] == keys
        return found
