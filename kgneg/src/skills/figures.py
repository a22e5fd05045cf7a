"""How good rankings of concepts are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import validate_count

__all__ = ["RankingFigures", "judge_ranking"]


@dataclass(frozen=True)
class RankingFigures:
    """What rankings are worth.

    :param mrr: the mean of one over the rank of the best placed right concept, in ``[0, 1]``
    :param precision: for each ``k`` the mean R-precision at k, in ``[0, 1]``: right ones among the first ``k``, over
        the smaller one of ``k`` and the number of right ones
    :param queries: how many texts were judged
    :param skipped: how many have no right concept, and do not count
    """

    mrr: float
    precision: dict[int, float]
    queries: int
    skipped: int


def judge_ranking(
    scores: FloatTensor, queries: LongTensor, concepts: LongTensor, ks: Sequence[int] = (1, 5, 10)
) -> RankingFigures:
    r"""Judge the scores of all concepts for texts.

    .. math:: \mathrm{RP@}k = \frac{1}{|Q|} \sum_q \frac{|G_q \cap \mathrm{top}_k(q)|}{\min(k, |G_q|)}

    Concepts of equal scores share their places: ranks and hits are means over all orders.

    Source: Decorte et al., RecSys in HR 2022.

    :param scores: shape: ``(q, n)``, no NaN
    :param queries: shape: ``(g,)``, the text of each right pair
    :param concepts: shape: ``(g,)``, its concept
    :param ks: the cut-offs
    :returns: the figures
    :raises InvalidInputError: if there is no right pair, or a number is out of range

    >>> found = judge_ranking(torch.tensor([[0.9, 0.1, 0.5]]), torch.tensor([0, 0]), torch.tensor([0, 1]), ks=[1, 2])
    >>> found.mrr, found.precision
    (1.0, {1: 1.0, 2: 0.5})
    """
    for k in ks:
        validate_count("k", k)
    if not len(queries):
        raise InvalidInputError("there is no right pair of a text and a concept to judge by")
    for what, ids, limit in (("text", queries, len(scores)), ("concept", concepts, scores.shape[1])):
        if int(ids.min()) < 0 or int(ids.max()) >= limit:
            raise InvalidInputError(f"{what} {int(ids.max())} is out of range: there are {limit}")
    wrong = scores.isnan().any(-1).nonzero()
    if len(wrong):
        raise InvalidInputError(f"the scores of text {int(wrong[0])} hold NaN")
    pairs = torch.unique(torch.stack([queries, concepts], dim=-1), dim=0)
    rows, members = pairs.unbind(-1)
    number = torch.bincount(rows, minlength=len(scores))
    own = scores[rows, members, None]
    table = scores[rows]
    above = (table > own).sum(-1)
    equal = (table == own).sum(-1)
    key = torch.stack([rows, above], dim=-1)  # right ones with equal scores share this
    _, group, alike = torch.unique(key, dim=0, return_inverse=True, return_counts=True)
    rank = above + (equal + 1) / (alike[group] + 1)  # the mean, over all orders, of the best of them
    best = torch.full((len(scores),), torch.inf, dtype=torch.float64).scatter_reduce_(0, rows, rank.double(), "amin")
    judged = number > 0
    precision = {}
    for k in ks:
        # the share of the orders of equal ones in which this one is among the first k
        inside = ((k - above).clamp(min=0) / equal).clamp(max=1).double()
        hits = torch.zeros(len(scores), dtype=torch.float64).index_add_(0, rows, inside)
        precision[k] = float((hits[judged] / number[judged].clamp(max=k)).mean())
    return RankingFigures(float(best[judged].reciprocal().mean()), precision, int(judged.sum()), int((~judged).sum()))
