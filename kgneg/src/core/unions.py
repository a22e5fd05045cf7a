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
    plan: IntTensor

    def __init__(self, pools: CandidateIndex, rows: LongTensor, *, limit: int = 1 << 18) -> None:
        super().__init__()
        distinct, which = torch.unique(rows.sort(dim=-1).values, dim=0, return_inverse=True)
        if rows.shape[1] > 1 and int(pools.size(distinct).sum()) <= limit:
            pools, distinct = pools.unite(distinct), torch.arange(len(distinct), device=rows.device)[:, None]
        start = pools.indptr[distinct]
        sizes = pools.indptr[distinct + 1] - start
        ends = sizes.cumsum(-1)
        self.register_buffer("indices", pools.indices)
        # for each union where its parts end, and how far they are from where they stand in `indices`
        self.register_buffer("plan", torch.cat([ends, start - ends + sizes], dim=-1).int()[which])
        self._derive()

    def _derive(self) -> None:
        self.parts = self.plan.shape[1] // 2
        self.never_empty = bool((self.plan[:, self.parts - 1] > 0).all())

    def sample(
        self, unions: LongTensor, n: int, generator: torch.Generator | None = None
    ) -> tuple[IntTensor, BoolTensor | None]:
        """Draw members of unions with replacement.

        :param unions: shape: ``(q,)``
        :param n: the number of draws per union
        :param generator: the source of randomness; ``None`` takes torch's default generator
        :returns: a pair ``(ids, hit)`` of shape ``(q, n)``: int32 ids, and whether they are real draws (``None``: all
            are); an empty union gives ``False`` and an arbitrary valid id
        """
        if not len(self.indices):
            shape = (len(unions), n)
            return unions.new_zeros(shape, dtype=torch.int32), unions.new_zeros(shape, dtype=torch.bool)
        plan = self.plan.index_select(0, unions)
        ends, shifts = plan[:, : self.parts], plan[:, self.parts :]
        return draw_union(self.indices, ends, shifts, n, generator, never_empty=self.never_empty)
