"""More than one process under ``torchrun``; everything here does nothing when there is only one."""

from __future__ import annotations

import atexit
import itertools
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed, nn

from kgneg.core.errors import InvalidInputError
from kgneg.core.seeding import mix_seeds
from kgneg.core.validation import validate_count

__all__ = [
    "barrier",
    "broadcast_number",
    "broadcast_parameters",
    "ensure_started",
    "is_main",
    "mean_over_ranks",
    "on_wire",
    "part_of_batch",
    "process_group",
    "rank",
    "seed_for_rank",
    "started",
    "world_size",
]

_HALF = 1 << 32  # numbers travel in two halves, so that unsigned 64-bit seeds fit
_attempts = itertools.count()


def started() -> bool:
    """Return whether a process group exists in this process."""
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """Return the number of this process among those of the process group, 0 when there is no group.

    >>> rank()
    0
    """
    return int(distributed.get_rank()) if started() else 0


def world_size() -> int:
    """Return how many processes there are in the process group, 1 when there is no group.

    >>> world_size()
    1
    """
    return int(distributed.get_world_size()) if started() else 1


def is_main() -> bool:
    """Return whether this process is the one that writes files and reports.

    >>> is_main()
    True
    """
    return rank() == 0


def seed_for_rank(seed: int, rank: int | None = None) -> int:
    """Return a seed of its own for each process.

    :param seed: the seed of the run, the same in all processes
    :param rank: the process; ``None`` is this one
    :returns: the seed itself for rank 0 of 1, else a 63-bit seed in which the rank is mixed

    >>> seed_for_rank(7), seed_for_rank(7, 1) == seed_for_rank(7, 2)
    (7, False)
    """
    if rank is None:
        rank = int(distributed.get_rank()) if started() else 0
    if validate_count("rank", rank, 0) == 0 and world_size() == 1:
        return seed
    return mix_seeds(seed, rank)


def part_of_batch(size: int, rank: int, world: int) -> slice:
    """Return the part of a batch that belongs to a process.

    The parts of all processes are contiguous, cover the batch, and differ in length by at most one. With fewer rows
    than processes some are empty.

    :param size: the number of rows in the whole batch
    :param rank: the process
    :param world: the number of processes
    :returns: the rows of the process
    :raises InvalidInputError: if the rank is not in ``[0, world)``, or the size is negative

    >>> [part_of_batch(5, rank, 2) for rank in range(2)]
    [slice(0, 2, None), slice(2, 5, None)]
    """
    validate_count("size", size, 0)
    if validate_count("rank", rank, 0) >= validate_count("world", world):
        raise InvalidInputError(f"rank must be below the number of processes, {world}; got {rank}")
    return slice(size * rank // world, size * (rank + 1) // world)


def _from_environment(name: str) -> int:
    value = os.environ[name]
    if not value.isdecimal():
        raise InvalidInputError(f"the environment variable {name} must be a number, got {value!r}: start with torchrun")
    return int(value)


def _choose_backend() -> str:
    """Return gloo, and NCCL for CUDA tensors if each process of this machine can have a GPU of its own."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    if not distributed.is_nccl_available() or torch.cuda.device_count() < local:
        return "gloo"
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", os.environ["RANK"])))
    return "cpu:gloo,cuda:nccl"


def _start(timeout: float | None) -> bool:
    """Start the process group that torchrun asks for, and return whether there was one to start."""
    if started() or not {"RANK", "WORLD_SIZE"} <= os.environ.keys() or _from_environment("WORLD_SIZE") == 1:
        return False
    if not distributed.is_available():
        raise InvalidInputError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but this build of torch has no torch.distributed: "
            "start one process, or install another build"
        )
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, world = next(iter(rendezvous("env://")))
    distributed.init_process_group(
        _choose_backend(),
        # a group that is started after another must not find the addresses of the first one
        store=PrefixStore(f"kgneg/{next(_attempts)}", store),
        rank=rank,
        world_size=world,
        timeout=None if timeout is None else timedelta(seconds=timeout),
    )
    return True


def _stop() -> None:
    if started():
        distributed.destroy_process_group()


@contextmanager
def process_group(*, timeout: float | None = None) -> Iterator[None]:
    """Start the process group that the environment variables of ``torchrun`` ask for, and end it after the block.

    CPU tensors travel by gloo. CUDA tensors travel by NCCL when each process of the machine can have a GPU of its own,
    which then becomes the current device; else by gloo too. Without these variables, with a world of one process, or
    when a group exists already, nothing is started and nothing is ended.

    :param timeout: seconds after which a process that waits for another gives up; ``None`` is the default of torch
    :yields: nothing

    >>> with process_group():
    ...     world_size()
    1
    """
    mine = _start(timeout)
    try:
        yield
    finally:
        if mine:
            _stop()


def ensure_started(*, timeout: float | None = None) -> None:
    """Start the process group like :func:`process_group`, and end it when the interpreter exits.

    :param timeout: seconds after which a process that waits for another gives up; ``None`` is the default of torch
    """
    if _start(timeout):
        atexit.register(_stop)


def on_wire(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in the form in which the process group can send it.

    :param tensor: a dense tensor
    :returns: the tensor itself if possible, else a contiguous copy on a device that the group serves; complex numbers
        become pairs of real ones in a last dimension of length two
    """
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    served = {part.split(":")[0] for part in distributed.get_backend_config().split(",")}
    if tensor.device.type not in served:
        tensor = tensor.to("cpu" if "cpu" in served else torch.device("cuda", torch.cuda.current_device()))
    return tensor.contiguous()


def barrier() -> None:
    """Wait until all processes are here."""
    if world_size() > 1:
        distributed.barrier()


def mean_over_ranks(value: float) -> float:
    """Return the mean of the values of all processes, the same number in each.

    :param value: the value of this process
    :returns: the mean, computed in double precision

    >>> mean_over_ranks(0.25)
    0.25
    """
    if world_size() == 1:
        return float(value)
    total = on_wire(torch.tensor(value, dtype=torch.float64))
    distributed.all_reduce(total)
    return float(total) / world_size()


def broadcast_number(number: int) -> int:
    """Return the integer of rank 0 in every process.

    :param number: an integer in ``[-2**63, 2**64)``; only that of rank 0 matters
    :returns: the integer of rank 0
    :raises InvalidInputError: if the integer is out of range

    >>> broadcast_number(7)
    7
    """
    if not -(1 << 63) <= number < 1 << 64:
        raise InvalidInputError(f"only integers of 64 bits can be sent, got {number}")
    if world_size() == 1:
        return int(number)
    halves = on_wire(torch.tensor([number // _HALF, number % _HALF]))
    distributed.broadcast(halves, src=0)
    high, low = halves.tolist()
    return int(high) * _HALF + int(low)


def broadcast_parameters(module: nn.Module) -> None:
    """Overwrite the parameters and buffers of a module with those of rank 0.

    Sparse buffers hold data, such as a graph, and not learned state; they are left as they are.

    :param module: a module of the same make in every process
    :raises InvalidInputError: in every process, if shapes or types differ between them
    """
    if world_size() == 1:
        return
    tensors = [
        tensor
        for tensor in itertools.chain(module.parameters(), module.buffers())
        if tensor.layout is torch.strided and tensor.numel()
    ]
    shapes = [(tuple(tensor.shape), str(tensor.dtype)) for tensor in tensors]
    make = zlib.crc32(repr(shapes).encode())
    if mean_over_ranks(float(make != broadcast_number(make))):
        raise InvalidInputError(
            f"the processes hold different {type(module).__name__} models; process {rank()} has {len(shapes)} tensors, "
            f"the first of shape {shapes[0][0] if shapes else 'none'}: give the same arguments and data to all"
        )
    with torch.no_grad():
        for tensor in tensors:
            sent = on_wire(tensor.detach())
            distributed.broadcast(sent, src=0)
            tensor.copy_(torch.view_as_complex(sent) if tensor.is_complex() else sent)
