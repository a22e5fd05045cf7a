"""Private random generators that never touch the global stream."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from kgneg.core.errors import InvalidInputError

__all__ = ["PrivateGenerators", "global_streams_kept", "mix_seeds"]

_MASK = (1 << 64) - 1


def mix_seeds(*seeds: int) -> int:
    """Mix integers into one well spread 63-bit seed (SplitMix64 finaliser, applied in turn).

    :param seeds: any number of integers of any size
    :returns: an integer in ``[0, 2**63)``; the order of the arguments matters

    >>> mix_seeds(1, 2) == mix_seeds(1, 2) != mix_seeds(2, 1)
    True
    """
    state = 0
    for seed in seeds:
        state = (state + seed + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


@contextmanager
def global_streams_kept() -> Iterator[None]:
    """Put the global streams of random numbers of Python, numpy and torch back at the end of the block.

    For calls of libraries that seed and use them.

    >>> before = torch.get_rng_state()
    >>> with global_streams_kept():
    ...     _ = torch.rand(3)
    >>> torch.equal(torch.get_rng_state(), before)
    True
    """
    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002


class PrivateGenerators:
    """One lazily created :class:`torch.Generator` per device, and per data loader worker.

    The stream depends on ``seed`` alone in the main process. In a worker process the seed of the worker is mixed in,
    so that two workers never draw the same numbers. Copies and pickles continue where the original stands.

    :param seed: the seed; ``None`` takes :func:`torch.initial_seed`, i.e. what the user gave to
        :func:`torch.manual_seed`, without consuming a number of the global stream
    :raises InvalidInputError: if the seed is neither ``None`` nor an integer

    >>> a, b = PrivateGenerators(7), PrivateGenerators(7)
    >>> torch.equal(torch.rand(3, generator=a.get("cpu")), torch.rand(3, generator=b.get("cpu")))
    True
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, Integral)):
            raise InvalidInputError(f"seed must be an integer or None, got {seed!r}")
        self.seed = torch.initial_seed() if seed is None else int(seed)
        self._generators: dict[tuple[torch.device, int | None], torch.Generator] = {}

    def get(self, device: torch.device | str) -> torch.Generator:
        """Return the generator for a device, creating it at the first call.

        :param device: the device on which the numbers are wanted
        :returns: a generator on that device
        """
        worker = get_worker_info()
        worker_seed = None if worker is None else worker.seed
        key = (torch.device(device), worker_seed)
        if key not in self._generators:
            seed = mix_seeds(self.seed) if worker_seed is None else mix_seeds(self.seed, worker_seed)
            self._generators[key] = torch.Generator(device=device).manual_seed(seed)
        return self._generators[key]

    def __getstate__(self) -> dict[str, Any]:
        states = {key: generator.get_state() for key, generator in self._generators.items()}
        return {"seed": self.seed, "states": states}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.seed = state["seed"]
        self._generators = {}
        for (device, worker_seed), value in state["states"].items():
            if device.type == "cuda" and not torch.cuda.is_available():
                continue  # made on a machine with a GPU; a new one is started if that device is asked for
            generator = torch.Generator(device=device)
            generator.set_state(value)
            self._generators[(device, worker_seed)] = generator
