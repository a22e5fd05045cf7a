"""Lazy Adam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Adam

from kgneg.core.errors import InvalidInputError
from kgneg.core.rowwise.optimizer import RowOptimizer
from kgneg.core.typing import FloatTensor

__all__ = ["RowAdam"]


class RowAdam(RowOptimizer, Adam):
    """Adam whose step touches only the rows that have a gradient.

    For a dense gradient it is :class:`torch.optim.Adam`. For rows it is the lazy variant: a row that has no gradient
    keeps its moments and its values, whereas Adam lets the moments decay and goes on moving the row along its first
    moment. So results differ from Adam unless every row has a gradient in every step. The bias correction counts the
    steps of the whole table, as Adam does. Weight decay reaches a row when it has a gradient.

    Reference: Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015, arXiv 1412.6980; the lazy variant
    is common, for instance :class:`torch.optim.SparseAdam`.

    :param params: the parameters, or groups of them
    :param options: the options of :class:`torch.optim.Adam`; ``amsgrad``, ``maximize`` and a tensor as ``lr`` are not
        supported
    :raises InvalidInputError: if an option is not supported

    >>> weight = nn.Parameter(torch.zeros(3, 2))
    >>> weight.grad = torch.sparse_coo_tensor([[1]], [[1.0, -1.0]], (3, 2), is_coalesced=True, check_invariants=False)
    >>> RowAdam([weight], lr=0.1).step()
    >>> [round(number, 3) for number in weight[1].tolist()]
    [-0.1, 0.1]
    """

    def __init__(self, params: Any, **options: Any) -> None:
        for name in ("amsgrad", "maximize", "differentiable", "capturable"):
            if options.get(name):
                raise InvalidInputError(f"RowAdam has no {name}: leave it out, or take torch.optim.Adam")
        if isinstance(options.get("lr"), torch.Tensor):
            raise InvalidInputError("RowAdam needs a number as lr, got a tensor")
        if not options.get("foreach") and options.get("fused") is None:
            options["fused"] = True
        super().__init__(params, **options)

    def prepare(self, group: dict[str, Any], parameter: nn.Parameter) -> Sequence[torch.Tensor]:
        """Create the moments of a parameter if there are none, and count the step.

        :param group: the options of the parameter
        :param parameter: the parameter
        :returns: the first and the second moment
        """
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter, requires_grad=False)
            state["exp_avg_sq"] = torch.zeros_like(parameter, requires_grad=False)
        state["step"] += 1
        return state["exp_avg"], state["exp_avg_sq"]

    def update_rows(
        self, group: dict[str, Any], state: dict[str, Any], gradient: FloatTensor, values: FloatTensor, *tables: Any
    ) -> None:
        """Update some rows and their moments in place.

        :param group: the options of the parameter
        :param state: the number of steps
        :param gradient: shape: ``(u, d)``, the gradient of the rows
        :param values: shape: ``(u, d)``, the rows
        :param tables: shapes: ``(u, d)``, their moments
        """
        first, second = tables
        kernel = torch._fused_adamw_ if group.get("decoupled_weight_decay") else torch._fused_adam_
        kernel(
            [values],
            [gradient],
            [first],
            [second],
            [],
            [state["step"]],
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )
