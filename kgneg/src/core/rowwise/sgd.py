"""Stochastic gradient descent by rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD

from kgneg.core.errors import InvalidInputError
from kgneg.core.rowwise.optimizer import RowOptimizer
from kgneg.core.rowwise.storing import store_rows
from kgneg.core.typing import FloatTensor, LongTensor

__all__ = ["RowSGD"]


class RowSGD(RowOptimizer, SGD):
    """Gradient descent whose step touches only the rows that have a gradient.

    Without momentum and weight decay, results equal those of :class:`torch.optim.SGD` up to rounding. With momentum,
    the velocity of a row decays and moves the row only in steps in which it has a gradient; weight decay likewise.

    :param params: the parameters, or groups of them
    :param options: the options of :class:`torch.optim.SGD`; ``maximize`` is not supported
    :raises InvalidInputError: if an option is not supported

    >>> weight = nn.Parameter(torch.zeros(3, 2))
    >>> weight.grad = torch.sparse_coo_tensor([[1]], [[4.0, -1.0]], (3, 2), is_coalesced=True, check_invariants=False)
    >>> RowSGD([weight], lr=0.5).step()
    >>> weight[1].tolist()
    [-2.0, 0.5]
    """

    def __init__(self, params: Any, **options: Any) -> None:
        for name in ("maximize", "differentiable"):
            if options.get(name):
                raise InvalidInputError(f"RowSGD has no {name}: leave it out, or take torch.optim.SGD")
        super().__init__(params, **options)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one step.

        :param closure: computes the loss anew; its gradients must be dense
        :returns: the loss of the closure, if any
        """
        loss = super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and not parameter.grad.is_sparse and "started" in self.state[parameter]:
                    self.state[parameter]["started"].fill_(1)
        return loss

    def prepare(self, group: dict[str, Any], parameter: nn.Parameter) -> None:
        """Create the velocity of a parameter if it needs one.

        :param group: the options of the parameter
        :param parameter: the parameter
        """
        state = self.state[parameter]
        if not group["momentum"] or "started" in state:
            return
        moved = state.get("momentum_buffer") is not None  # by dense steps
        if not moved:
            state["momentum_buffer"] = torch.zeros_like(parameter, requires_grad=False)
        state["started"] = torch.full((len(parameter), 1), moved, device=parameter.device)

    def update_rows(
        self,
        group: dict[str, Any],
        state: dict[str, Any],
        weight: FloatTensor,
        rows: LongTensor,
        gradient: FloatTensor,
    ) -> FloatTensor:
        """Update the velocity of some rows, if there is any.

        :param group: the options of the parameter
        :param state: the velocity
        :param weight: shape: ``(num_rows, d)``, the weight
        :param rows: shape: ``(u,)``, distinct rows
        :param gradient: shape: ``(u, d)``, their gradient
        :returns: shape: ``(u, d)``, the new rows
        """
        values = weight.index_select(0, rows)
        if group["weight_decay"]:
            gradient = gradient.add(values, alpha=group["weight_decay"])
        if group["momentum"]:
            buffer, started = state["momentum_buffer"], state["started"]
            # the first gradient of a row is its velocity, undamped, as in torch
            damping = torch.where(started.index_select(0, rows).bool(), 1 - group["dampening"], 1.0)
            velocity = buffer.index_select(0, rows).mul_(group["momentum"]).addcmul_(gradient, damping)
            store_rows(buffer, rows, velocity)
            started.index_fill_(0, rows, 1)
            gradient = gradient.add(velocity, alpha=group["momentum"]) if group["nesterov"] else velocity
        return values.add_(gradient, alpha=-group["lr"])
