"""The best items of many users, block by block in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import BoolTensor, FloatTensor, LongTensor
from kgneg.core.validation import validate_count
from kgneg.recsys.interactions import Interactions

__all__ = ["MEMORY", "Block", "inner_products", "rank_items"]

#: How many bytes the scores of a block may take. From 32 MiB on, glibc asks the system for the memory of each block
#: anew, which costs a tenth of the time.
MEMORY = 24 << 20
#: How many items are multiplied at once on a CPU.
_TILE = 512
#: How many items are looked at together, by the best of them, before the best are sought.
_GROUP = 16


class Block(NamedTuple):
    """The best items of some users.

    :param users: shape: ``(b,)``, int64, on the CPU
    :param items: shape: ``(b, k)``, int64, best first; where a user has fewer candidates than ``k``, the rest is -1
    :param scores: shape: ``(b, k)``, those of the items; minus infinity where the item is -1
    """

    users: LongTensor
    items: LongTensor
    scores: FloatTensor


@torch.no_grad()
def inner_products(left: FloatTensor, right: FloatTensor) -> FloatTensor:
    """Return the inner products of all rows of one matrix with all rows of another, without gradient.

    On a CPU a few hundred users against hundreds of items at a time is a third faster than against all items at once.

    :param left: shape: ``(b, d)``
    :param right: shape: ``(n, d)``, of the same type and on the same device
    :returns: shape: ``(b, n)``, a new tensor

    >>> inner_products(torch.tensor([[1.0, 2.0]]), torch.eye(2)).tolist()
    [[1.0, 2.0]]
    """
    if left.device.type != "cpu" or len(right) <= _TILE:
        return left @ right.T
    out = left.new_empty(len(left), len(right))
    for start in range(0, len(right), _TILE):
        tile = right[start : start + _TILE]
        torch.mm(left, tile.T, out=out[:, start : start + len(tile)])
    return out


def rank_items(
    score: Callable[[LongTensor], FloatTensor],
    users: LongTensor,
    k: int,
    *,
    num_items: int,
    hide: Sequence[Interactions] = (),
    candidates: BoolTensor | None = None,
    memory: int = MEMORY,
) -> Iterator[Block]:
    """Rank all items for some users and yield the best of them.

    Ties are broken in whatever way :func:`torch.topk` does on the device. Scores of the whole table never exist at
    once: a block has as many users as fit into ``memory``.

    :param score: called with ids of users, shape ``(b,)``, on the CPU; returns a new tensor of shape ``(b, num_items)``
        on any device, which is overwritten
    :param users: shape: ``(n,)``, ids of users
    :param k: how many items
    :param num_items: the number of items
    :param hide: interactions whose items are left out for the users that have them
    :param candidates: shape: ``(num_items,)``, the items that may appear; ``None``: all
    :param memory: bytes for the scores of a block
    :yields: blocks in the order of the users
    :raises InvalidInputError: if ``k`` exceeds the number of items, scores are NaN or have another shape, or ``hide``
        is about other items

    >>> pairs = Interactions(torch.tensor([0]), torch.tensor([2]), num_users=1, num_items=3)
    >>> scores = torch.tensor([[1.0, 2.0, 3.0]])
    >>> block, = rank_items(lambda users: scores, torch.tensor([0]), 2, num_items=3, hide=[pairs])
    >>> block.items.tolist()
    [[1, 0]]
    """
    if validate_count("k", k) > num_items:
        raise InvalidInputError(f"k must be at most the number of items, {num_items}; got {k}")
    for pairs in hide:
        if pairs.num_items != num_items:
            raise InvalidInputError(f"interactions with {pairs.num_items} items cannot hide some of {num_items} items")
    size = max(1, memory // (4 * max(num_items, 1)))
    users = users.cpu()
    for block in users.split(size):  # type: ignore[no-untyped-call]
        scores = score(block)
        if scores.shape != (len(block), num_items):
            raise InvalidInputError(
                f"scores must have shape {(len(block), num_items)}, got {tuple(scores.shape)}: the model was fitted "
                "to other tables"
            )
        for pairs in hide:
            rows, items = pairs.of(block)
            scores[rows.to(scores.device), items.to(scores.device)] = -torch.inf
        if candidates is not None:
            scores.masked_fill_(~candidates.to(scores.device), -torch.inf)
        values, items = _best(scores, k)
        if bool(values.isnan().any()):  # NaN counts as the largest number, so it would be among the best
            raise InvalidInputError(
                "the model gives scores that are NaN: it has diverged, fit it anew with a smaller lr"
            )
        yield Block(block, items.masked_fill_(values == -torch.inf, -1), values)


def _best(scores: FloatTensor, k: int) -> tuple[FloatTensor, LongTensor]:
    """Return the largest scores of each row and where they are, like :func:`torch.topk`, sooner for few of many.

    The best ``k`` are in those ``k`` groups whose best are the best: were one of them in another group, there would be
    ``k`` at least as large.
    """
    number = scores.shape[1]
    groups = number // _GROUP
    if scores.device.type != "cpu" or groups < 4 * k:
        values, items = scores.topk(k, dim=-1)
        return values, items
    whole = groups * _GROUP
    heads = scores[:, :whole].reshape(-1, _GROUP, groups).amax(dim=1)  # a group is every groups-th item
    chosen = heads.topk(k, sorted=False).indices
    inside = (chosen[:, None] + groups * torch.arange(_GROUP)[:, None]).flatten(1)
    left = torch.arange(whole, number).expand(len(scores), -1)
    places = torch.cat([inside, left], dim=1)
    values, where = scores.gather(1, places).topk(k, dim=-1)
    return values, places.gather(1, where)
