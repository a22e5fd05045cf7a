"""Leave out users and items with too few interactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import BoolTensor, LongTensor
from kgneg.core.validation import choose, validate_count
from kgneg.recsys.interactions import Interactions

__all__ = ["filter_interactions"]


def filter_interactions(pairs: Interactions, users: int, items: int, *, once: bool, count: str) -> Interactions:
    """Leave out users and items with too few pairs, see :meth:`~kgneg.recsys.interactions.Interactions.at_least`.

    :param pairs: the interactions
    :param users: the number that a user needs
    :param items: the number that an item needs
    :param once: count once, or again until nothing changes
    :param count: rows or pairs
    :returns: what is left, over smaller tables
    :raises InvalidInputError: if nothing is left

    >>> users, items = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 0, 1, 1])
    >>> square = Interactions(users, items, num_users=3, num_items=2)
    >>> filter_interactions(square, 2, 2, once=False, count="pairs")
    Interactions(users=2, items=2, pairs=4)
    """
    validate_count("users", users, 0)
    validate_count("items", items, 0)
    choose("count", count, ("rows", "pairs"))
    weights = torch.ones(len(pairs), dtype=torch.int64)
    if count == "rows" and pairs.multiplicity is not None:
        weights = pairs.multiplicity
    kept = _enough(pairs, torch.ones(len(pairs), dtype=torch.bool), weights, (users, items))
    while not once:
        fewer = _enough(pairs, kept, weights, (users, items))
        if torch.equal(fewer, kept):
            break
        kept = fewer
    if not bool(kept.any()):
        most = [int(_sums(ids, weights, n).max()) if len(ids) else 0 for ids, n in _sides(pairs)]
        raise InvalidInputError(
            f"nothing is left of {len(pairs):,} pairs: users need at least {users} {count} and items {items}, but the "
            f"largest numbers before filtering are {most[0]} and {most[1]}; take smaller ones"
            + (
                ""
                if once
                else ", or filter once instead of until all have enough: at_least(users, items), on the "
                "command line --min-user and --min-item"
            )
        )
    return _compact(pairs, kept)


def _sides(pairs: Interactions) -> tuple[tuple[LongTensor, int], tuple[LongTensor, int]]:
    return (pairs.users, pairs.num_users), (pairs.items, pairs.num_items)


def _sums(ids: LongTensor, weights: LongTensor, number: int) -> LongTensor:
    return torch.zeros(number, dtype=torch.int64).index_add_(0, ids, weights)


def _enough(pairs: Interactions, kept: BoolTensor, weights: LongTensor, least: tuple[int, int]) -> BoolTensor:
    """Return which of the kept pairs have a user and an item with enough kept pairs."""
    weights = weights * kept
    result = kept
    for (ids, number), minimum in zip(_sides(pairs), least, strict=True):
        result = result & (_sums(ids, weights, number) >= minimum)[ids]
    return result


def _compact(pairs: Interactions, kept: BoolTensor) -> Interactions:
    """Return the kept pairs over tables of the users and items that they have."""
    weights = torch.ones(len(pairs), dtype=torch.int64) if pairs.multiplicity is None else pairs.multiplicity
    users, user_codes = torch.unique(pairs.users[kept], return_inverse=True)
    items, item_codes = torch.unique(pairs.items[kept], return_inverse=True)
    report = replace(
        pairs.report,
        filtered=pairs.report.filtered + int(weights[~kept].sum()),
        users_filtered=pairs.report.users_filtered + pairs.num_users - len(users),
        items_filtered=pairs.report.items_filtered + pairs.num_items - len(items),
    )
    return Interactions(
        user_codes,
        item_codes,
        num_users=len(users),
        num_items=len(items),
        times=None if pairs.times is None else pairs.times[kept],
        ratings=None if pairs.ratings is None else pairs.ratings[kept],
        user_labels=_labels(pairs.user_labels, users, pairs.num_users),
        item_labels=_labels(pairs.item_labels, items, pairs.num_items),
        multiplicity=weights[kept],
        report=report,
    )


def _labels(labels: tuple[str, ...] | None, ids: LongTensor, number: int) -> Sequence[str] | None:
    """Return the labels of the ids that are left; the ids themselves where there are no labels and some are gone."""
    if labels is None:
        return None if len(ids) == number else [str(one) for one in ids.tolist()]
    return labels if len(ids) == number else [labels[one] for one in ids.tolist()]
