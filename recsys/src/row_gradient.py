"""Rows of a table, with a gradient that costs as much as the rows and not as the table."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from kgneg.core.typing import FloatTensor, LongTensor

__all__ = ["RowGradient"]


class RowGradient:
    """Looks rows up; the gradient of the table is written into a tensor that is kept from step to step.

    The dense gradient of a look-up is a tensor of the size of the table, made and filled with zeros at each step for
    the sake of a few rows. Here that is done once: later steps empty the rows of the step before and fill their own.
    The result is the same, ``table.grad``, dense and zero elsewhere. If anything else has written to it in the
    meantime, such as a second term of the loss or an average over processes, all of it is emptied.

    Hooks on the gradient of the table are not called, and the look-up cannot be differentiated twice.

    >>> table = nn.Parameter(torch.ones(4, 2))
    >>> RowGradient().look_up(table, torch.tensor([1, 1])).sum().backward()
    >>> table.grad.tolist()
    [[0.0, 0.0], [2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]
    """

    def __init__(self) -> None:
        self._kept: FloatTensor | None = None
        self._filled: list[LongTensor] = []
        self._version = -1

    def __deepcopy__(self, memo: dict[int, Any]) -> RowGradient:
        return RowGradient()

    def __getstate__(self) -> dict[str, Any]:
        return {"_kept": None, "_filled": [], "_version": -1}

    def look_up(self, table: nn.Parameter, rows: LongTensor) -> FloatTensor:
        """Return some rows.

        :param table: shape: ``(n, d)``
        :param rows: shape: ``(*)``, in ``[0, n)``
        :returns: shape: ``(*, d)``
        """
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
        self._filled.append(rows)
        self._version = table.grad._version if clean else -1

    def _emptied(self, table: nn.Parameter) -> FloatTensor:
        kept = self._kept
        if kept is None or kept.shape != table.shape or kept.dtype != table.dtype or kept.device != table.device:
            kept = self._kept = torch.zeros_like(table)
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
        context.keeper.add(context.table, rows.flatten(), gradient.flatten(0, rows.dim() - 1))
        return None, None, None
