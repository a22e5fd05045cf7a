"""The state of a training on disk, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import read_tensors, write_tensors
from kgneg.recsys.history import History

__all__ = ["read_checkpoint", "write_checkpoint"]

_PARTS = ("model", "best", "optimizer")


def write_checkpoint(
    path: Path,
    key: str,
    history: History,
    model: Mapping[str, torch.Tensor],
    best: Mapping[str, torch.Tensor] | None,
    optimizer: torch.optim.Optimizer,
    scaler: Mapping[str, Any],
) -> None:
    """Write everything that the next epoch depends on; atomically.

    :param path: the file
    :param key: what is trained on what, see :func:`read_checkpoint`
    :param history: what happened so far
    :param model: the state of the model
    :param best: the state of the best epoch, if there is one
    :param optimizer: the optimiser
    :param scaler: the state of the gradient scaler
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in (best or {}).items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in state.items()}
    facts = {"key": key, "history": history.to_dict(), "scaler": dict(scaler)}
    write_tensors(path, {name: tensor.clone() for name, tensor in tensors.items()}, {"kgneg": json.dumps(facts)})


def read_checkpoint(
    path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> tuple[History, dict[str, torch.Tensor] | None]:
    """Take up a training where :func:`write_checkpoint` left it.

    :param path: the file
    :param key: what is trained on what; that of the file must be the same
    :param model: the model, whose state is overwritten
    :param optimizer: its optimiser, whose state is overwritten
    :param scaler: the gradient scaler, whose state is overwritten
    :returns: what happened so far, and the state of the best epoch
    :raises InvalidInputError: if the file is damaged, or belongs to another training
    """
    tensors, metadata = read_tensors(path)
    facts = json.loads(metadata.get("kgneg", "{}"))
    if facts.get("key") != key:
        raise InvalidInputError(
            f"the checkpoint {path} belongs to another model, other settings or other data; give another file, or "
            "remove it to train from the beginning"
        )
    parts: dict[str, dict[str, torch.Tensor]] = {part: {} for part in _PARTS}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    model.load_state_dict(parts["model"])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        number, _, field = name.partition(".")
        state.setdefault(int(number), {})[field] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    if facts["scaler"]:
        scaler.load_state_dict(facts["scaler"])
    return History.from_dict(facts["history"]), parts["best"] or None
