"""Which candidates a judge is asked about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_count, validate_share

__all__ = ["stratified_sample"]


def stratified_sample(
    relations: Sequence[str],
    number: int,
    *,
    probability: np.ndarray | None = None,
    explore: float = 0.25,
    generator: torch.Generator | None = None,
) -> np.ndarray:
    """Draw rows from every relation, more where the critic is unsure.

    A relation gets a share in proportion to its rows times the mean of ``sqrt(p (1 - p))`` (Neyman 1934), and at least
    one row while there are enough. Within it, rows are drawn without replacement in proportion to ``p (1 - p)``; a part
    is drawn uniformly, so that errors of which the critic is sure are found, too.

    :param relations: the relation of each of ``n`` rows
    :param number: how many rows to draw; all of them if there are fewer
    :param probability: shape: ``(n,)``, P(true) by the critic; ``None`` before there is one
    :param explore: the share that is drawn uniformly
    :param generator: of random numbers
    :returns: shape: ``(number,)``, rows in ascending order
    :raises InvalidInputError: if shapes differ or values are out of range

    >>> stratified_sample(["a"] * 8 + ["b"], 3, generator=torch.Generator().manual_seed(0)).tolist()[-1]
    8
    """
    number = min(validate_count("number", number, 0), len(relations))
    explore = validate_share("explore", explore)
    chance = np.full(len(relations), 0.5) if probability is None else np.asarray(probability, dtype=np.float64)
    if chance.shape != (len(relations),) or not ((chance >= 0) & (chance <= 1)).all():
        raise InvalidInputError(f"one probability per row is needed, in [0, 1], got shape {chance.shape}")
    if not number:
        return np.empty(0, dtype=np.int64)
    names, place = np.unique(np.asarray(relations, dtype=object).astype(str), return_inverse=True)
    doubt = chance * (1 - chance)
    quota = _quotas(np.bincount(place), np.bincount(place, np.sqrt(doubt) + 1e-3), number)
    noise = -torch.log(torch.rand(2, len(chance), generator=generator, dtype=torch.float64).clamp_min(1e-300)).numpy()
    taken = np.zeros(len(chance), dtype=bool)
    for relation in range(len(names)):
        own = np.flatnonzero(place == relation)
        uniform = round(explore * int(quota[relation]))
        # the smallest of Exponential(1) / weight: weighted draws without replacement (Efraimidis and Spirakis 2006)
        taken[own[np.argsort(noise[0, own], kind="stable")[:uniform]]] = True
        rest = own[~taken[own]]
        order = np.argsort(noise[1, rest] / (doubt[rest] + 1e-6), kind="stable")
        taken[rest[order[: quota[relation] - uniform]]] = True
    return np.flatnonzero(taken)


def _quotas(rows: np.ndarray, weight: np.ndarray, number: int) -> np.ndarray:
    """Share out, at least one each while it lasts and never more than there are."""
    quota = np.zeros(len(rows), dtype=np.int64)
    if number >= len(rows):
        quota += 1
    while (left := number - int(quota.sum())) > 0:
        open_ = quota < rows
        share = np.where(open_, weight, 0.0)
        wished = left * share / share.sum()
        more = np.minimum(np.floor(wished).astype(np.int64), rows - quota)
        if not more.any():
            best = np.argsort(-np.where(open_, wished, -1.0), kind="stable")[: min(left, int(open_.sum()))]
            more[best] = 1
        quota += more
    return quota
