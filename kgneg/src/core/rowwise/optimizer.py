"""What optimisers that update rows have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import count, pairwise
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.optim import Optimizer

from kgneg.core.rowwise.storing import store_rows
from kgneg.core.typing import FloatTensor, LongTensor

__all__ = ["Projection", "RowOptimizer"]

#: Maps rows, shape ``(u, d)``, to the rows that are stored in their place.
Projection: TypeAlias = Callable[[FloatTensor], FloatTensor]

#: About how many numbers of a table are updated at a time, so that they stay in a core's cache.
_BLOCK = 2**15

#: Where a larger share of a table has a gradient, the rows are updated where they lie.
_MOST = 0.75


class RowOptimizer(Optimizer):
    """Mixin for an optimiser of torch: a sparse gradient updates only the rows that it names, in state and weight.

    A dense gradient is left to the optimiser that it is mixed into. A sparse gradient must be coalesced, as
    :meth:`~kgneg.core.rowwise.table.RowTable.flush` writes it.
    """

    @property
    def _projections(self) -> dict[int, Projection]:
        projections: dict[int, Projection] = self.__dict__.setdefault("_row_projections", {})
        return projections

    def project(self, parameter: nn.Parameter, projection: Projection | None) -> None:
        """Set what is applied to the rows of a parameter whenever they were updated, such as a norm constraint.

        :param parameter: the parameter
        :param projection: the function; ``None`` removes it
        """
        if projection is None:
            self._projections.pop(id(parameter), None)
        else:
            self._projections[id(parameter)] = projection

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one step.

        :param closure: computes the loss anew; its gradients must be dense
        :returns: the loss of the closure, if any
        """
        rowwise: list[tuple[dict[str, Any], nn.Parameter, torch.Tensor]] = []
        whole: list[nn.Parameter] = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.grad.is_sparse:
                    rowwise.append((group, parameter, parameter.grad))
                    parameter.grad = None
                elif id(parameter) in self._projections:
                    whole.append(parameter)
        try:
            dense = super().step.__func__  # type: ignore[attr-defined]
            if getattr(dense, "hooked", False):
                dense = dense.__wrapped__  # torch has wrapped this method already, to call the hooks
            loss: float | None = dense(self, closure)
        finally:
            for _, parameter, gradient in rowwise:
                parameter.grad = gradient
        for parameter in whole:
            parameter.copy_(self._projections[id(parameter)](parameter.detach()))
        for group, parameter, gradient in rowwise:
            gradient = gradient.coalesce()
            self._update(group, parameter, gradient._indices()[0], gradient._values())
        return loss

    def _update(self, group: dict[str, Any], parameter: nn.Parameter, rows: LongTensor, values: FloatTensor) -> None:
        """Update rows of a parameter block by block."""
        weight = parameter.detach()
        tables = [weight, *self.prepare(group, parameter)]
        on_cpu = weight.device.type == "cpu"
        step = max(1, _BLOCK // max(1, weight[:1].numel())) if on_cpu else max(1, len(rows))
        blocks = _stretches if on_cpu and len(rows) > _MOST * len(weight) else _gathered
        projection = self._projections.get(id(parameter))
        for parts, gradient in blocks(tables, rows, values, step):
            self.update_rows(group, self.state[parameter], gradient, *parts)
            if projection is not None:
                parts[0].copy_(projection(parts[0]))

    @abstractmethod
    def prepare(self, group: dict[str, Any], parameter: nn.Parameter) -> Sequence[torch.Tensor]:
        """Create the state of a parameter if there is none, and count the step.

        :param group: the options of the parameter
        :param parameter: the parameter
        :returns: the parts of the state that have a row for each row of the parameter
        """

    @abstractmethod
    def update_rows(
        self, group: dict[str, Any], state: dict[str, Any], gradient: FloatTensor, values: FloatTensor, *tables: Any
    ) -> None:
        """Update some rows, and their state, in place.

        :param group: the options of the parameter
        :param state: the state of the parameter
        :param gradient: shape: ``(u, d)``, the gradient of the rows; not to be changed
        :param values: shape: ``(u, d)``, the rows
        :param tables: shapes: ``(u, *)``, the same rows of what :meth:`prepare` returned
        """


def _gathered(
    tables: Sequence[torch.Tensor], rows: LongTensor, values: FloatTensor, step: int
) -> Iterator[tuple[list[torch.Tensor], FloatTensor]]:
    """Yield copies of rows of the tables, and their gradient; what became of the copies is stored."""
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        parts = [table.index_select(0, block) for table in tables]
        yield parts, values[start : start + step]
        for table, part in zip(tables, parts, strict=True):
            store_rows(table, block, part)


def _stretches(
    tables: Sequence[torch.Tensor], rows: LongTensor, values: FloatTensor, step: int
) -> Iterator[tuple[list[torch.Tensor], FloatTensor]]:
    """Yield stretches of the tables themselves, and their gradient; the few rows without one are put back."""
    others = torch.ones(len(tables[0]), dtype=torch.bool).index_fill_(0, rows, 0).nonzero().squeeze(-1)
    before = [table.index_select(0, others) for table in tables]
    bounds = torch.searchsorted(rows, torch.arange(0, len(tables[0]) + step, step)).tolist()
    spread = values.new_empty((step, *values.shape[1:]))
    for first, (begin, end) in zip(count(0, step), pairwise(bounds)):
        parts = [table[first : first + step] for table in tables]
        gradient = values[begin:end]
        if len(gradient) < len(parts[0]):
            store_rows(spread, rows[begin:end] - first, gradient)
            gradient = spread[: len(parts[0])]  # what stands in the other rows does not matter
        yield parts, gradient
    for table, old in zip(tables, before, strict=True):
        store_rows(table, others, old)
