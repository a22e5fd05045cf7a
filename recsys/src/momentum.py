"""An encoder and its slowly following copy."""

from __future__ import annotations

import copy
import math
from typing import Any, Self

import torch
from torch import nn

from kgneg.core.typing import FloatTensor
from kgneg.core.validation import choose, validate_share
from kgneg.recsys.encoders import NodeEncoder

__all__ = ["MomentumPair", "momentum_at"]

_SCHEDULES = ("constant", "cosine")


def momentum_at(momentum: float, schedule: str, step: int, total: int) -> float:
    r"""Return the momentum of a step.

    :param momentum: that of the first step, in ``[0, 1]``
    :param schedule: ``"constant"``, or ``"cosine"``, which rises to 1 as
        :math:`1 - (1 - m) (\cos(\pi t / T) + 1) / 2`
    :param step: the number :math:`t` of the step, from 0
    :param total: the number :math:`T` of all steps
    :returns: the momentum
    :raises InvalidInputError: if the schedule is not known

    >>> momentum_at(0.9, "cosine", 5, 10)
    0.95
    """
    if choose("momentum_schedule", schedule, _SCHEDULES) == "constant":
        return momentum
    return 1 - (1 - momentum) * (math.cos(math.pi * min(step / max(total, 1), 1.0)) + 1) / 2


class MomentumPair(nn.Module):
    r"""An *online* encoder that learns, and a *target* that follows it: :math:`\xi \gets m \xi + (1 - m) \theta`.

    The target starts as a copy, has no gradient, and is moved in place, in one call for all its parameters.

    Where encoding is a linear map that stays the same (:attr:`~kgneg.recsys.encoders.NodeEncoder.average_outputs`), the
    outputs of the target are the same moving average of the outputs of the online encoder. :meth:`encode` then never
    propagates for the target: it moves the outputs that it keeps. Rounding makes these drift; :meth:`refresh` has them
    computed anew.

    Source: Grill et al., Bootstrap Your Own Latent, NeurIPS 2020.

    :param online: the encoder that learns

    >>> from kgneg.recsys import IdEncoder, Interactions
    >>> pairs = Interactions(torch.tensor([0]), torch.tensor([0]), num_users=1, num_items=1)
    >>> pair = MomentumPair(IdEncoder(pairs, dim=1, generator=torch.Generator().manual_seed(0)))
    >>> _ = pair.online.table.data.fill_(1.0), pair.target.table.data.fill_(0.0)
    >>> pair.step(0.75)
    >>> pair.target.table.tolist()
    [[0.25], [0.25]]
    """

    def __init__(self, online: NodeEncoder) -> None:
        super().__init__()
        self.online = online
        shared = {id(part): part for part in online.children()}  # they have no parameters, but may have a graph
        self.target = copy.deepcopy(online, shared).requires_grad_(False)
        self._kept: FloatTensor | None = None
        self._pending: float | None = None

    @torch.no_grad()
    def step(self, momentum: float) -> None:
        """Move the target towards the online encoder; to be called after each step of the optimiser.

        :param momentum: in ``[0, 1]``; 0 copies, 1 stands still
        :raises InvalidInputError: if it is out of range
        """
        weight = 1.0 - validate_share("momentum", momentum)
        torch._foreach_lerp_(list(self.target.parameters()), list(self.online.parameters()), weight)
        self._pending = weight

    def _apply(self, *arguments: Any, **options: Any) -> Self:
        self.refresh()  # what is kept would stay behind
        return super()._apply(*arguments, **options)  # type: ignore[no-untyped-call, no-any-return]

    def refresh(self) -> None:
        """Forget the outputs that are kept, so that they are computed anew."""
        self._kept = self._pending = None

    def encode(self, generator: torch.Generator | None = None) -> tuple[FloatTensor, FloatTensor]:
        """Return the outputs of both encoders, those of the target without gradient.

        :param generator: the source of randomness in training; each encoder draws on its own
        :returns: twice shape ``(n, d)``
        """
        online = self.online.outputs(generator)
        with torch.no_grad():
            if not self.online.average_outputs:
                return online, self.target.outputs(generator)
            if self._kept is None:
                self._kept = self.target.outputs()
            elif self._pending is not None:
                self._kept.lerp_(online, self._pending)
            self._pending = None
            return online, self._kept
