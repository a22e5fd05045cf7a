"""A table of vectors whose gradient is gathered row by row."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor

__all__ = ["Contribution", "RowTable"]


class Contribution(NamedTuple):
    """A part of a gradient, held as factors: ``gradient[ids[i]] += weights[i] * source[picked[i]]``.

    :param ids: shape: ``(n,)``, int64, rows of the table, in any order and with repetitions
    :param source: shape: ``(k, d)``, vectors
    :param picked: shape: ``(n,)``, int64, rows of ``source``; ``None`` means ``0, 1, ..., n - 1``
    :param weights: shape: ``(n,)``; ``None`` means 1
    """

    ids: LongTensor
    source: FloatTensor
    picked: LongTensor | None = None
    weights: FloatTensor | None = None


class _Lookup(torch.autograd.Function):
    """Rows of a table; the gradient goes to the table's contributions and not through autograd."""

    @staticmethod
    def forward(ctx: Any, anchor: FloatTensor, table: RowTable, ids: LongTensor) -> FloatTensor:
        ctx.table, ctx.ids = table, ids
        return functional.embedding(ids, table.weight.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: FloatTensor) -> tuple[None, None, None]:
        (gradient,) = gradients
        ctx.table.add(Contribution(ctx.ids.reshape(-1), gradient.reshape(-1, gradient.shape[-1])))
        return None, None, None


class RowTable:
    """Reads rows of a weight and collects their gradient.

    Between two steps of the optimiser: :meth:`read` (or
    :func:`~kgneg.core.rowwise.candidates.candidate_scores`) any number of times, ``backward()`` of the loss, and one
    :meth:`flush`, which writes ``weight.grad``.

    :param weight: shape: ``(num_rows, d)``, the parameter; it must be contiguous
    :raises InvalidInputError: if the weight is not a contiguous matrix

    >>> weight = nn.Parameter(torch.ones(5, 2))
    >>> table = RowTable(weight)
    >>> table.read(torch.tensor([3, 3, 1])).sum().backward()
    >>> table.flush().tolist()
    [1, 3]
    >>> weight.grad.to_dense()[3].tolist()
    [2.0, 2.0]
    """

    def __init__(self, weight: nn.Parameter) -> None:
        if weight.ndim != 2 or not weight.is_contiguous():
            raise InvalidInputError(
                f"a row table needs a contiguous matrix, got shape {tuple(weight.shape)}, strides {weight.stride()}"
            )
        self.weight = weight
        #: a leaf that makes autograd call back
        self.anchor = torch.zeros((), device=weight.device, requires_grad=True)
        self._contributions: list[Contribution] = []
        self._workspace = torch.empty(0, dtype=weight.dtype, device=weight.device)
        self._lent: weakref.ref[FloatTensor] | None = None

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return self.weight.shape[0]

    @property
    def dim(self) -> int:
        """The number of columns."""
        return self.weight.shape[1]

    def read(self, ids: LongTensor) -> FloatTensor:
        """Return rows; differentiable when gradients are enabled.

        :param ids: shape: ``(*)``, int64 in ``[0, num_rows)``
        :returns: shape: ``(*, d)``
        """
        if not torch.is_grad_enabled():
            return functional.embedding(ids, self.weight)
        rows: FloatTensor = _Lookup.apply(self.anchor, self, ids)  # type: ignore[no-untyped-call]
        return rows

    def add(self, contribution: Contribution) -> None:
        """Note a part of the gradient.

        :param contribution: the part
        """
        self._contributions.append(contribution)

    def discard(self) -> None:
        """Forget what was collected since the last :meth:`flush`."""
        self._contributions.clear()

    def workspace(self, rows: int, spare: int = 0) -> FloatTensor:
        """Return a buffer of ``rows`` vectors with room for ``spare`` more behind them.

        A table keeps one buffer, for allocating tens of megabytes anew for every batch costs more than filling them.
        While the vectors handed out last are still in use, another buffer is made.

        :param rows: the number of vectors
        :param spare: the number of vectors that may be put behind them
        :returns: shape: ``(rows, d)``, with undefined content
        """
        lent = None if self._lent is None else self._lent()
        if lent is not None and any(part.source is lent for part in self._contributions):
            self.add(Contribution(*self.reduce()))  # its gradient is known: sum it up now
            lent = None
        needed = (rows + spare) * self.dim
        if lent is not None:
            return self.weight.new_empty((rows, self.dim), requires_grad=False)
        if self._workspace.numel() < needed:
            self._workspace = self.weight.new_empty(needed, requires_grad=False)
        view = self._workspace[: rows * self.dim].view(rows, self.dim)
        self._lent = weakref.ref(view)
        return view

    def reduce(self) -> tuple[LongTensor, FloatTensor]:
        """Sum up what was collected, and forget it.

        :returns: the rows that were read, shape ``(u,)``, sorted and without repetitions, and their gradient, shape
            ``(u, d)``
        """
        parts, self._contributions = self._contributions, []
        if not parts:
            empty = self.weight.new_empty((0, self.dim), requires_grad=False)
            return torch.empty(0, dtype=torch.int64, device=self.weight.device), empty
        ids = parts[0].ids if len(parts) == 1 else torch.cat([part.ids for part in parts])
        # 32-bit keys are sorted twice as fast
        ordered, order = torch.sort(ids.int() if self.num_rows < 2**31 else ids, stable=True)
        rows, counts = torch.unique_consecutive(ordered, return_counts=True)
        source, index, weights = self._joined(parts)
        values = functional.embedding_bag(
            order if index is None else index.index_select(0, order),
            source,
            counts.cumsum(0) - counts,
            mode="sum",
            per_sample_weights=None if weights is None else weights.index_select(0, order),
        )
        return rows.long(), values

    def flush(self, *, dense: bool = False) -> LongTensor:
        """Write the gradient that was collected to ``weight.grad``, adding to what is there.

        :param dense: write a dense tensor; otherwise a coalesced sparse one with the rows that were read
        :returns: the rows, shape ``(u,)``
        """
        rows, values = self.reduce()
        self.write(rows, values, dense=dense)
        return rows

    def write(self, rows: LongTensor, values: FloatTensor, *, dense: bool = False) -> None:
        """Add rows of a gradient to ``weight.grad``.

        :param rows: shape: ``(u,)``, sorted and without repetitions
        :param values: shape: ``(u, d)``
        :param dense: write a dense tensor; otherwise a coalesced sparse one, unless a dense one is there
        """
        before = self.weight.grad
        if before is not None and not before.is_sparse:
            before.index_add_(0, rows, values)
        elif dense:
            gradient = torch.zeros_like(self.weight, requires_grad=False).index_copy_(0, rows, values)
            self.weight.grad = gradient if before is None else gradient.add_(before)
        else:
            gradient = torch.sparse_coo_tensor(
                rows[None], values, self.weight.shape, is_coalesced=True, check_invariants=False
            )
            self.weight.grad = gradient if before is None else (before + gradient).coalesce()

    def _joined(self, parts: list[Contribution]) -> tuple[FloatTensor, LongTensor | None, FloatTensor | None]:
        """Return one source, and index and weights into it, for all parts; no copy of the workspace is made."""
        if len(parts) == 1:
            return parts[0].source, parts[0].picked, parts[0].weights
        starts, source = self._stacked([part.source for part in parts])
        index = torch.cat(
            [
                torch.arange(start, start + len(part.ids), device=part.ids.device)
                if part.picked is None
                else part.picked + start
                for start, part in zip(starts, parts, strict=True)
            ]
        )
        if all(part.weights is None for part in parts):
            return source, index, None
        weights = torch.cat(
            [source.new_ones(len(part.ids)) if part.weights is None else part.weights for part in parts]
        )
        return source, index, weights

    def _stacked(self, sources: list[FloatTensor]) -> tuple[list[int], FloatTensor]:
        """Return where each source starts in a common one, and that; it lies in the workspace where there is room."""
        total = sum(map(len, sources))
        base = self._workspace.data_ptr()
        inside = [i for i, part in enumerate(sources) if len(part) and part.data_ptr() == base]
        lent = self._lent is not None and self._lent() is not None
        starts, end = [0] * len(sources), 0
        if not inside and not lent:
            common = self.workspace(total)
        elif len(inside) == 1 and self._workspace.numel() >= total * self.dim:
            common, end = self._workspace[: total * self.dim].view(total, self.dim), len(sources[inside[0]])
        else:
            common = self.weight.new_empty((total, self.dim), requires_grad=False)
            inside = []
        for i, part in enumerate(sources):
            if i not in inside:
                common[end : end + len(part)] = part
                starts[i], end = end, end + len(part)
        return starts, common
