"""What the neighbours of rows say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from kgneg.core.neighbours import Neighbours, find_neighbours
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import BoolTensor, FloatTensor, LongTensor

__all__ = ["Evidence", "cell_rates", "gather_evidence"]

_SMOOTHING = 0.1  # pretended neighbours, of the average row
_NEAREST = 10  # positives whose cosine counts
_ALL_UP_TO = 60_000  # rows of which all are compared, if need be
_SAMPLE = 30_000  # negatives that are compared with otherwise
_RECALL = 0.95
_PURPOSE = 0x65766964
_CELL = 10.0  # pretended rows of a category


@dataclass(frozen=True, eq=False)
class Evidence:
    """Neighbours of rows, and numbers that a model can learn from.

    :param features: shape: ``(n, 6)``: log shares of positives among the nearest ``k / 3``, ``k`` and ``2 k`` rows,
        mean cosine to the nearest ten positives, mean cosine to the negatives among the neighbours, largest cosine to a
        positive
    :param positives: shape: ``(n, m)``, int32, the nearest positives; -1 where there are no more
    :param cosine: shape: ``(n, m)``, their cosines
    :param recall: which share of the exact neighbours was found
    """

    features: FloatTensor
    positives: torch.Tensor
    cosine: FloatTensor
    recall: float


def gather_evidence(
    space: FloatTensor,
    positive: BoolTensor,
    groups: LongTensor,
    *,
    k: int,
    number: int,
    index: str,
    seed: int,
    progress: bool,
) -> Evidence:
    """Find the neighbours of all rows, and their nearest positives, in other groups.

    :param space: shape: ``(n, p)``
    :param positive: shape: ``(n,)``
    :param groups: shape: ``(n,)``
    :param k: how many neighbours count; shares are taken among a third, all and twice as many
    :param number: how many positives to return
    :param index: see :func:`~kgneg.core.neighbours.find_neighbours`
    :param seed: the seed of the clusters
    :param progress: whether to show progress bars
    :returns: the evidence
    """
    near = _near(space, positive, groups, 2 * k, index=index, seed=seed, progress=progress)
    there = near.ids >= 0
    hit = positive[near.ids.clamp(min=0).long()] & there
    weight = near.cosine.clamp(min=0)
    average = float(positive.double().mean())
    sums = [(weight * hit).cumsum(dim=-1), weight.cumsum(dim=-1)]
    sizes = (max(k // 3, 1), k, 2 * k)
    shares = [(sums[0][:, size - 1] + _SMOOTHING * average) / (sums[1][:, size - 1] + _SMOOTHING) for size in sizes]
    false = (there & ~hit).float()
    to_negatives = (near.cosine.nan_to_num(neginf=0.0) * false).sum(-1) / false.sum(-1).clamp(min=1)
    rows = positive.nonzero().squeeze(-1)
    support = find_neighbours(
        space,
        space[rows],
        max(number, _NEAREST),
        query_groups=groups,
        reference_groups=groups[rows],
        index=index,
        seed=seed,
    )
    known = support.ids >= 0
    cosine = support.cosine.masked_fill(~known, 0.0)
    to_positives = cosine[:, :_NEAREST].sum(-1) / known[:, :_NEAREST].sum(-1).clamp(min=1)
    features = torch.stack(
        [*(share.clamp(min=1e-6).log() for share in shares), to_positives, to_negatives, cosine[:, 0]], dim=-1
    )
    positives = torch.where(known, rows[support.ids.clamp(min=0).long()].int(), -1)
    return Evidence(features, positives[:, :number], support.cosine[:, :number], near.recall)


def _near(
    space: FloatTensor,
    positive: BoolTensor,
    groups: LongTensor,
    number: int,
    *,
    index: str,
    seed: int,
    progress: bool,
) -> Neighbours:
    """Find neighbours; among very many rows, which cannot be searched by clusters, those of a sample of the negatives.

    A thinner negative class makes all shares of positives larger, and leaves their order: what is made of them is
    learnt afterwards.
    """
    search = partial(find_neighbours, query_groups=groups, seed=seed, progress=progress)
    if index != "auto" or len(space) <= _ALL_UP_TO:
        return search(space, space, number, reference_groups=groups, index=index)
    found = search(space, space, number, reference_groups=groups, index="ivf", least_recall=_RECALL)
    if found.recall:
        return found
    negatives = (~positive).nonzero().squeeze(-1)
    generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE))
    chosen = torch.randperm(len(negatives), generator=generator)[:_SAMPLE].to(space.device)
    rows = torch.cat([positive.nonzero().squeeze(-1), negatives[chosen]]).sort().values
    found = search(space, space[rows], number, reference_groups=groups[rows], index="exact")
    there = found.ids >= 0
    return found._replace(ids=torch.where(there, rows[found.ids.clamp(min=0).long()].int(), -1))


def cell_rates(cells: LongTensor, positive: BoolTensor, folds: LongTensor) -> FloatTensor:
    """Return the log share of positives in the category of each row, counted in the other folds and smoothed.

    :param cells: shape: ``(n,)``, categories
    :param positive: shape: ``(n,)``
    :param folds: shape: ``(n,)``
    :returns: shape: ``(n,)``
    """
    number, size = int(folds.max()) + 1, int(cells.max()) + 1
    place = folds * size + cells
    hits = torch.bincount(place, weights=positive.double(), minlength=number * size).view(number, size)
    count = torch.bincount(place, minlength=number * size).view(number, size).double()
    average = positive.double().mean()
    hits, count = hits.sum(0) - hits, count.sum(0) - count
    rate = (hits + _CELL * average) / (count + _CELL)
    return rate.log().float()[folds, cells]
