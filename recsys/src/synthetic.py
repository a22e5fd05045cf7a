"""Interactions that are made up, for examples and tests."""

from __future__ import annotations

import torch

from kgneg.core.validation import validate_count, validate_share
from kgneg.recsys.interactions import Interactions

__all__ = ["synthetic_interactions"]


def synthetic_interactions(
    *, users: int = 60, items: int = 40, groups: int = 4, each: int = 8, noise: float = 0.1, seed: int = 0
) -> Interactions:
    """Return users who mostly choose among the items of a group of their own.

    User ``u`` belongs to group ``u % groups``, and so does item ``v``.

    :param users: the number of users
    :param items: the number of items
    :param groups: the number of groups
    :param each: choices of each user; repeated ones count once
    :param noise: the share of choices that are made among all items
    :param seed: of all draws
    :returns: the interactions

    >>> synthetic_interactions(users=4, items=8, each=2, noise=0.0).users.unique().tolist()
    [0, 1, 2, 3]
    """
    validate_share("noise", noise)
    for name, value in (("users", users), ("groups", groups), ("each", each)):
        validate_count(name, value)
    validate_count("items", items, groups)
    generator = torch.Generator().manual_seed(seed)
    who = torch.arange(users).repeat_interleave(each)
    group = who % groups
    size = (items - group + groups - 1) // groups  # of the group
    inside = (torch.rand(who.shape, generator=generator) * size).long() * groups + group
    anywhere = torch.randint(items, who.shape, generator=generator)
    stray = torch.rand(who.shape, generator=generator) < noise
    return Interactions(who, torch.where(stray, anywhere, inside), num_users=users, num_items=items)
