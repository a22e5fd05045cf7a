"""How many independent rows those of groups are worth."""

from __future__ import annotations

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.bounds import certify_below, certify_precision, certify_recall
from kgneg.selfinstruct.clusters import Clusters, head_numbers

HEADS, SIZE = 60, 10


def grouped(seed: int, alike: float, share: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Return groups and rows that are false with a mean chance, which differs by group."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(HEADS), SIZE)
    rest = (1 - alike) / alike
    chance = random.beta(share * rest, (1 - share) * rest, HEADS)
    return groups, random.random(HEADS * SIZE) > chance[groups]


def test_heads_are_numbered() -> None:
    assert head_numbers(["b", "a", "b ", "e\u0301", "\u00e9"]).tolist() == [1, 0, 1, 2, 2]
    assert head_numbers([]).shape == (0,)


def test_likeness_is_estimated() -> None:
    for alike in (0.1, 0.4):
        found = [Clusters.of(*grouped(seed, alike)).alike for seed in range(40)]
        assert np.mean(found) == pytest.approx(alike, abs=0.06)
    random = np.random.default_rng(0)
    assert Clusters.of(np.repeat(np.arange(200), 5), random.random(1000)).alike < 0.05
    assert Clusters.of(np.zeros(5), np.arange(5)).alike == 1
    assert Clusters.of(np.arange(5), np.arange(5)).alike == 0
    assert Clusters.of(np.array([0, 0, 1]), np.ones(3)).alike == 0
    with pytest.raises(InvalidInputError, match="one group per row"):
        Clusters.of(np.zeros(3), np.zeros(4))


def test_worth() -> None:
    every = np.ones((HEADS * SIZE, 1), dtype=bool)
    groups = np.repeat(np.arange(HEADS), SIZE)
    assert Clusters(np.arange(600), 0.5).worth(every).tolist() == [1.0]
    assert Clusters(np.zeros(600, dtype=int), 1.0).worth(every) == pytest.approx(1 / 600)
    # rows that are all alike count by group, a little less for the correction
    assert 0.9 / SIZE < Clusters(groups, 1.0).worth(every)[0] < 1 / SIZE
    # of each group one row, of one group all, none
    some = np.stack([np.arange(600) % SIZE == 0, groups == 3, groups < 0], axis=1)
    assert Clusters(groups, 1.0).worth(some) == pytest.approx([1, 1 / SIZE, 1])


@pytest.mark.parametrize(("batch", "alike"), [(None, 0.3), (600, 0.8)])
def test_promises_hold_for_new_heads(batch: int | None, alike: float) -> None:
    scores, cut = np.zeros(HEADS * SIZE), np.array([0.5])
    broken = {True: 0, False: 0}
    for seed in range(300):
        groups, truth = grouped(seed, alike)
        _, further = grouped(1000 + seed, alike)
        for known in broken:
            own = groups if known else None
            made = certify_precision(scores, truth, 0.9, thresholds=cut, batch=batch, groups=own)
            # in the long run 0.9 are right: more is not to be promised
            broken[known] += made.reachable and (batch is None or (~further).mean() < 0.9)
    assert broken[True] <= 0.07 * 300
    assert broken[False] > 0.08 * 300


def test_recall_and_statement() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(HEADS), SIZE)
    held = {True: 0, False: 0}
    for _ in range(300):
        scores = (random.normal(size=HEADS)[groups] + random.normal(size=600)) / np.sqrt(2)
        for known in held:
            made = certify_recall(scores, np.zeros(600, dtype=bool), 0.8, groups=groups if known else None)
            held[known] += made.threshold >= 0.8416  # of a normal distribution
    assert held[True] >= 0.93 * 300
    assert held[False] < 0.85 * 300
    few = certify_recall(np.arange(12.0), np.zeros(12, dtype=bool), 0.8, groups=np.repeat([0, 1], 6))
    assert not few.reachable
    assert "12 checked rows, which are worth" in few.statement()
    made = certify_below(0.5, np.zeros(600), grouped(0, 0.3)[1], 0.7, groups=groups)
    assert made.worth < made.rows == 600
    assert f"worth {made.worth} as some share a head" in made.statement()
    assert made.restore(made.state()) == made
