"""Gradient clipping that knows gradients of rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from pykeen.models import Model
from pykeen.training.callbacks import GradientAbsClippingTrainingCallback, GradientNormClippingTrainingCallback
from torch import nn
from torch.nn.utils import get_total_norm

__all__ = ["Clipping", "adapt_callbacks"]


class Clipping(NamedTuple):
    """How gradients are clipped before a step, as PyKEEN's ``train`` describes it.

    :param max_norm: the largest norm of all gradients together; ``None``: any
    :param norm_type: the norm; ``None``: the Euclidean one
    :param max_abs: the largest absolute value of a gradient; ``None``: any
    """

    max_norm: float | None = None
    norm_type: float | None = None
    max_abs: float | None = None

    def __bool__(self) -> bool:
        return self.max_norm is not None or self.max_abs is not None

    @torch.no_grad()
    def apply(self, parameters: Iterable[nn.Parameter]) -> None:
        """Clip the gradients of some parameters in place.

        :param parameters: the parameters; gradients may be dense, or sparse and coalesced
        :raises RuntimeError: if the norm is not finite
        """
        gradients = [
            parameter.grad._values() if parameter.grad.is_sparse else parameter.grad
            for parameter in parameters
            if parameter.grad is not None
        ]
        if self.max_norm is not None and gradients:
            norm = get_total_norm(gradients, self.norm_type or 2.0, error_if_nonfinite=True)
            factor = torch.clamp(self.max_norm / (norm + 1e-6), max=1.0)
            for gradient in gradients:
                gradient.mul_(factor)
        if self.max_abs is not None:
            for gradient in gradients:
                gradient.clamp_(-self.max_abs, self.max_abs)


def adapt_callbacks(callbacks: Iterable[Any], model: Model) -> None:
    """Let PyKEEN's callbacks for clipping work with gradients of rows.

    :param callbacks: the callbacks of a run
    :param model: the model
    """
    for callback in callbacks:
        if type(callback) is GradientNormClippingTrainingCallback:
            clipping = Clipping(callback.max_norm, callback.norm_type)
        elif type(callback) is GradientAbsClippingTrainingCallback:
            clipping = Clipping(max_abs=callback.clip_value)
        else:
            continue
        callback.pre_step = _Clip(clipping, model)


class _Clip:
    """Clips the gradients of a model when called as a callback."""

    def __init__(self, clipping: Clipping, model: Model) -> None:
        self.clipping, self.model = clipping, model

    def __call__(self, **_: Any) -> None:
        self.clipping.apply(self.model.get_grad_params())
