"""What the constructor of interactions asks of its arguments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor

__all__ = ["check_finite", "check_ids", "check_labels", "check_multiplicity", "find_ids", "merge_order", "same_length"]


def check_ids(kind: str, ids: LongTensor, limit: int) -> LongTensor:
    """Return ids as int64 on the CPU.

    :param kind: user or item
    :param ids: shape: ``(m,)``, the ids
    :param limit: ids are below it
    :returns: shape: ``(m,)``, int64
    :raises InvalidInputError: if they have another shape or type or are out of range
    """
    if not isinstance(ids, torch.Tensor) or ids.ndim != 1:
        shape = tuple(ids.shape) if isinstance(ids, torch.Tensor) else type(ids).__name__
        raise InvalidInputError(f"{kind} ids must be a tensor of shape (m,), got {shape}")
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise InvalidInputError(f"{kind} ids must be integers, got dtype {ids.dtype}")
    ids = ids.detach().cpu().long()
    wrong = (ids < 0) | (ids >= limit)
    if bool(wrong.any()):
        where = int(wrong.nonzero()[0])
        raise InvalidInputError(
            f"{kind} id {int(ids[where])} in pair {where} is out of range: ids must be in [0, {limit}). "
            f"Give a larger num_{kind}s, or number the {kind}s anew."
        )
    return ids


def check_finite(kind: str, values: torch.Tensor) -> torch.Tensor:
    """Return values on the CPU, all of them finite.

    :param kind: time or rating
    :param values: shape: ``(m,)``
    :returns: shape: ``(m,)``
    :raises InvalidInputError: if one is not finite
    """
    values = values.detach().cpu()
    if values.is_floating_point() and not bool(values.isfinite().all()):
        where = int((~values.isfinite()).nonzero()[0])
        raise InvalidInputError(f"{kind} {float(values[where])} of pair {where} is not finite; leave such pairs out")
    return values


def check_multiplicity(values: torch.Tensor | None, number: int) -> LongTensor:
    """Return how many rows each given pair stands for.

    :param values: shape: ``(m,)``, or ``None``: one row each
    :param number: the number of given pairs
    :returns: shape: ``(m,)``, int64
    :raises InvalidInputError: if they are no integers, or one is below 1
    """
    if values is None:
        return torch.ones(number, dtype=torch.int64)
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise InvalidInputError(f"multiplicity must be integers, got dtype {values.dtype}")
    values = values.detach().cpu().long()
    if bool((values < 1).any()):
        where = int((values < 1).nonzero()[0])
        raise InvalidInputError(f"multiplicity {int(values[where])} of pair {where} must be at least 1")
    return values


def same_length(**columns: torch.Tensor | None) -> None:
    """Refuse columns of different lengths.

    :param columns: by name
    :raises InvalidInputError: if they differ
    """
    lengths = {name: tuple(column.shape) for name, column in columns.items() if column is not None}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {shape}" for name, shape in lengths.items())
        raise InvalidInputError(f"all columns must have the same length, got {said}")


def check_labels(kind: str, labels: Iterable[str] | None, number: int) -> tuple[str, ...] | None:
    """Return labels as a tuple of distinct strings.

    :param kind: user or item
    :param labels: the labels
    :param number: how many there must be
    :returns: the labels, or ``None`` if none were given
    :raises InvalidInputError: if there are more or fewer, or two are equal
    """
    if labels is None:
        return None
    labels = tuple(map(str, labels))
    if len(labels) != number:
        raise InvalidInputError(f"{len(labels)} {kind} labels were given for {number} {kind}s")
    if len(set(labels)) != number:
        seen: set[str] = set()
        twice = next(label for label in labels if label in seen or seen.add(label))  # type: ignore[func-returns-value]
        raise InvalidInputError(f"the {kind} label {twice!r} is given to two {kind}s; labels must differ")
    return labels


def merge_order(codes: LongTensor, times: torch.Tensor | None) -> tuple[LongTensor, LongTensor]:
    """Return which of equal pairs to keep: the last by time, or by place if there are no times.

    :param codes: shape: ``(m,)``, a number per pair
    :param times: shape: ``(m,)``, or ``None``
    :returns: the positions of the kept pairs in the order of their codes, shape ``(d,)``, and for each given pair
        the place of its code among them, shape ``(m,)``
    """
    order = torch.arange(len(codes)) if times is None else times.argsort(stable=True)
    order = order[codes[order].argsort(stable=True)]
    ordered = codes[order]
    last = torch.ones(len(codes), dtype=torch.bool)
    last[:-1] = ordered[1:] != ordered[:-1]
    group = torch.empty_like(order)
    group[order] = last.long().cumsum(0) - last.long()
    return order[last], group


def find_ids(kind: str, labels: Sequence[str], table: dict[str, int] | None, number: int) -> LongTensor:
    """Return the ids of labels.

    :param kind: user or item
    :param labels: what is asked for
    :param table: label -> id, or ``None``: labels are ids as text
    :param number: how many ids there are
    :returns: shape: ``(len(labels),)``, int64
    :raises InvalidInputError: if a label is not known
    """
    texts = [str(label) for label in labels]
    if table is None:
        found = [int(text) if text.isdecimal() and int(text) < number else None for text in texts]
    else:
        found = list(map(table.get, texts))
    if None in found:
        hint = f"ids are 0 to {number - 1}" if table is None else f"for example {next(iter(table), '')!r} is known"
        raise InvalidInputError(f"the {kind} {texts[found.index(None)]!r} is not known; {hint}")
    return torch.tensor(found, dtype=torch.int64)
