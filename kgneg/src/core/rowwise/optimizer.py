"""What optimisers that update rows have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
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
        self.prepare(group, parameter)
        projection = self._projections.get(id(parameter))
        weight = parameter.detach()
        step = max(1, _BLOCK // max(1, weight[0].numel())) if weight.device.type == "cpu" else max(1, len(rows))
        for start in range(0, len(rows), step):
            block, gradient = rows[start : start + step], values[start : start + step]
            updated = self.update_rows(group, self.state[parameter], weight, block, gradient)
            store_rows(weight, block, updated if projection is None else projection(updated))

    @abstractmethod
    def prepare(self, group: dict[str, Any], parameter: nn.Parameter) -> None:
        """Create the state of a parameter if there is none, and count the step.

        :param group: the options of the parameter
        :param parameter: the parameter
        """

    @abstractmethod
    def update_rows(
        self,
        group: dict[str, Any],
        state: dict[str, Any],
        weight: FloatTensor,
        rows: LongTensor,
        gradient: FloatTensor,
    ) -> FloatTensor:
        """Update the state of some rows.

        :param group: the options of the parameter
        :param state: the state of the parameter
        :param weight: shape: ``(num_rows, d)``, the weight; not to be changed
        :param rows: shape: ``(u,)``, distinct rows
        :param gradient: shape: ``(u, d)``, their gradient; not to be changed
        :returns: shape: ``(u, d)``, the new rows
        """
