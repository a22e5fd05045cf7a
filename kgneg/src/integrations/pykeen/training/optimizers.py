"""Row-wise variants of torch's optimisers."""

from __future__ import annotations

import inspect

from class_resolver.contrib.torch import optimizer_resolver
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer

from kgneg.core.errors import InvalidInputError
from kgneg.core.rowwise import RowAdagrad, RowAdam, RowOptimizer, RowSGD

__all__ = ["register", "rowwise"]

_VARIANTS: dict[type[Optimizer], type[RowOptimizer]] = {
    Adam: RowAdam,
    AdamW: RowAdam,
    Adagrad: RowAdagrad,
    SGD: RowSGD,
}


def rowwise(optimizer: Optimizer) -> Optimizer | None:
    """Return the row-wise variant of an optimiser, over the same parameters and with the same options and state.

    :param optimizer: the optimiser
    :returns: the variant, the optimiser itself if it is one, or ``None`` if there is none
    """
    if isinstance(optimizer, RowOptimizer):
        return optimizer
    variant = _VARIANTS.get(type(optimizer))
    if variant is None:
        return None
    accepted = set(inspect.signature(variant.__mro__[2]).parameters)
    options = {name: value for name, value in optimizer.defaults.items() if name in accepted}
    groups = [
        {name: value for name, value in group.items() if name not in options or value != options[name]}
        for group in optimizer.param_groups
    ]
    try:
        made = variant(groups, **options)
    except InvalidInputError:
        return None
    if optimizer.state:
        made.load_state_dict(optimizer.state_dict())
    return made


def register() -> None:
    """Let PyKEEN find the row-wise optimisers by name, such as ``optimizer="rowadam"``."""
    for variant in (RowAdam, RowAdagrad, RowSGD):
        optimizer_resolver.register(variant, raise_on_conflict=False)
