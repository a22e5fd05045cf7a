"""Adagrad by rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Adagrad

from kgneg.core.errors import InvalidInputError
from kgneg.core.rowwise.optimizer import RowOptimizer
from kgneg.core.typing import FloatTensor

__all__ = ["RowAdagrad"]


class RowAdagrad(RowOptimizer, Adagrad):
    """Adagrad whose step touches only the rows that have a gradient.

    A row without gradient does not move in Adagrad either, so results equal those of :class:`torch.optim.Adagrad` up to
    rounding, except with weight decay, which reaches a row here only when it has a gradient.

    Reference: Duchi, Hazan and Singer, Adaptive Subgradient Methods for Online Learning and Stochastic Optimization,
    JMLR 2011.

    :param params: the parameters, or groups of them
    :param options: the options of :class:`torch.optim.Adagrad`; ``maximize`` is not supported
    :raises InvalidInputError: if an option is not supported

    >>> weight = nn.Parameter(torch.zeros(3, 2))
    >>> weight.grad = torch.sparse_coo_tensor([[1]], [[4.0, -1.0]], (3, 2), is_coalesced=True, check_invariants=False)
    >>> RowAdagrad([weight], lr=0.1).step()
    >>> [round(number, 3) for number in weight[1].tolist()]
    [-0.1, 0.1]
    """

    def __init__(self, params: Any, **options: Any) -> None:
        for name in ("maximize", "differentiable"):
            if options.get(name):
                raise InvalidInputError(f"RowAdagrad has no {name}: leave it out, or take torch.optim.Adagrad")
        super().__init__(params, **options)

    def prepare(self, group: dict[str, Any], parameter: nn.Parameter) -> Sequence[torch.Tensor]:
        """Count the step; the state exists from the start.

        :param group: the options of the parameter
        :param parameter: the parameter
        :returns: the sums of squares
        """
        state = self.state[parameter]
        state["step"] += 1
        return (state["sum"],)

    def update_rows(
        self, group: dict[str, Any], state: dict[str, Any], gradient: FloatTensor, values: FloatTensor, *tables: Any
    ) -> None:
        """Update some rows and their sums of squares in place.

        :param group: the options of the parameter
        :param state: the number of steps
        :param gradient: shape: ``(u, d)``, the gradient of the rows
        :param values: shape: ``(u, d)``, the rows
        :param tables: shape: ``(u, d)``, their sums
        """
        (total,) = tables
        if group["weight_decay"]:
            gradient = gradient.add(values, alpha=group["weight_decay"])
        total.addcmul_(gradient, gradient)
        rate = group["lr"] / (1 + (float(state["step"]) - 1) * group["lr_decay"]) if group["lr_decay"] else group["lr"]
        values.addcdiv_(gradient, total.sqrt().add_(group["eps"]), value=-rate)
