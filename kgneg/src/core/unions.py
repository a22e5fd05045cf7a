"""Unions of pools, planned once."""

from __future__ import annotations

import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.draws import draw_union
from kgneg.core.modules import BufferModule
from kgneg.core.typing import BoolTensor, IntTensor, LongTensor

__all__ = ["UnionIndex"]


class UnionIndex(BufferModule):
    """Pools that are unions of the rows of other pools.

    Equal unions are held once. Their members are written out, which is drawn from faster, unless that would take more
    than ``limit`` members; then the parts are looked up in the rows where they are.

    :param pools: pools without weights
    :param rows: shape: ``(unions, c)``, the rows to unite; the rows of one union should share no member
    :param limit: the largest number of members to write out

    >>> clusters = CandidateIndex.from_lists([[0, 3], [1], [2]], num_columns=4)
    >>> unions = UnionIndex(clusters, torch.tensor([[0, 2], [1, 2]]))
    >>> unions.sample(torch.tensor([1]), 50)[0].unique().tolist()
    [1, 2]
    """

    indices: IntTensor
    which: LongTensor
    ends: IntTensor
    shifts: IntTensor

    def __init__(self, pools: CandidateIndex, rows: LongTensor, *, limit: int = 1 << 18) -> None:
        super().__init__()
        distinct, which = torch.unique(rows.sort(dim=-1).values, dim=0, return_inverse=True)
        if rows.shape[1] > 1 and int(pools.size(distinct).sum()) <= limit:
            pools, distinct = pools.unite(distinct), torch.arange(len(distinct), device=rows.device)[:, None]
        start = pools.indptr[distinct]
        sizes = pools.indptr[distinct + 1] - start
        ends = sizes.cumsum(-1)
        self.register_buffer("indices", pools.indices)
        self.register_buffer("which", which)
        self.register_buffer("ends", ends.int())
        self.register_buffer("shifts", (start - ends + sizes).int())

    def sample(
        self, unions: LongTensor, n: int, generator: torch.Generator | None = None
    ) -> tuple[IntTensor, BoolTensor]:
        """Draw members of unions with replacement.

        :param unions: shape: ``(q,)``
        :param n: the number of draws per union
        :param generator: the source of randomness; ``None`` takes torch's default generator
        :returns: a pair ``(ids, hit)`` of shape ``(q, n)``: int32 ids, and whether they are real draws; an empty union
            gives ``False`` and an arbitrary valid id
        """
        unions = self.which.index_select(0, unions)
        ends, shifts = self.ends.index_select(0, unions), self.shifts.index_select(0, unions)
        return draw_union(self.indices, ends, shifts, n, generator)
