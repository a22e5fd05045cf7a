"""Random integers below a limit."""

from __future__ import annotations

import torch

from kgneg.core.typing import BoolTensor, IntTensor, LongTensor

__all__ = ["draw_below", "draw_bits", "draw_union"]

_BITS = 31
_SCALE = 0.5**_BITS
_NARROW = 1 << 20
_NO_SIGNS = 0x7FFFFFFF7FFFFFFF  # of both halves of a 64-bit number


def draw_below(
    limit: int | LongTensor,
    shape: tuple[int, int],
    generator: torch.Generator | None,
    device: torch.device,
    *,
    largest: int | None = None,
) -> IntTensor:
    r"""Draw integers uniformly from ``[0, limit)``.

    Below a million one 64-bit number gives two draws of 31 bits, at two thirds of the cost of :func:`torch.randint`,
    and above one draw of 53 bits. So the probabilities of two values differ by less than one part in two thousand,
    however large the limit; and every row may have a limit of its own.

    :param limit: at most ``2**31``; one for all, or shape ``(q, 1)`` for each row; a limit of 0 gives 0
    :param shape: the shape ``(q, n)`` of the result
    :param generator: the source of randomness; ``None`` takes torch's default generator
    :param device: the device of the result
    :param largest: an upper bound of the limits of all rows; ``None`` looks at them
    :returns: shape: ``(q, n)``, int32

    >>> draw_below(3, (2, 5), torch.Generator().manual_seed(0), torch.device("cpu")).max() < 3
    tensor(True)
    """
    if largest is None:
        largest = limit if isinstance(limit, int) else int(limit.max()) if limit.numel() else 0
    scale = limit.double() if isinstance(limit, torch.Tensor) else limit
    if largest > _NARROW:
        draw = torch.rand(shape, generator=generator, device=device, dtype=torch.float64)
        return draw.mul_(scale).int()
    return draw_bits(shape, generator, device).double().mul_(scale * _SCALE).int()


def draw_bits(shape: tuple[int, int], generator: torch.Generator | None, device: torch.device) -> IntTensor:
    """Draw integers of 31 random bits, two from each 64-bit number.

    :param shape: the shape of the result
    :param generator: the source of randomness; ``None`` takes torch's default generator
    :param device: the device of the result
    :returns: shape: ``shape``, int32, not negative

    >>> draw_bits((2, 5), torch.Generator().manual_seed(0), torch.device("cpu")).min() >= 0
    tensor(True)
    """
    number = shape[0] * shape[1]
    words = torch.empty((number + 1) // 2, dtype=torch.int64, device=device)
    words.random_(-(2**63), None, generator=generator)
    words.bitwise_and_(_NO_SIGNS)
    return words.view(torch.int32)[:number].view(shape)


def draw_union(
    members: IntTensor,
    ends: IntTensor,
    shifts: IntTensor,
    n: int,
    generator: torch.Generator | None,
    *,
    never_empty: bool = False,
    largest: int | None = None,
) -> tuple[IntTensor, BoolTensor | None]:
    """Draw uniformly from the union of several stretches of a list, another union in every row.

    :param members: shape: ``(m,)``, int32, the list, not empty
    :param ends: shape: ``(q, c)``, int32, where each stretch ends when they are put one after the other
    :param shifts: shape: ``(q, c)``, int32, what leads from a place in that sequence to a place in the list
    :param n: the number of draws per row
    :param generator: the source of randomness
    :param never_empty: whether no union can be empty
    :param largest: an upper bound of the sizes of the unions; ``None`` takes the length of the list
    :returns: members of shape ``(q, n)``, and of the same shape whether they are real: an empty union gives ``False``;
        ``None`` stands for all true

    >>> ends, shifts = torch.tensor([[1, 2]]), torch.tensor([[0, 1]])
    >>> draw_union(torch.tensor([5, 6, 7]), ends, shifts, 99, None)[0].unique().tolist()
    [5, 7]
    """
    total = ends[:, -1:]
    place = draw_below(
        total, (len(ends), n), generator, ends.device, largest=len(members) if largest is None else largest
    )
    position = place + shifts[:, -1:] if ends.shape[1] > 1 else place.add_(shifts)
    for stretch in range(ends.shape[1] - 1):
        # all bits are set where the place lies before the end of this stretch, and none elsewhere
        before = (place - ends[:, stretch : stretch + 1]).bitwise_right_shift_(_BITS)
        position += before.bitwise_and_((shifts[:, stretch] - shifts[:, stretch + 1])[:, None])
    hit = None
    if not never_empty and not bool((total > 0).all()):
        hit = (total > 0).expand(position.shape)
        position.clamp_(max=len(members) - 1)  # an empty union may point behind the list
    return members.index_select(0, position.view(-1)).view(position.shape), hit
