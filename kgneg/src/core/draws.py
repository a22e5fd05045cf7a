"""Random integers below a limit."""

from __future__ import annotations

import torch

from kgneg.core.typing import IntTensor, LongTensor

__all__ = ["draw_below"]

_BITS = 31
_SCALE = 0.5**_BITS


def draw_below(
    limit: int | LongTensor, shape: tuple[int, int], generator: torch.Generator | None, device: torch.device
) -> IntTensor:
    r"""Draw integers uniformly from ``[0, limit)``.

    One 64-bit number gives two draws of 31 bits, so the probability of a value is off by less than
    :math:`2^{-31}`, as with :func:`torch.randint`, at two thirds of its cost; and every row may have a limit of its own.

    :param limit: at most ``2**31``; one for all, or shape ``(q, 1)`` for each row; a limit of 0 gives 0
    :param shape: the shape ``(q, n)`` of the result
    :param generator: the source of randomness; ``None`` takes torch's default generator
    :param device: the device of the result
    :returns: shape: ``(q, n)``, int32

    >>> draw_below(3, (2, 5), torch.Generator().manual_seed(0), torch.device("cpu")).max() < 3
    tensor(True)
    """
    number = shape[0] * shape[1]
    words = torch.empty((number + 1) // 2, dtype=torch.int64, device=device).random_(-(2**63), None, generator=generator)
    bits = words.view(torch.int32)[:number].view(shape).bitwise_and_(2**_BITS - 1)  # no sign
    return bits.double().mul_(limit * _SCALE).int()
