"""Stochastic gradient descent by rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import SGD

from kgneg.core.errors import InvalidInputError
from kgneg.core.rowwise.optimizer import RowOptimizer
from kgneg.core.typing import FloatTensor

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

    def prepare(self, group: dict[str, Any], parameter: nn.Parameter) -> Sequence[torch.Tensor]:
        """Create the velocity of a parameter if it needs one.

        :param group: the options of the parameter
        :param parameter: the parameter
        :returns: the velocity, and which rows have one; nothing without momentum
        """
        state = self.state[parameter]
        if not group["momentum"]:
            return ()
        if "started" not in state:
            moved = state.get("momentum_buffer") is not None  # by dense steps
            if not moved:
                state["momentum_buffer"] = torch.zeros_like(parameter, requires_grad=False)
            state["started"] = torch.full((len(parameter), 1), moved, device=parameter.device)
        return state["momentum_buffer"], state["started"]

    def update_rows(
        self, group: dict[str, Any], state: dict[str, Any], gradient: FloatTensor, values: FloatTensor, *tables: Any
    ) -> None:
        """Update some rows, and their velocity if there is any, in place.

        :param group: the options of the parameter
        :param state: the state of the parameter
        :param gradient: shape: ``(u, d)``, the gradient of the rows
        :param values: shape: ``(u, d)``, the rows
        :param tables: shapes: ``(u, d)`` and ``(u, 1)``, their velocity and whether they have one
        """
        if group["weight_decay"]:
            gradient = gradient.add(values, alpha=group["weight_decay"])
        if tables:
            velocity, started = tables
            # the first gradient of a row is its velocity, undamped, as in torch
            damping = torch.where(started.bool(), 1 - group["dampening"], 1.0)
            velocity.mul_(group["momentum"]).addcmul_(gradient, damping)
            started.fill_(1)
            gradient = gradient.add(velocity, alpha=group["momentum"]) if group["nesterov"] else velocity
        values.add_(gradient, alpha=-group["lr"])
