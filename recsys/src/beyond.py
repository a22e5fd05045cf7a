"""What a list is worth beyond its accuracy: whom it serves, and which items it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import BoolTensor, FloatTensor, LongTensor

__all__ = ["describe_items", "describe_users", "gini", "item_groups"]

#: Lower ends of the numbers of training items by which users are grouped.
_BINS = (1, 5, 10, 20, 50)
_GROUPS = ("head", "mid", "tail")


def gini(counts: torch.Tensor) -> float:
    r"""Return the Gini index of counts: 0 where all are equal, near 1 where one has everything.

    It is :math:`\sum_i (2 i - n - 1) c_i / (n \sum_i c_i)` over ascending counts.

    :param counts: shape: ``(n,)``, none negative
    :returns: the index, in ``[0, 1)``; 0 if there is nothing
    :raises InvalidInputError: if a count is negative

    >>> gini(torch.tensor([3, 3, 3])), gini(torch.tensor([0, 0, 0, 8]))
    (0.0, 0.75)
    """
    values = counts.double().sort().values
    number, total = len(values), float(values.sum())
    if number and values[0] < 0:
        raise InvalidInputError(f"counts must be at least 0, got {float(values[0]):g}")
    if not total:
        return 0.0
    places = torch.arange(1, number + 1, dtype=torch.float64)
    return float(((2 * places - number - 1) * values).sum() / (number * total))


def item_groups(popularity: LongTensor) -> LongTensor:
    """Divide items into head, mid and tail, each of which has about a third of all training pairs.

    An item belongs to the group in which its pairs begin when items are lined up, the most popular first; items without
    training pairs are in the tail.

    :param popularity: shape: ``(num_items,)``, the number of training users
    :returns: shape: ``(num_items,)``, 0 for head, 1 for mid, 2 for tail

    >>> item_groups(torch.tensor([1, 4, 1, 1, 2, 0])).tolist()
    [2, 0, 2, 2, 1, 2]
    """
    order = popularity.argsort(descending=True, stable=True)
    before = popularity[order].cumsum(0) - popularity[order]
    groups = torch.empty_like(popularity)
    groups[order] = (3 * before // max(int(popularity.sum()), 1)).clamp(max=2)
    return groups.masked_fill(popularity == 0, 2)


def describe_items(
    shown: LongTensor,
    hits: LongTensor,
    ks: Sequence[int],
    *,
    popularity: LongTensor,
    truth: LongTensor,
    candidates: BoolTensor,
    num_users: int,
) -> dict[str, Any]:
    """Return what is shown.

    Names are followed by ``@k``. ``coverage`` is the share of the candidates that somebody is shown, ``gini`` the Gini
    index of how often candidates are shown, ``popularity`` the mean number of training users over all places of all
    lists, ``popularity_bias`` the same divided by the mean of the items to be found, ``log_popularity`` the mean of
    ``log(1 + users)``, and ``novelty`` the mean of ``-log2(share of training users)``, where an item without users
    counts as one with one user. ``items`` has the groups of :func:`item_groups`: how many items they have, their shares
    of training pairs and of items to be found, and for each ``k`` their shares of places and of hits, and their recall.

    :param shown: shape: ``(len(ks), num_items)``, how often each item is shown
    :param hits: shape: ``(len(ks), num_items)``, how often that is right
    :param ks: the lengths of lists
    :param popularity: shape: ``(num_items,)``, the number of training users
    :param truth: shape: ``(num_items,)``, how often each item is to be found
    :param candidates: shape: ``(num_items,)``, which items may be shown
    :param num_users: the number of users in training
    :returns: the figures, nothing but what JSON can spell

    >>> counts = torch.tensor([[1, 1, 0]])
    >>> popularity = torch.tensor([2, 1, 1])
    >>> found = describe_items(counts, counts, [1], popularity=popularity, truth=popularity, candidates=counts[0] >= 0,
    ...     num_users=2)
    >>> found["coverage@1"], found["popularity@1"], found["novelty@1"]
    (0.6666666666666666, 1.5, 0.5)
    """
    users = popularity.double()
    novelty = -(users.clamp(min=1) / max(num_users, 1)).log2()
    expected = _mean(users, truth)
    found: dict[str, Any] = {"test_popularity": expected, "test_log_popularity": _mean(users.log1p(), truth)}
    for k, counts in zip(ks, shown, strict=True):
        mean = _mean(users, counts)
        found |= {
            f"coverage@{k}": float((counts[candidates] > 0).double().mean()),
            f"gini@{k}": gini(counts[candidates]),
            f"popularity@{k}": mean,
            f"popularity_bias@{k}": mean / expected if expected else None,
            f"log_popularity@{k}": _mean(users.log1p(), counts),
            f"novelty@{k}": _mean(novelty, counts),
        }
    groups = item_groups(popularity)
    found["items"] = {
        name: _describe_group(groups == place, shown, hits, ks, popularity, truth) for place, name in enumerate(_GROUPS)
    }
    return found


def _describe_group(
    inside: BoolTensor,
    shown: LongTensor,
    hits: LongTensor,
    ks: Sequence[int],
    popularity: LongTensor,
    truth: LongTensor,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "items": int(inside.sum()),
        "training_share": _share(popularity, inside),
        "test_share": _share(truth, inside),
    }
    for k, places, right in zip(ks, shown, hits, strict=True):
        wanted = int(truth[inside].sum())
        found |= {
            f"shown_share@{k}": _share(places, inside),
            f"hit_share@{k}": _share(right, inside),
            f"recall@{k}": int(right[inside].sum()) / wanted if wanted else None,
        }
    return found


def describe_users(per_user: Mapping[str, FloatTensor], counts: LongTensor) -> dict[str, Any]:
    """Return the metrics of users with few and with many training items.

    ``users`` has quarters of the users by their number of training items; users with equal numbers stay together, so
    that there can be fewer. ``sparsity`` has the users with 1 to 4, 5 to 9, 10 to 19, 20 to 49 and from 50 items. Each
    group has its number of ``users``, the smallest and largest number of items, ``from`` and ``to``, and the means.

    :param per_user: shape of each: ``(users,)``, the metrics by name
    :param counts: shape: ``(users,)``, the number of training items of each user, none of them 0
    :returns: the figures, nothing but what JSON can spell

    >>> found = describe_users({"recall@1": torch.tensor([0.0, 1.0])}, torch.tensor([2, 60]))
    >>> found["sparsity"]["50+"]
    {'users': 1, 'from': 60, 'to': 60, 'recall@1': 1.0}
    """
    edges = np.quantile(counts.numpy(), [0.25, 0.5, 0.75])
    quarters = torch.searchsorted(torch.from_numpy(edges), counts.double())
    bins = torch.bucketize(counts, torch.tensor(_BINS), right=True) - 1
    names = [*(f"{low}-{high - 1}" for low, high in pairwise(_BINS)), f"{_BINS[-1]}+"]
    return {
        "users": _by_group(per_user, counts, quarters, ["q1", "q2", "q3", "q4"]),
        "sparsity": _by_group(per_user, counts, bins, names),
    }


def _by_group(
    per_user: Mapping[str, FloatTensor], counts: LongTensor, groups: LongTensor, names: Sequence[str]
) -> dict[str, Any]:
    found = {}
    for place, name in enumerate(names):
        inside = groups == place
        if bool(inside.any()):
            numbers = counts[inside]
            means = {metric: float(values[inside].double().mean()) for metric, values in per_user.items()}
            about = {"users": len(numbers), "from": int(numbers.min()), "to": int(numbers.max())}
            found[name] = about | means
    return found


def _mean(values: FloatTensor, counts: LongTensor) -> float:
    """Return the mean of values that are there so many times."""
    return float((values * counts).sum() / max(int(counts.sum()), 1))


def _share(counts: LongTensor, inside: BoolTensor) -> float:
    return int(counts[inside].sum()) / max(int(counts.sum()), 1)
