"""Whether lists of candidates are well-formed."""

from __future__ import annotations

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor

__all__ = ["validate_lists"]

_MAX_MEMBERS = 2**31 - 1


def validate_lists(
    indptr: LongTensor, indices: LongTensor, num_columns: int, weights: FloatTensor | None = None
) -> None:
    """Refuse lists that are malformed.

    :param indptr: shape: ``(rows + 1,)``, the bounds of the rows
    :param indices: shape: ``(nnz,)``, the members
    :param num_columns: the number of ids that members are taken from
    :param weights: shape: ``(nnz,)``
    :raises InvalidInputError: if bounds, members or weights are malformed; the first offender is named
    """
    if indptr.ndim != 1 or not len(indptr) or int(indptr[0]) != 0 or bool((indptr.diff() < 0).any()):
        raise InvalidInputError("indptr must be a non-decreasing vector that starts at 0")
    if weights is not None and len(indices) > _MAX_MEMBERS // 2:
        raise InvalidInputError(
            f"{len(indices):,} members with weights exceed the limit of {_MAX_MEMBERS // 2:,}: use smaller pools"
        )
    if len(indices) > _MAX_MEMBERS:
        raise InvalidInputError(f"{len(indices):,} members exceed the limit of {_MAX_MEMBERS:,}: use smaller pools")
    if int(indptr[-1]) != len(indices):
        raise InvalidInputError(f"indptr ends at {int(indptr[-1])} but there are {len(indices)} members")
    if indices.is_floating_point() or indices.dtype == torch.bool:
        raise InvalidInputError(f"members must be integer ids, got {indices.dtype}")
    bad = ((indices < 0) | (indices >= num_columns)).nonzero()
    if len(bad):
        raise InvalidInputError(
            f"member {int(indices[bad[0]])} of row {int(torch.searchsorted(indptr, bad[0], right=True)) - 1} is "
            f"out of range: ids must be in [0, {num_columns})"
        )
    starts = torch.zeros(len(indices) + 1, dtype=torch.bool, device=indices.device)
    starts[indptr] = True
    bad = ((indices.diff() <= 0) & ~starts[1:-1]).nonzero() if len(indices) > 1 else indices[:0]
    if len(bad):
        raise InvalidInputError(
            f"member {int(indices[bad[0] + 1])} follows {int(indices[bad[0]])} in a row: members must be sorted "
            "and distinct; from_pairs takes them in any order"
        )
    if weights is not None:
        _validate_weights(indptr, indices, weights)


def _validate_weights(indptr: LongTensor, indices: LongTensor, weights: FloatTensor) -> None:
    if weights.shape != indices.shape:
        raise InvalidInputError(f"there are {len(indices)} members but weights of shape {tuple(weights.shape)}")
    bad = (~(weights >= 0) | weights.isinf()).nonzero()
    if len(bad):
        raise InvalidInputError(f"weight {int(bad[0])} is {float(weights[bad[0]])}: must be finite and not negative")
    sizes = indptr.diff()
    row = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
    sums = torch.zeros(len(sizes), dtype=torch.float64, device=sizes.device).index_add_(0, row, weights.double())
    endless = sums.isinf().nonzero()
    if len(endless):
        raise InvalidInputError(f"the weights of row {int(endless[0])} sum to infinity: scale them down")
    empty = ((sums <= 0) & (sizes > 0)).nonzero()
    if len(empty):
        raise InvalidInputError(f"the weights of row {int(empty[0])} sum to 0: leave its members out instead")
