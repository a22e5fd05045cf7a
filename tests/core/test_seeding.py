from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from kgneg.core.errors import InvalidInputError
from kgneg.core.seeding import PrivateGenerators, mix_seeds


def numbers(generators: PrivateGenerators, count: int = 4) -> list[float]:
    return torch.rand(count, generator=generators.get("cpu")).tolist()


def test_mixed_seeds_are_spread() -> None:
    seeds = [mix_seeds(a, b) for a in range(-20, 20) for b in range(50)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    bits = Counter(bit for seed in seeds for bit in range(63) if seed >> bit & 1)
    assert all(0.45 < bits[bit] / len(seeds) < 0.55 for bit in range(63))
    assert mix_seeds(1, 2) != mix_seeds(2, 1)
    assert mix_seeds(1) != mix_seeds(1, 0)
    assert 0 <= mix_seeds(10**40, -(10**40)) < 2**63


def test_mixing_is_the_same_in_every_process() -> None:
    code = "from kgneg.core.seeding import mix_seeds; print(mix_seeds(3, 4))"
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert int(answer.stdout) == mix_seeds(3, 4)


def test_seed_decides_the_stream() -> None:
    assert numbers(PrivateGenerators(3)) == numbers(PrivateGenerators(3))
    assert numbers(PrivateGenerators(3)) != numbers(PrivateGenerators(4))
    generators = PrivateGenerators(3)
    assert generators.get("cpu") is generators.get(torch.device("cpu"))
    assert numbers(generators) != numbers(generators)


def test_default_follows_the_user_without_touching_the_stream() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        before = torch.get_rng_state()
        first, second = PrivateGenerators(), PrivateGenerators()
        draws = numbers(first)
        assert draws == numbers(second)
        assert torch.equal(torch.get_rng_state(), before)
        assert draws == numbers(PrivateGenerators(5))
        torch.manual_seed(6)
        assert draws != numbers(PrivateGenerators())


def pickled(value: PrivateGenerators) -> PrivateGenerators:
    return pickle.loads(pickle.dumps(value))  # noqa: S301


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, pickled])
def test_copies_continue_and_part(duplicate: Callable[[PrivateGenerators], PrivateGenerators]) -> None:
    original = PrivateGenerators(3)
    numbers(original)
    twin = duplicate(original)
    draws = numbers(original), numbers(original)
    assert (numbers(twin), numbers(twin)) == draws
    assert len(pickle.dumps(PrivateGenerators(3))) < 500  # nothing is made before it is needed


class Numbers(Dataset[torch.Tensor]):
    def __init__(self) -> None:
        self.generators = PrivateGenerators(3)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, item: int) -> torch.Tensor:
        return torch.rand(3, generator=self.generators.get("cpu"))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker:UserWarning")
def test_workers_and_epochs_differ_but_repeat() -> None:
    def epochs() -> list[list[list[float]]]:
        loader = DataLoader(Numbers(), batch_size=None, num_workers=2, generator=torch.Generator().manual_seed(1))
        return [[item.tolist() for item in loader] for _ in range(2)]

    first = epochs()
    flat = [tuple(item) for epoch in first for item in epoch]
    assert len(set(flat)) == 8
    assert tuple(numbers(PrivateGenerators(3), 3)) not in flat
    assert epochs() == first


@pytest.mark.parametrize("seed", [1.0, "1", True])
def test_bad_seed(seed: object) -> None:
    with pytest.raises(InvalidInputError, match="seed must be an integer or None"):
        PrivateGenerators(seed)
