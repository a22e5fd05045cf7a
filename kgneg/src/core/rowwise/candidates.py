"""Scores of candidates against queries, with gradients that are gathered by rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

import torch
from torch.nn import functional

from kgneg.core.errors import InvalidInputError
from kgneg.core.rowwise.table import Contribution, RowTable
from kgneg.core.typing import FloatTensor, LongTensor

__all__ = ["Candidates", "Metric", "candidate_scores"]

#: About how many numbers are worked on at a time, so that they stay in a core's cache.
_BLOCK = 2**17


class Metric(StrEnum):
    """How a candidate ``c`` is compared with a query ``q``; higher scores are more plausible."""

    #: the inner product
    DOT = "dot"
    #: minus the sum of absolute differences
    L1 = "l1"
    #: minus the Euclidean distance
    L2 = "l2"
    #: minus the squared Euclidean distance
    SQUARED = "squared"


@dataclass(frozen=True)
class Candidates:
    """Which candidates belong to which query, as compressed rows.

    :param ids: shape: ``(n,)``, int64, rows of the table
    :param offsets: shape: ``(q + 1,)``, int64; query ``i`` has the candidates ``ids[offsets[i]:offsets[i + 1]]``
    :param each: the number of candidates per query when all have the same, otherwise ``None``

    >>> Candidates.from_matrix(torch.tensor([[4, 5], [6, 7]])).owners.tolist()
    [0, 0, 1, 1]
    """

    ids: LongTensor
    offsets: LongTensor
    each: int | None = None

    @classmethod
    def from_matrix(cls, ids: LongTensor) -> Candidates:
        """Take the same number of candidates for each query.

        :param ids: shape: ``(q, k)``, rows of the table
        :returns: the candidates
        """
        queries, each = ids.shape
        offsets = torch.arange(queries + 1, device=ids.device) * each
        return cls(ids.reshape(-1).long(), offsets, each)

    @classmethod
    def from_counts(cls, ids: LongTensor, counts: LongTensor) -> Candidates:
        """Take as many candidates for each query as given.

        :param ids: shape: ``(n,)``, rows of the table, those of the first query first
        :param counts: shape: ``(q,)``, how many are of each query
        :returns: the candidates
        """
        offsets = torch.zeros(len(counts) + 1, dtype=torch.int64, device=ids.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        return cls(ids.reshape(-1).long(), offsets)

    @property
    def owners(self) -> LongTensor:
        """The query of each candidate, shape ``(n,)``."""
        queries = torch.arange(len(self.offsets) - 1, device=self.ids.device)
        if self.each is not None:
            return queries.repeat_interleave(self.each)
        return queries.repeat_interleave(self.offsets.diff(), output_size=len(self.ids))


def candidate_scores(table: RowTable, queries: FloatTensor, candidates: Candidates, metric: Metric) -> FloatTensor:
    """Compare each query with its candidates.

    Neither the inner product nor its gradient ever writes the vectors of all candidates: scores are computed where the
    vectors lie, the gradient of a query is a weighted sum of rows of the table, and that of a row is a weighted sum of
    queries. For distances the differences are kept in the table's workspace until the gradient is needed.

    :param table: the table of the candidates
    :param queries: shape: ``(q, d)``
    :param candidates: rows of the table for each query
    :param metric: how to compare
    :returns: shape: ``(n,)``, the scores in the order of ``candidates.ids``; differentiable in the queries and, through
        :meth:`RowTable.flush`, in the table
    :raises InvalidInputError: if the shapes do not fit

    >>> table = RowTable(torch.nn.Parameter(torch.eye(3)))
    >>> candidates = Candidates.from_matrix(torch.tensor([[0, 2]]))
    >>> candidate_scores(table, torch.tensor([[5.0, 6.0, 7.0]]), candidates, Metric.DOT).tolist()
    [5.0, 7.0]
    """
    if queries.shape != (len(candidates.offsets) - 1, table.dim):
        raise InvalidInputError(
            f"candidates of {len(candidates.offsets) - 1} queries in a table of dimension {table.dim} need queries of "
            f"shape ({len(candidates.offsets) - 1}, {table.dim}), got {tuple(queries.shape)}"
        )
    function = _Products if metric is Metric.DOT else _Distances
    if not torch.is_grad_enabled():
        return function.values(table, queries, candidates, metric, keep=False)[0]
    scores: FloatTensor = function.apply(queries, table.anchor, table, candidates, metric)  # type: ignore[no-untyped-call]
    return scores


@cache
def _quiet() -> None:
    """Let torch say once, unheard, that sparse rows are in beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor([0, 1], [0], [1.0], (1, 1))


class _Products(torch.autograd.Function):
    """Inner products."""

    @staticmethod
    def values(
        table: RowTable, queries: FloatTensor, candidates: Candidates, metric: Metric, *, keep: bool
    ) -> tuple[FloatTensor, None]:
        """Return the scores."""
        weight = table.weight.detach()
        # torch takes no pattern with more numbers than the matrix that it is taken from
        fits = len(candidates.ids) <= len(queries) * table.num_rows
        if fits and weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64):
            _quiet()
            pattern = torch.sparse_csr_tensor(
                candidates.offsets,
                candidates.ids,
                weight.new_zeros(len(candidates.ids)),
                (len(queries), table.num_rows),
                check_invariants=False,
            )
            return torch.sparse.sampled_addmm(pattern, queries.contiguous(), weight.t(), beta=0.0).values(), None
        rows = weight.index_select(0, candidates.ids)
        if candidates.each is not None:
            return torch.bmm(rows.view(len(queries), candidates.each, -1), queries.unsqueeze(-1)).reshape(-1), None
        return rows.mul_(queries.index_select(0, candidates.owners)).sum(-1), None

    @staticmethod
    def forward(
        ctx: Any,
        queries: FloatTensor,
        anchor: FloatTensor,
        table: RowTable,
        candidates: Candidates,
        metric: Metric,
    ) -> FloatTensor:
        ctx.table, ctx.candidates = table, candidates
        ctx.save_for_backward(queries)
        return _Products.values(table, queries, candidates, metric, keep=True)[0]

    @staticmethod
    def backward(ctx: Any, *gradients: FloatTensor) -> tuple[FloatTensor | None, None, None, None, None]:
        (queries,) = ctx.saved_tensors
        table, candidates, weights = ctx.table, ctx.candidates, gradients[0].contiguous()
        table.add(Contribution(candidates.ids, queries, candidates.owners, weights))
        if not ctx.needs_input_grad[0]:
            return None, None, None, None, None
        bags = functional.embedding_bag(
            candidates.ids,
            table.weight.detach(),
            candidates.offsets,
            mode="sum",
            per_sample_weights=weights,
            include_last_offset=True,
        )
        return bags, None, None, None, None


class _Distances(torch.autograd.Function):
    """Minus distances; differences (for L1: their signs) are kept for the gradient."""

    @staticmethod
    def values(
        table: RowTable, queries: FloatTensor, candidates: Candidates, metric: Metric, *, keep: bool
    ) -> tuple[FloatTensor, FloatTensor]:
        """Return the scores, and the differences candidate minus query or their signs, shape ``(n, d)``."""
        ids, weight, owners = candidates.ids, table.weight.detach(), candidates.owners
        number, step = len(ids), max(1, _BLOCK // table.dim) if table.weight.device.type == "cpu" else max(1, len(ids))
        scores = weight.new_empty(number)
        kept = table.workspace(number if keep else min(step, number), 3 * len(queries) if keep else 0)
        absolute = weight.new_empty((min(step, number), table.dim)) if metric is Metric.L1 else None
        for start in range(0, number, step):
            stop = min(start + step, number)
            block = kept[start:stop] if keep else kept[: stop - start]
            torch.index_select(weight, 0, ids[start:stop], out=block)
            block.sub_(queries.detach().index_select(0, owners[start:stop]))
            if absolute is not None:
                part = absolute[: stop - start]
                torch.sum(torch.abs(block, out=part), -1, out=scores[start:stop])
                if keep:
                    block.sign_()
            else:
                torch.linalg.vector_norm(block, 2, dim=-1, out=scores[start:stop])
        if metric is Metric.SQUARED:
            scores.square_()
        return scores.neg_(), kept

    @staticmethod
    def forward(
        ctx: Any,
        queries: FloatTensor,
        anchor: FloatTensor,
        table: RowTable,
        candidates: Candidates,
        metric: Metric,
    ) -> FloatTensor:
        scores, kept = _Distances.values(table, queries, candidates, metric, keep=True)
        ctx.table, ctx.candidates, ctx.metric, ctx.kept = table, candidates, metric, kept
        ctx.save_for_backward(scores)
        return scores

    @staticmethod
    def backward(ctx: Any, *gradients: FloatTensor) -> tuple[FloatTensor | None, None, None, None, None]:
        (scores,) = ctx.saved_tensors
        candidates, gradient = ctx.candidates, gradients[0]
        if ctx.metric is Metric.L1:
            weights = -gradient
        elif ctx.metric is Metric.SQUARED:
            weights = -2 * gradient
        else:
            # the derivative of a distance of zero is taken as zero
            weights = torch.where(scores == 0, 0.0, gradient / scores)
        ctx.table.add(Contribution(candidates.ids, ctx.kept, None, weights))
        if not ctx.needs_input_grad[0]:
            return None, None, None, None, None
        bags = functional.embedding_bag(
            torch.arange(len(candidates.ids), device=gradient.device),
            ctx.kept,
            candidates.offsets,
            mode="sum",
            per_sample_weights=weights,
            include_last_offset=True,
        )
        return bags.neg_(), None, None, None, None
