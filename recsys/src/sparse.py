"""Products with sparse matrices that are stored by row, in bounded memory, on any device."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F

from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.recsys.interactions import Interactions

__all__ = ["CsrMatrix", "PairMatrix", "add_rows", "multiply"]

#: How many entries of a matrix are looked at in one go.
_ENTRIES = 1 << 21
#: An addition at a place of its own costs as much as so many in a row.
_SCATTER = 50


class CsrMatrix(NamedTuple):
    """A sparse matrix of ``n`` rows.

    :param indptr: shape: ``(n + 1,)``, int64, where the entries of each row begin and end
    :param columns: shape: ``(m,)``, int64
    :param values: shape: ``(m,)``, or ``None``: ones
    """

    indptr: LongTensor
    columns: LongTensor
    values: FloatTensor | None = None


class PairMatrix(NamedTuple):
    """Interactions, stored by user and by item.

    :param of_users: one row for each user
    :param of_items: one row for each item
    """

    of_users: CsrMatrix
    of_items: CsrMatrix

    @classmethod
    def build(cls, pairs: Interactions) -> PairMatrix:
        """Store interactions both ways.

        :param pairs: the interactions
        :returns: the matrices, on the CPU
        """
        indptr = torch.cat([torch.zeros(1, dtype=torch.int64), pairs.item_counts.cumsum(0)])
        by_item = CsrMatrix(indptr, pairs.users[pairs.items.argsort(stable=True)])
        return cls(CsrMatrix(pairs.indptr, pairs.items), by_item)


def add_rows(
    out: FloatTensor, targets: LongTensor, rows: LongTensor, matrix: CsrMatrix, weights: FloatTensor | None = None
) -> FloatTensor:
    """Add rows of a sparse matrix to rows of a dense one, in place.

    :param out: shape: ``(b, c)``, contiguous
    :param targets: shape: ``(t,)``, the row of ``out`` that is added to, also repeated
    :param rows: shape: ``(t,)``, the row of the matrix that is added
    :param matrix: the matrix, of ``c`` columns
    :param weights: shape: ``(t,)``, what each row is multiplied by; ``None``: 1
    :returns: ``out``

    >>> matrix = CsrMatrix(torch.tensor([0, 1, 3]), torch.tensor([2, 0, 1]))
    >>> add_rows(torch.zeros(1, 3), torch.tensor([0, 0]), torch.tensor([0, 1]), matrix).tolist()
    [[1.0, 1.0, 1.0]]
    """
    lengths = matrix.indptr[rows + 1] - matrix.indptr[rows]
    piece = (lengths.cumsum(0) - 1).clamp(min=0) // _ENTRIES
    bounds = torch.cat([piece.new_zeros(1), piece.diff().nonzero().squeeze(1) + 1]).tolist()
    for start, end in pairwise([*bounds, len(rows)]):
        target, row, length = targets[start:end], rows[start:end], lengths[start:end]
        shift = matrix.indptr[row] - (length.cumsum(0) - length)
        which = torch.repeat_interleave(length)
        place = torch.arange(len(which), device=which.device) + shift[which]
        values = out.new_ones(1).expand(len(which)) if matrix.values is None else matrix.values[place]
        if weights is not None:
            values = values * weights[start:end][which]
        out.view(-1).scatter_add_(0, target[which] * out.shape[1] + matrix.columns[place], values)
    return out


def multiply(
    targets: LongTensor,
    rows: LongTensor,
    number: int,
    matrix: CsrMatrix,
    transposed: CsrMatrix,
    weights: FloatTensor | None = None,
) -> FloatTensor:
    """Multiply a sparse matrix with another one into a dense one, entry by entry if the entries are few.

    :param targets: shape: ``(t,)``, the row of each entry of the first matrix
    :param rows: shape: ``(t,)``, the column of each entry, no two entries alike
    :param number: the number of rows ``b`` of the first matrix
    :param matrix: the second matrix, of ones, ``n`` rows and ``c`` columns
    :param transposed: the same, transposed
    :param weights: shape: ``(t,)``, the values of the entries; ``None``: ones
    :returns: shape: ``(b, c)``, float32

    >>> matrix = CsrMatrix(torch.tensor([0, 1, 3]), torch.tensor([2, 0, 1]))
    >>> transposed = CsrMatrix(torch.tensor([0, 1, 2, 3]), torch.tensor([1, 1, 0]))
    >>> multiply(torch.tensor([0, 0]), torch.tensor([0, 1]), 1, matrix, transposed, torch.tensor([2.0, 1.0])).tolist()
    [[1.0, 1.0, 2.0]]
    """
    length, width = len(matrix.indptr) - 1, len(transposed.indptr) - 1
    entries = int((matrix.indptr[rows + 1] - matrix.indptr[rows]).sum())
    if entries * _SCATTER <= len(matrix.columns) * number:
        return add_rows(torch.zeros(number, width, device=rows.device), targets, rows, matrix, weights)
    turned = torch.zeros(length, number, device=rows.device)
    turned[rows, targets] = turned.new_ones(()) if weights is None else weights
    bags = F.embedding_bag(transposed.columns, turned, transposed.indptr, mode="sum", include_last_offset=True)
    return bags.T.contiguous()
