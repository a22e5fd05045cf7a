"""Scores of queries against a pool of candidates that they share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from kgneg.core.rowwise.candidates import Metric
from kgneg.core.typing import FloatTensor

__all__ = ["pool_scores"]

#: About how many numbers are worked on at a time, so that they stay in a core's cache.
_BLOCK = 2**17


def pool_scores(queries: FloatTensor, pool: FloatTensor, metric: Metric) -> FloatTensor:
    """Compare every query with every vector of a pool.

    :param queries: shape: ``(*, q, d)``
    :param pool: shape: ``(*, k, d)``
    :param metric: how to compare
    :returns: shape: ``(*, q, k)``, differentiable in both

    >>> pool_scores(torch.tensor([[1.0, 2.0]]), torch.eye(2), Metric.L1).tolist()
    [[-2.0, -2.0]]
    """
    if metric is Metric.DOT:
        return queries @ pool.mT
    if metric is Metric.L1 and queries.device.type == "cpu":
        number = queries.shape[:-2].numel()
        flat = (part.reshape(number, *part.shape[-2:]) for part in (queries, pool))
        scores: FloatTensor = _AbsoluteDifferences.apply(*flat)  # type: ignore[no-untyped-call]
        return scores.view(*queries.shape[:-1], pool.shape[-2])
    short = queries.dtype in (torch.float16, torch.bfloat16)  # which cdist does not take
    distances = torch.cdist(
        queries.float() if short else queries.contiguous(),
        pool.float() if short else pool.contiguous(),
        p=1.0 if metric is Metric.L1 else 2.0,
        compute_mode="donot_use_mm_for_euclid_dist",
    ).to(queries.dtype)
    return -distances.square() if metric is Metric.SQUARED else -distances


class _AbsoluteDifferences(torch.autograd.Function):
    """Minus sums of absolute differences, for ``b`` pools at once.

    It works on blocks of differences, which are made again for the gradient; :func:`torch.cdist` looks at one pair at a
    time, and takes half as long again.
    """

    @staticmethod
    def forward(ctx: Any, queries: FloatTensor, pools: FloatTensor) -> FloatTensor:
        ctx.save_for_backward(queries, pools)
        scores = queries.new_empty((*queries.shape[:2], pools.shape[1]))
        for index, part, differences in _blocks(queries, pools):
            torch.sum(differences.abs_(), -1, out=scores[index, part])
        return scores.neg_()

    @staticmethod
    def backward(ctx: Any, *gradients: FloatTensor) -> tuple[FloatTensor, FloatTensor]:
        queries, pools = ctx.saved_tensors
        of_queries, of_pools = torch.empty_like(queries), torch.zeros_like(pools)
        for index, part, differences in _blocks(queries, pools):
            weights, signs = gradients[0][index, part], differences.sign_()
            of_queries[index, part] = torch.bmm(weights.unsqueeze(1), signs).squeeze(1)
            of_pools[index].sub_(signs.mul_(weights.unsqueeze(-1)).sum(0))
        return of_queries, of_pools


def _blocks(queries: FloatTensor, pools: FloatTensor) -> Iterator[tuple[int, slice, FloatTensor]]:
    """Yield the number of a pool, some of its queries, and ``pool - query``, shape ``(q, k, d)``, to be overwritten."""
    width, dim = pools.shape[1:]
    step = max(1, _BLOCK // max(1, width * dim))
    scratch = queries.new_empty((step, width, dim))
    for index in range(len(queries)):
        for start in range(0, queries.shape[1], step):
            block = queries[index, start : start + step].unsqueeze(1)
            yield index, slice(start, start + step), torch.sub(pools[index], block, out=scratch[: len(block)])
