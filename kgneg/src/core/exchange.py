"""Sums over processes: rows of a table, and the gradients of a model, dense or sparse."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import distributed, nn
from torch.nn.functional import embedding_bag

from kgneg.core.distributed import on_wire, rank, world_size
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor

__all__ = ["exchange_gradients", "exchange_rows"]

_NONE, _SPARSE, _DENSE = 0, 1, 2


def _gather(tensor: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """Return the tensors of all processes, of lengths ``sizes``, one after another.

    A broadcast by each process needs no padding and, with gloo, half the time of an ``all_gather``.
    """
    wire = on_wire(tensor)
    whole = wire.new_empty(sum(sizes), *wire.shape[1:])
    parts = torch.split_with_sizes(whole, list(sizes))
    parts[rank()].copy_(wire)
    works = [distributed.broadcast(part, src=src, async_op=True) for src, part in enumerate(parts) if part.numel()]
    for work in works:
        work.wait()
    return whole.to(tensor.device)


def _sum_by_row(rows: LongTensor, values: FloatTensor) -> tuple[LongTensor, FloatTensor]:
    """Sum the values of equal rows, each in the order in which they stand."""
    ordered, order = rows.sort(stable=True)
    union, counts = torch.unique_consecutive(ordered, return_counts=True)
    starts = counts.cumsum(0) - counts
    return union, embedding_bag(order, values, starts, mode="sum")


def exchange_rows(rows: LongTensor, values: FloatTensor) -> tuple[LongTensor, FloatTensor]:
    """Sum rows of a table over all processes, sending only the rows that each process has.

    The result is the same to the last bit in every process: the terms of a row are added in the order of the ranks. One
    process gets its arguments back.

    :param rows: shape: ``(u,)``, sorted distinct row ids of this process, int64; there may be none
    :param values: shape: ``(u, *)``, the value of each row; the same type and trailing shape in every process
    :returns: the sorted union of the row ids of all processes, and the sum of the values of each
    :raises InvalidInputError: if the shapes do not fit

    >>> exchange_rows(torch.tensor([1, 4]), torch.ones(2, 3))[0].tolist()
    [1, 4]
    """
    if rows.dim() != 1 or rows.dtype != torch.int64 or values.shape[:1] != rows.shape:
        raise InvalidInputError(
            f"rows must be int64 of shape (u,) with values of shape (u, *), got {rows.dtype} of shape "
            f"{tuple(rows.shape)} and values of shape {tuple(values.shape)}"
        )
    world = world_size()
    if world == 1:
        return rows, values
    sizes = on_wire(torch.zeros(world, dtype=torch.int64))
    sizes[rank()] = len(rows)
    distributed.all_reduce(sizes)
    lengths = sizes.tolist()
    if not any(lengths):
        return rows, values
    real = torch.view_as_real(values) if values.is_complex() else values
    flat = real.reshape(len(rows), math.prod(real.shape[1:]))
    union, sums = _sum_by_row(_gather(rows, lengths), _gather(flat, lengths))
    sums = sums.reshape(len(union), *real.shape[1:])
    return union, torch.view_as_complex(sums) if values.is_complex() else sums


def _code(parameter: nn.Parameter) -> int:
    """Return whether the gradient is missing, a sparse set of rows, or anything else, which is treated as dense."""
    gradient = parameter.grad
    if gradient is None:
        return _NONE
    return _SPARSE if gradient.is_sparse and gradient.sparse_dim() == 1 else _DENSE


def _exchange_dense(parameters: Sequence[nn.Parameter]) -> None:
    """Sum the gradients of parameters of one type and device in one message."""
    parts = []
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            gradient = torch.zeros_like(parameter)
        elif gradient.layout is not torch.strided:
            gradient = gradient.to_dense()
        parameter.grad = gradient
        parts.append(on_wire(gradient).flatten())
    flat = torch.cat(parts)
    distributed.all_reduce(flat)
    for parameter, part in zip(parameters, torch.split_with_sizes(flat, [len(part) for part in parts]), strict=True):
        if parameter.grad is not None:
            total = torch.view_as_complex(part.view(-1, 2)) if parameter.is_complex() else part
            parameter.grad.copy_(total.view(parameter.shape))


def _exchange_sparse(parameter: nn.Parameter) -> None:
    """Sum a gradient that is sparse, or missing, in every process."""
    gradient = parameter.grad
    if gradient is None:
        rows = torch.empty(0, dtype=torch.int64, device=parameter.device)
        values = torch.empty(0, *parameter.shape[1:], dtype=parameter.dtype, device=parameter.device)
    else:
        gradient = gradient.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
    rows, values = exchange_rows(rows, values)
    parameter.grad = torch.sparse_coo_tensor(
        rows[None], values, parameter.shape, is_coalesced=True, check_invariants=False
    )


def exchange_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients of parameters by their sums over all processes.

    Dense gradients travel together, in one message per type and device. Of sparse gradients, as
    ``nn.Embedding(sparse=True)`` makes them, only the rows with a gradient travel. The processes first agree on the
    kind of each gradient, because some may have none, for example for an empty part of a batch: a missing gradient
    counts as zero, and a sparse one becomes dense where another process has a dense one. If no process has a gradient,
    it stays ``None``. One process keeps its gradients as they are.

    :param parameters: the parameters, the same and in the same order in every process

    >>> weight = nn.Parameter(torch.zeros(2))
    >>> weight.sum().backward()
    >>> exchange_gradients([weight])
    >>> weight.grad
    tensor([1., 1.])
    """
    listed = list(parameters)
    if world_size() == 1 or not listed:
        return
    codes = on_wire(torch.tensor([_code(parameter) for parameter in listed]))
    distributed.all_reduce(codes, op=distributed.ReduceOp.MAX)
    dense: defaultdict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = defaultdict(list)
    sparse = []
    with torch.no_grad():
        for parameter, code in zip(listed, codes.tolist(), strict=True):
            if code == _DENSE:
                dense[parameter.dtype, parameter.device].append(parameter)
            elif code == _SPARSE:
                sparse.append(parameter)
        for group in dense.values():
            _exchange_dense(group)
        for parameter in sparse:
            _exchange_sparse(parameter)
