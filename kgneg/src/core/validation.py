"""Checks at public doors. Every refusal names the value, the limit and the remedy."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor

__all__ = [
    "choose",
    "validate_count",
    "validate_device",
    "validate_flag",
    "validate_number",
    "validate_share",
    "validate_triples",
]


def validate_count(name: str, value: int, minimum: int = 1) -> int:
    """Return ``value`` if it is an integer of at least ``minimum``.

    :param name: what the value is called in the message
    :param value: the value
    :param minimum: the smallest allowed value
    :returns: the value
    :raises InvalidInputError: if it is no integer or too small
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidInputError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}")
    if value < minimum:
        raise InvalidInputError(f"{name} must be at least {minimum}, got {value}")
    return int(value)


def validate_share(name: str, value: float) -> float:
    """Return ``value`` as a float if it lies in ``[0, 1]``.

    :param name: what the value is called in the message
    :param value: the value
    :returns: the value as a float
    :raises InvalidInputError: if it is not in the interval (NaN included)
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= value <= 1.0:
        raise InvalidInputError(f"{name} must be between 0 and 1, got {value!r}")
    return float(value)


def validate_flag(name: str, value: bool) -> bool:
    """Return ``value`` if it is true or false, and nothing that only counts as one of them.

    :param name: what the value is called in the message
    :param value: the value
    :returns: the value
    :raises InvalidInputError: if it is something else, such as the text ``"False"``
    """
    if not isinstance(value, bool):
        raise InvalidInputError(f"{name} must be true or false, got {value!r} of type {type(value).__name__}")
    return value


def validate_number(name: str, value: float, minimum: float = 0.0, *, above: bool = False) -> float:
    """Return ``value`` as a float if it is finite and at least ``minimum``.

    :param name: what the value is called in the message
    :param value: the value
    :param minimum: the smallest allowed value
    :param above: whether the minimum itself is not allowed
    :returns: the value as a float
    :raises InvalidInputError: if it is no number, not finite or too small

    >>> validate_number("lr", 1)
    1.0
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise InvalidInputError(f"{name} must be a finite number, got {value!r}")
    if value < minimum or (above and value == minimum):
        raise InvalidInputError(f"{name} must be {'above' if above else 'at least'} {minimum:g}, got {value!r}")
    return float(value)


def validate_device(device: str | torch.device, *, auto: bool = True) -> torch.device:
    """Return a device if it is there.

    :param device: its name
    :param auto: whether ``"auto"`` is allowed, which is CUDA where there is one
    :returns: the device
    :raises InvalidInputError: if torch knows no such device, or sees no such CUDA device

    >>> validate_device("cpu")
    device(type='cpu')
    """
    if auto and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        names = "auto, cpu, cuda or cuda:1" if auto else "cpu, cuda or cuda:1"
        raise InvalidInputError(f"device must be {names}, got {device!r}") from error
    there = torch.cuda.device_count()
    if found.type == "cuda" and (found.index or 0) >= there:  # others would quietly take the CPU
        raise InvalidInputError(f"device {str(found)!r} is not there: torch sees {there} CUDA devices; take 'cpu'")
    return found


def choose(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Return ``value`` if it is one of the choices.

    :param name: what the value is called in the message
    :param value: the value
    :param choices: the allowed values
    :returns: the value
    :raises InvalidInputError: if it is not among the choices
    """
    if value not in choices:
        raise InvalidInputError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
    return value


def _refuse_id(triples: LongTensor, column: int, limit: int) -> None:
    values = triples.reshape(-1, 3)[:, column]
    where = int(((values < 0) | (values >= limit)).nonzero()[0])
    what = "relation" if column == RELATION else "head entity" if column == HEAD else "tail entity"
    raise InvalidInputError(
        f"{what} id {int(values[where])} in triple {where} is out of range: ids must be in [0, {limit}). "
        "Check that the triples and the counts come from the same graph."
    )


def validate_triples(triples: LongTensor, num_entities: int, num_relations: int) -> LongTensor:
    """Return ``triples`` if they are well-formed id triples of a graph.

    :param triples: shape: ``(*, 3)``, integer ids ``(head, relation, tail)``
    :param num_entities: the number of entities
    :param num_relations: the number of relations
    :returns: shape: ``(*, 3)``, int64
    :raises InvalidInputError: if the shape or type is wrong or an id is out of range (named with its position)
    """
    if not isinstance(triples, torch.Tensor):
        raise InvalidInputError(f"triples must be a torch.Tensor of ids, got {type(triples).__name__}")
    if triples.ndim < 1 or triples.shape[-1] != 3:
        raise InvalidInputError(f"triples must have shape (*, 3), got {tuple(triples.shape)}")
    if triples.is_floating_point() or triples.is_complex() or triples.dtype == torch.bool:
        raise InvalidInputError(f"triples must hold integer ids, got dtype {triples.dtype}")
    triples = triples.long()
    if triples.numel():
        highest = _highest(triples.reshape(-1, 3))
        for column, limit in ((HEAD, num_entities), (RELATION, num_relations), (TAIL, num_entities)):
            if not 0 <= highest[column] < limit:
                _refuse_id(triples, column, limit)
    return triples


def _highest(triples: LongTensor) -> list[int]:
    """Return the highest id of each column; a negative one is higher than all others."""
    if triples.device.type == "cpu":  # one pass over numbers without signs, which numpy has
        ids = triples.detach().numpy().view(np.uint64)
        return [int(ids[:, column].max()) for column in range(ids.shape[1])]
    low, high = (bounds.tolist() for bounds in triples.aminmax(dim=0))
    return [one if below >= 0 else below for below, one in zip(low, high, strict=True)]
