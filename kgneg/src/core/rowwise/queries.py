"""What the known part of a triple asks for, as a vector."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import torch

from kgneg.core.rowwise.candidates import Metric
from kgneg.core.typing import FloatTensor

__all__ = ["Combination", "triple_queries"]


class Combination(StrEnum):
    """How the vectors of a relation and of the entity that stays make a query."""

    #: ``h * r`` asks for a tail, ``r * t`` for a head
    PRODUCT = "product"
    #: complex ``h * r`` asks for a tail, ``conj(r) * t`` for a head
    ROTATION = "rotation"
    #: ``h + r`` asks for a tail, ``t - r`` for a head
    TRANSLATION = "translation"


def triple_queries(
    h: FloatTensor, r: FloatTensor, t: FloatTensor, combination: Combination, metric: Metric
) -> tuple[FloatTensor, FloatTensor]:
    """Score triples, and make the queries for replacing their ends.

    Complex vectors are compared as real ones of twice the length, real and imaginary parts in turn.

    :param h: shape: ``(b, d)``, heads
    :param r: shape: ``(b, d)``, relations
    :param t: shape: ``(b, d)``, tails
    :param combination: how queries are made; :attr:`Combination.ROTATION` takes complex vectors, the others real ones
    :param metric: how a query is compared with an entity
    :returns: the scores of the triples, shape ``(b, 1)``, and the queries, shape ``(2 b, d)`` (``2 d`` for complex
        vectors), those for head and tail of each triple in turn

    >>> h, r, t = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 5.0]]), torch.tensor([[4.0, 6.0]])
    >>> scores, queries = triple_queries(h, r, t, Combination.TRANSLATION, Metric.L1)
    >>> scores.tolist(), queries.tolist()
    ([[-1.0]], [[1.0, 1.0], [4.0, 7.0]])
    """
    scores, queries = _Compared.apply(h, r, t, combination, metric)  # type: ignore[no-untyped-call]
    return scores, queries


def _real(x: FloatTensor) -> FloatTensor:
    return torch.view_as_real(x).flatten(-2) if x.is_complex() else x


def _like(x: FloatTensor, other: FloatTensor) -> FloatTensor:
    """Return real numbers in the form of ``other``."""
    return torch.view_as_complex(x.reshape(*other.shape, 2)) if other.is_complex() else x


class _Compared(torch.autograd.Function):
    """The gradients are written out: autograd would keep and pass many small tensors."""

    @staticmethod
    def forward(
        ctx: Any, h: FloatTensor, r: FloatTensor, t: FloatTensor, combination: Combination, metric: Metric
    ) -> tuple[FloatTensor, FloatTensor]:
        queries = h.new_empty((len(h), 2, h.shape[-1]))
        if combination is Combination.TRANSLATION:
            torch.sub(t, r, out=queries[:, 0])
            torch.add(h, r, out=queries[:, 1])
        else:
            torch.mul(r.conj(), t, out=queries[:, 0])
            torch.mul(h, r, out=queries[:, 1])
        queries = _real(queries)
        tails, wanted = _real(t), queries[:, 1]
        # the direction in which the score of a triple grows, per unit, with its query
        if metric is Metric.DOT:
            scores, slope = torch.linalg.vecdot(wanted, tails).unsqueeze(-1), tails
        else:
            slope = tails - wanted
            p = 1 if metric is Metric.L1 else 2
            scores = torch.linalg.vector_norm(slope, p, dim=-1, keepdim=True)
            if metric is Metric.L1:
                slope.sign_()
            elif metric is Metric.SQUARED:
                scores.square_()
                slope.mul_(2)
            else:
                slope.div_(torch.where(scores == 0, 1, scores))
            scores.neg_()
        ctx.combination, ctx.metric = combination, metric
        ctx.save_for_backward(h, r, t, slope, queries)
        return scores, queries.flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: FloatTensor) -> tuple[FloatTensor, FloatTensor, FloatTensor, None, None]:
        h, r, t, slope, queries = ctx.saved_tensors
        of_scores, of_queries = gradients
        of_queries = of_queries.view(queries.shape)
        of_tail_query = torch.addcmul(of_queries[:, 1], of_scores, slope)
        of_t = of_scores * (queries[:, 1] if ctx.metric is Metric.DOT else -slope)
        of_tail_query, of_t = _like(of_tail_query, h), _like(of_t, h)
        of_head_query = _like(of_queries[:, 0], h)
        if ctx.combination is Combination.TRANSLATION:
            return of_tail_query, of_tail_query - of_head_query, of_t.add_(of_head_query), None, None
        of_h = of_tail_query * r.conj()
        of_r = of_tail_query.mul_(h.conj()).addcmul_(of_head_query.conj(), t)
        return of_h, of_r, of_t.addcmul_(of_head_query, r), None, None
