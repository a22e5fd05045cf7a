"""Negatives grouped by the end that was replaced, the form that PyKEEN after 1.11 can train on."""

from __future__ import annotations

import torch
from pykeen.typing import LABEL_HEAD, LABEL_TAIL

from kgneg.core.negatives import Negatives
from kgneg.core.typing import HEAD, BoolTensor, LongTensor

__all__ = ["Groups", "Masks", "group_by_side"]

#: Replacements by what PyKEEN calls the target, ``"head"`` or ``"tail"``, each of shape ``(*batch, k)``.
Groups = dict[str, LongTensor]
#: Which replacements count, by target.
Masks = dict[str, BoolTensor]


def group_by_side(negatives: Negatives, mask: BoolTensor | None = None) -> tuple[Groups, Masks | None]:
    """Group negatives by the end that was replaced, in the order in which they stand.

    A group has the same width ``k`` for all positives. Where positives differ in how many of their negatives replace
    the head, a group is as wide as the widest row needs, and the mask leaves out the rest: of each positive, all ``n``
    negatives count, and each counts once. What a mask leaves out is an entity, but no negative.

    :param negatives: the negatives, shape ``(*batch, n)``
    :param mask: shape: ``(*batch, n)``, which of them count; ``None``: all
    :returns: the groups that are not empty, and which of their entries count (``None``: all)

    >>> positives, entity = torch.tensor([[0, 0, 1], [2, 0, 3]]), torch.tensor([[5, 6], [7, 8]])
    >>> side, fallback = torch.tensor([[0, 2], [2, 2]]), torch.zeros(2, 2, dtype=torch.bool)
    >>> groups, masks = group_by_side(Negatives(positives, entity, side, fallback))
    >>> groups["head"].tolist(), masks["head"].tolist()
    ([[5], [7]], [[True], [False]])
    >>> groups["tail"].tolist(), masks["tail"].tolist()
    ([[5, 6], [7, 8]], [[False, True], [True, True]])
    """
    entity, n = negatives.entity.long(), negatives.n
    counted = torch.ones_like(entity, dtype=torch.bool) if mask is None else mask
    least = most = negatives.heads
    if least is None or most is None:
        at_tail = negatives.side != HEAD
        order = torch.argsort(at_tail.to(torch.uint8), dim=-1, stable=True)
        entity, counted = entity.gather(-1, order), counted.gather(-1, order)
        heads = n - at_tail.sum(-1, keepdim=True)
        least, most = _bounds(heads) if heads.numel() else (n // 2, n // 2)  # without rows any width will do
        if least < most:
            slots = torch.arange(n, device=entity.device)
            own = {**_cut(counted & (slots < heads), most, n), **_cut(counted & (slots >= heads), 0, least)}
            return _cut(entity, most, least), own
    return _cut(entity, most, least), None if mask is None else _cut(counted, most, least)


def _bounds(numbers: torch.Tensor) -> tuple[int, int]:
    """Return the least and the greatest of some numbers."""
    least, most = numbers.aminmax()
    return int(least), int(most)


def _cut(rows: torch.Tensor, stop: int, start: int) -> dict[str, torch.Tensor]:
    """Return the columns before ``stop`` as those of heads and from ``start`` as those of tails, where there are any.

    The parts are copies: a data loader would send the whole memory of a view to the main process.
    """
    parts = {LABEL_HEAD: rows[..., :stop], LABEL_TAIL: rows[..., start:]}
    return {target: part.clone() for target, part in parts.items() if part.shape[-1]}
