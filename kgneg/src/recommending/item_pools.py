"""Pools of items that are near the positive one, for all items, also for those of which nothing is known."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import BoolTensor
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.item_vectors import ItemVectors, neighbour_agreement
from kgneg.samplers import LemonCorruptor, LemonPools, LemonSettings, build_lemon_pools

__all__ = ["POOL_OPTIONS", "draw_from_near", "spread_pools"]

logger = logging.getLogger(__name__)

#: The settings of pools that make sense for items: the anchor is always the positive item.
POOL_OPTIONS = tuple(field.name for field in fields(LemonSettings) if field.name not in ("anchor", "seed"))
#: Below it, near items are chosen by the same users little more often than any two.
_AGREES = 1.1


def draw_from_near(
    kind: str, found: ItemVectors, train: Interactions, common: Mapping[str, Any], options: Mapping[str, Any]
) -> LemonCorruptor:
    """Draw items that are near the positive item, and uniform ones where it has no vector.

    The items that have vectors are clustered, by default with all dimensions and into as many clusters as the root of
    their number; the pool of an item are the three clusters nearest to it.

    :param kind: what to call the vectors in messages
    :param found: vectors of the items
    :param train: the interactions
    :param common: the arguments of every corruptor, with a seed, which is also that of the clusters
    :param options: other settings of :class:`~kgneg.samplers.LemonSettings`
    :returns: the corruptor
    :raises InvalidInputError: if fewer than two items have a vector, or a setting is out of range

    >>> from kgneg.recsys.negatives import corruptor_options
    >>> train = Interactions(torch.tensor([0, 0]), torch.tensor([0, 4]), num_users=1, num_items=5)
    >>> vectors = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9], [0.0, 0.0]])
    >>> found = ItemVectors(vectors, vectors.any(dim=-1))
    >>> common = {**corruptor_options(train), "seed": 0}
    >>> near = draw_from_near("text", found, train, common, {"n_clusters": 2, "n_nearest": 1})
    >>> negatives = near(train.triples(), 20)
    >>> [row.unique().tolist() for row in negatives.entity], negatives.fallback.all(-1).tolist()
    ([[1], [1, 2, 3]], [False, True])
    """
    number = len(found.known) - found.missing
    if number < 2:
        raise InvalidInputError(f"{number} of {len(found.known)} items have a vector from the {kind}: two are needed")
    if found.missing:
        logger.warning(
            "%s: %d of %d items have no vector, and get uniform negatives", kind, found.missing, len(found.known)
        )
    agreement = neighbour_agreement(train, found)
    logger.info("%s: near items are %.2f times as alike in their users as any two", kind, agreement)
    if agreement < _AGREES:
        logger.warning(
            "%s: near items are hardly more alike in their users (%.2f times) than any two: do the %s belong to these "
            "items?",
            kind,
            agreement,
            "links" if kind == "graph" else "texts",
        )
    clusters = options.get("n_clusters", max(round(math.sqrt(number)), 1))
    plain = {"dim": None, "n_clusters": clusters, "n_nearest": min(3, clusters), "seed": common["seed"]}
    settings = LemonSettings(**{**plain, **options})
    built = spread_pools(build_lemon_pools(found.vectors[found.known], settings), found.known)
    return LemonCorruptor(built, settings, **common)


def spread_pools(built: LemonPools, known: BoolTensor) -> LemonPools:
    """Turn the pools of some items into pools of all, those of the others being empty.

    :param built: pools of those that are known, which they number from 0
    :param known: shape: ``(num_items,)``, which these are
    :returns: the pools of all items; members are known ones

    >>> built = LemonPools(CandidateIndex.from_lists([[0, 1]], num_columns=2), torch.tensor([[0], [0]]))
    >>> pools, rows = spread_pools(built, torch.tensor([True, False, True]))
    >>> [pools.members(row).tolist() for row in rows[:, 0].tolist()]
    [[0, 2], [], [0, 2]]
    """
    ids = known.nonzero().squeeze(-1)
    rows, members = built.pools.pairs()
    empty = built.pools.num_rows
    pools = CandidateIndex.from_pairs(rows, ids[members], num_rows=empty + 1, num_columns=len(known))
    anchors = torch.full((len(known), built.rows.shape[1]), empty, dtype=torch.int64)
    anchors[ids] = built.rows
    return LemonPools(pools, anchors)
