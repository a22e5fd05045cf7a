from __future__ import annotations

import numpy as np
import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.sampling import stratified_sample


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 50, 107, 500])
def test_as_many_as_wished(number: int) -> None:
    relations = ["often"] * 100 + ["rare"] * 6 + ["once"]
    found = stratified_sample(relations, number, generator=generator())
    assert len(found) == min(number, 107)
    assert (np.diff(found) > 0).all()
    if number >= 3:
        assert {relations[row] for row in found} == {"often", "rare", "once"}


def test_same_generator_same_rows() -> None:
    rows = [stratified_sample(["a", "b"] * 50, 20, generator=generator(seed)).tolist() for seed in (1, 1, 2)]
    assert rows[0] == rows[1] != rows[2]


def test_doubtful_rows_and_relations_come_first() -> None:
    relations = ["sure"] * 500 + ["mixed"] * 500
    chance = np.concatenate([np.full(500, 0.01), np.full(250, 0.5), np.full(250, 0.02)])
    counts = np.zeros(3)
    for seed in range(20):
        found = stratified_sample(relations, 100, probability=chance, generator=generator(seed))
        counts += np.histogram(found, [0, 500, 750, 1000])[0]
    sure, doubtful, rest = counts
    assert doubtful > 2 * sure
    assert doubtful > 2 * rest > 0
    assert sure > 0


def test_uniform_without_a_critic() -> None:
    drawn = np.zeros(40)
    for seed in range(400):
        drawn[stratified_sample(["a"] * 40, 10, generator=generator(seed))] += 1
    assert ((drawn - 100) ** 2 / 75).sum() < 75  # chi-square, 39 degrees of freedom, 0.999 quantile about 73


def test_refusals() -> None:
    with pytest.raises(InvalidInputError, match="one probability per row"):
        stratified_sample(["a"], 1, probability=np.array([0.1, 0.2]))
    with pytest.raises(InvalidInputError, match="one probability per row"):
        stratified_sample(["a"], 1, probability=np.array([np.nan]))
    with pytest.raises(InvalidInputError, match="number must be at least 0"):
        stratified_sample(["a"], -1)
