"""Entities of the same kind."""

from __future__ import annotations

import torch

from kgneg.core.bits import KeyTable
from kgneg.core.candidates import CandidateIndex
from kgneg.core.draws import draw_below
from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.typing import BoolTensor, IntTensor, LongTensor

__all__ = ["SharedKinds"]


class SharedKinds(BufferModule):
    """Says which entities share a kind with another one, and draws such entities.

    :param kinds: entities x kinds
    :param num_entities: the number of entities
    :raises InvalidInputError: if the sizes do not fit, or no entity has a kind

    >>> kinds = SharedKinds(CandidateIndex.from_lists([[0], [0, 1], [1], []], num_columns=2), 4)
    >>> kinds.shared(torch.tensor([0, 3]), torch.tensor([[1, 2], [0, 1]])).tolist()
    [[True, False], [True, True]]
    """

    def __init__(self, kinds: CandidateIndex, num_entities: int) -> None:
        super().__init__()
        if kinds.num_rows != num_entities:
            raise InvalidInputError(f"kinds of {kinds.num_rows} entities do not fit {num_entities} entities")
        if not len(kinds.indices):
            raise InvalidInputError("no entity has a kind, so none can be required: leave require out")
        self.kinds = kinds
        entity, kind = kinds.pairs()
        self.width = kinds.num_columns
        self.members = CandidateIndex.from_pairs(kind, entity, num_rows=self.width, num_columns=num_entities)
        self.pairs = KeyTable((entity * self.width + kind).cpu().numpy(), 0, num_entities * self.width)

    def shared(self, entities: LongTensor, ids: torch.Tensor) -> BoolTensor:
        """Return which candidates share a kind with an entity.

        :param entities: shape: ``(q,)``
        :param ids: shape: ``(q, n)``
        :returns: shape: ``(q, n)``; always where the entity has no kind
        """
        size = self.kinds.size(entities)
        row = torch.repeat_interleave(torch.arange(len(size), device=size.device), size)
        first = self.kinds.indptr[entities] - size.cumsum(0) + size
        kind = self.kinds.indices[torch.arange(len(row), device=row.device) + first[row]].long()
        found = self.pairs.contains((ids.long().index_select(0, row) * self.width + kind[:, None]).view(-1))
        count = torch.zeros(ids.shape, dtype=torch.int32, device=ids.device)
        count.index_add_(0, row, found.view(len(row), ids.shape[-1]).int())
        return (count > 0) | (size == 0)[:, None]

    def sample(self, entities: LongTensor, n: int, generator: torch.Generator) -> tuple[IntTensor, BoolTensor]:
        """Draw entities: one of the kinds at random, then one of its members.

        :param entities: shape: ``(q,)``
        :param n: the number of draws for each
        :param generator: the source of randomness
        :returns: ids of shape ``(q, n)``, and whether they are real: not for an entity without kind
        """
        size = self.kinds.size(entities)
        place = draw_below(size[:, None], (len(entities), n), generator, entities.device, largest=self.kinds.longest)
        at = (place + self.kinds.indptr[entities][:, None]).clamp_(max=len(self.kinds.indices) - 1)
        kind = self.kinds.indices[at].long()
        ids, _ = self.members.sample(kind.view(-1), 1, generator)
        return ids.view(len(entities), n), (size > 0)[:, None].expand(len(entities), n)
