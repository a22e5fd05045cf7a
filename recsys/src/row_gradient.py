"""Rows of a table, with a gradient that costs as much as the rows and not as the table."""

from __future__ import annotations

import sys
import weakref
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from kgneg.core.typing import FloatTensor, LongTensor

__all__ = ["RowGradient"]

#: an attribute, a variable and the argument that asks
_OWN_REFERENCES = 3


class RowGradient:
    """Looks rows up; the gradient of the table is written into a tensor that is kept from step to step.

    The dense gradient of a look-up is a tensor of the size of the table, made and filled with zeros at each step for
    the sake of a few rows. Here that is done once: later steps empty the rows of the step before and fill their own.
    The result is the same, ``table.grad``, dense and zero elsewhere. If anything else has written to it in the
    meantime, such as a second term of the loss or an average over processes, all of it is emptied; if anyone else still
    holds it, or the table is another one, a new tensor is made.

    It is for training loops, which read ``table.grad`` after ``backward``: :func:`torch.autograd.grad` does not see the
    look-up, nor does a wrapper such as DistributedDataParallel, it cannot be differentiated twice, and what is written
    through ``table.grad.data`` is not noticed. A table with hooks gets the usual gradient.

    >>> table = nn.Parameter(torch.ones(4, 2))
    >>> RowGradient().look_up(table, torch.tensor([1, 1])).sum().backward()
    >>> table.grad.tolist()
    [[0.0, 0.0], [2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]
    """

    def __init__(self) -> None:
        self._kept: FloatTensor | None = None
        self._owner: weakref.ref[nn.Parameter] | None = None
        self._filled: list[LongTensor] = []
        self._version = -1

    def __deepcopy__(self, memo: dict[int, Any]) -> RowGradient:
        return RowGradient()

    def __reduce__(self) -> tuple[type[RowGradient], tuple[()]]:
        return RowGradient, ()

    def look_up(self, table: nn.Parameter, rows: LongTensor) -> FloatTensor:
        """Return some rows.

        :param table: shape: ``(n, d)``
        :param rows: shape: ``(*)``, in ``[0, n)``
        :returns: shape: ``(*, d)``
        """
        if table._backward_hooks or getattr(table, "_post_accumulate_grad_hooks", None):
            return torch.nn.functional.embedding(rows, table)
        found: FloatTensor = _Rows.apply(table, rows, self)  # type: ignore[no-untyped-call]
        return found

    def add(self, table: nn.Parameter, rows: LongTensor, gradient: FloatTensor) -> None:
        """Add to ``table.grad``.

        :param table: shape: ``(n, d)``
        :param rows: shape: ``(b,)``, in ``[0, n)``
        :param gradient: shape: ``(b, d)``
        """
        if table.grad is None:
            table.grad = self._emptied(table)
        elif table.grad is not self._kept:
            table.grad.index_add_(0, rows, gradient)
            return
        clean = self._version == table.grad._version
        table.grad.index_add_(0, rows, gradient)
        if clean:
            self._filled.append(rows.clone())  # the caller may write to it
        else:
            self._filled = []
        self._version = table.grad._version if clean else -1

    def _emptied(self, table: nn.Parameter) -> FloatTensor:
        kept = self._kept
        fits = kept is not None and self._owner is not None and self._owner() is table
        if (
            kept is None
            or not fits
            or (kept.shape, kept.dtype, kept.device) != (table.shape, table.dtype, table.device)
            or sys.getrefcount(kept) > _OWN_REFERENCES
        ):
            kept = self._kept = torch.zeros_like(table)
            self._owner = weakref.ref(table)
        elif kept._version == self._version:
            for rows in self._filled:
                kept.index_fill_(0, rows, 0.0)
        else:
            kept.zero_()
        self._filled, self._version = [], kept._version
        return kept


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, table: nn.Parameter, rows: LongTensor, keeper: RowGradient) -> FloatTensor:
        context.table, context.keeper = table, keeper
        context.save_for_backward(rows)
        return torch.nn.functional.embedding(rows, table)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: FloatTensor) -> tuple[None, None, None]:
        (rows,) = context.saved_tensors
        context.keeper.add(context.table, rows.reshape(-1), gradient.reshape(-1, gradient.shape[-1]))
        return None, None, None
