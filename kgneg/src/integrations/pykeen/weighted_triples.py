"""The triples that PyKEEN's loops ask weights for."""

from __future__ import annotations

from typing import Any

import torch

from kgneg.core.typing import LongTensor

__all__ = ["weighted_triples"]


def weighted_triples(h: Any, r: Any, t: Any, num_entities: int, num_relations: int) -> LongTensor:
    """Put heads, relations and tails together.

    :param h: the heads, a tensor or, from PyKEEN's LCWA instances, an array; ``None``: all entities, as the last
        dimension
    :param r: the relations; ``None``: all relations, as the last dimension
    :param t: the tails; ``None``: all entities, as the last dimension
    :param num_entities: the number of entities
    :param num_relations: the number of relations
    :returns: shape: ``(*, 3)``, with the shape that heads, relations and tails broadcast to
    """
    given = [None if ids is None else torch.as_tensor(ids) for ids in (h, r, t)]
    device = next((ids.device for ids in given if ids is not None), torch.device("cpu"))
    columns = [
        torch.arange(size, device=device) if ids is None else ids.long()
        for ids, size in zip(given, (num_entities, num_relations, num_entities), strict=True)
    ]
    return torch.stack(torch.broadcast_tensors(*columns), dim=-1)  # type: ignore[no-untyped-call]
