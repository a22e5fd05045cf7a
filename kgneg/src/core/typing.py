"""Names shared by every room: tensor aliases, column constants and the side of a corruption."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import torch

__all__ = [
    "HEAD",
    "RELATION",
    "TAIL",
    "BoolTensor",
    "FloatTensor",
    "IntTensor",
    "LongTensor",
    "Side",
]

#: A tensor of dtype ``torch.bool``.
BoolTensor: TypeAlias = torch.Tensor
#: A floating point tensor.
FloatTensor: TypeAlias = torch.Tensor
#: A tensor of dtype ``torch.int32``; entity ids inside the samplers are stored so, at half the memory traffic.
IntTensor: TypeAlias = torch.Tensor
#: A tensor of dtype ``torch.int64``.
LongTensor: TypeAlias = torch.Tensor

#: Column of the head, the relation and the tail in a triple.
HEAD, RELATION, TAIL = 0, 1, 2


class Side(IntEnum):
    """The end of a triple that is replaced. The value is the column of that end.

    >>> int(Side.TAIL) == TAIL
    True
    """

    HEAD = HEAD
    TAIL = TAIL
