"""Modules whose whole state is in buffers of any size."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import nn

__all__ = ["BufferModule", "share"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class BufferModule(nn.Module):
    """A module that takes over the buffers of a state dict whatever their size.

    :class:`torch.nn.Module` refuses a buffer of another shape; for an index over data that is the normal case. A
    subclass recomputes what it derives from its buffers in :meth:`_derive`, which its constructor calls as well.
    """

    def _derive(self) -> None:
        """Recompute plain attributes from the buffers."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for name, old in list(self._buffers.items()):
            new = state_dict.get(prefix + name)
            if new is not None:
                device = new.device if old is None else old.device
                self._buffers[name] = torch.empty_like(new, device=device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._derive()


def share(module: ModuleT) -> ModuleT:
    """Return a copy that shares the tensors of a module but can be moved or loaded on its own.

    :param module: a module
    :returns: a module of the same type; moving it leaves the original where it is

    >>> original = nn.Linear(2, 2)
    >>> share(original).weight is original.weight
    True
    """
    twin = copy.copy(module)
    twin._parameters = dict(module._parameters)
    twin._buffers = dict(module._buffers)
    twin._modules = {name: None if child is None else share(child) for name, child in module._modules.items()}
    return twin
