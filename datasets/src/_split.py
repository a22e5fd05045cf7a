"""Random splits that leave every entity and every relation in training."""

from __future__ import annotations

import logging
import math

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor

__all__ = ["split_triples"]

logger = logging.getLogger(__name__)


def split_triples(
    triples: LongTensor, *, valid: float, test: float, seed: int
) -> tuple[LongTensor, LongTensor, LongTensor]:
    """Split triples at random so that every entity and every relation keeps a training triple.

    In a random order of the triples, the first one of each entity and of each relation stays in training; the
    evaluation triples are drawn from the others. If too few are left, both splits shrink in proportion and a warning
    is logged.

    :param triples: shape: (m, 3), dtype: int64, distinct triples with ids from 0
    :param valid: share of validation triples, 0 <= valid < 1
    :param test: share of test triples, 0 <= test < 1 and valid + test < 1
    :param seed: seed of a private generator
    :returns: shapes: (a, 3), (b, 3), (c, 3), dtype: int64, training, validation and test triples in the order of the
        input, a + b + c = m
    :raises InvalidInputError: if a share is out of range

    >>> triples = torch.tensor([[0, 0, 1], [1, 0, 0], [0, 1, 1], [1, 1, 0]])
    >>> [len(part) for part in split_triples(triples, valid=0.25, test=0.0, seed=0)]
    [3, 1, 0]
    """
    if not (0 <= valid < 1 and 0 <= test < 1 and valid + test < 1):
        raise InvalidInputError(f"got valid={valid} and test={test}, expected shares from 0 whose sum is below 1")
    count = len(triples)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    rank = torch.empty_like(order)
    rank[order] = torch.arange(count)
    free = torch.ones(count, dtype=torch.bool)  # in the random order
    entity_rank = torch.cat([rank, rank])
    for ids, ranks in ((triples[:, [HEAD, TAIL]].t().reshape(-1), entity_rank), (triples[:, RELATION], rank)):
        size = int(ids.max()) + 1 if len(ids) else 0
        first = torch.full((size,), count).scatter_reduce_(0, ids, ranks, reduce="amin")
        free[first[first < count]] = False
    candidates = order[free]
    num_valid, num_test = round(valid * count), round(test * count)
    if num_valid + num_test > len(candidates):
        shrink = len(candidates) / (num_valid + num_test)
        wanted = num_valid + num_test
        num_valid, num_test = math.floor(num_valid * shrink), math.floor(num_test * shrink)
        logger.warning(
            "%d of %d triples were wanted for evaluation, but only %d can be taken without losing an entity or a "
            "relation from training; %d validation and %d test triples are left",
            wanted,
            count,
            len(candidates),
            num_valid,
            num_test,
        )
    part = torch.zeros(count, dtype=torch.int8)
    part[candidates[:num_valid]] = 1
    part[candidates[num_valid : num_valid + num_test]] = 2
    return triples[part == 0], triples[part == 1], triples[part == 2]
