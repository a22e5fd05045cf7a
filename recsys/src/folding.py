"""Vectors for new users in a model whose other parameters stay as they are."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.recsys.interactions import Interactions

__all__ = ["fold_vectors"]

_STEPS, _RATE = 60, 0.1


def fold_vectors(
    histories: Interactions, items: FloatTensor, loss: Callable[[FloatTensor, LongTensor], FloatTensor]
) -> FloatTensor:
    """Fit vectors of new users to a loss, all at once, starting from the mean of the vectors of their items.

    The users do not influence each other: each has the mean loss of its own pairs. Lengths are relative to those of the
    item vectors, so that one number of steps fits all models.

    :param histories: the new users with their items; each has at least one
    :param items: shape: ``(num_items, d)``, the vectors of the items
    :param loss: called with the vectors of the users of all pairs, shape ``(t, d)``, and their items, shape ``(t,)``;
        returns the loss of each pair, shape ``(t,)``
    :returns: shape: ``(histories.num_users, d)``, without gradient

    >>> pairs = Interactions(torch.tensor([0]), torch.tensor([1]), num_users=1, num_items=2)
    >>> vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> fold_vectors(pairs, vectors, lambda users, own: -(users * vectors[own]).sum(-1)).argmax().item()
    1
    """
    items = items.detach()
    device = items.device
    rows, own = histories.users.to(device), histories.items.to(device)
    counts = histories.user_counts.to(device).clamp(min=1)
    mean = items.new_zeros(histories.num_users, items.shape[1])
    mean = mean.index_add_(0, rows, items[own]) / counts[:, None]
    scale = items.norm(dim=-1).mean().clamp(min=1e-12)
    with torch.enable_grad():
        vectors = (mean / scale).requires_grad_()
        optimizer = torch.optim.Adam([vectors], lr=_RATE)
        for _ in range(_STEPS):
            each = loss((vectors * scale)[rows], own)
            (vectors.grad,) = torch.autograd.grad((each / counts[rows]).sum(), [vectors])  # and of nothing else
            optimizer.step()
    fitted: FloatTensor = vectors.detach() * scale
    return fitted
