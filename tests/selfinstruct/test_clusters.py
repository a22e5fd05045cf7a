"""How many independent rows those of groups are worth."""

from __future__ import annotations

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.bounds import certify_below, certify_precision, certify_recall
from kgneg.selfinstruct.clusters import head_numbers, independent_rows, likeness

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
        found = [likeness(*grouped(seed, alike)) for seed in range(40)]
        assert np.mean(found) == pytest.approx(alike, abs=0.06)
    random = np.random.default_rng(0)
    assert likeness(np.repeat(np.arange(200), 5), random.random(1000)) < 0.05
    assert likeness(np.zeros(5), np.arange(5)) == 1
    assert likeness(np.arange(5), np.arange(5)) == 0
    assert likeness(np.array([0, 0, 1]), np.ones(3)) == 0
    with pytest.raises(InvalidInputError, match="one group per row"):
        likeness(np.zeros(3), np.zeros(4))


def test_independent_rows() -> None:
    wrong = np.arange(600) % 10 == 0
    groups = np.repeat(np.arange(HEADS), SIZE)
    assert independent_rows(np.arange(600), wrong) == 600
    assert independent_rows(np.zeros(600), wrong) == 1
    # one row of each group is wrong
    assert independent_rows(groups, wrong) > 400
    # all rows of some groups are wrong: they count by group, a little less for the correction
    assert 0.85 * HEADS < independent_rows(groups, groups % 10 == 0) <= HEADS
    # without a wrong row nobody knows
    assert independent_rows(groups, np.zeros(600, dtype=bool)) < 1.2 * HEADS
    # as if nearly all groups had one row
    assert independent_rows(np.maximum(np.arange(600) - 1, 0), wrong) > 590


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


@pytest.mark.parametrize(("heads", "size", "target"), [(15, 40, 0.95), (30, 30, 0.97), (60, 40, 0.9), (100, 20, 0.9)])
def test_what_is_wrong_by_heads_is_not_promised_away(heads: int, size: int, target: float) -> None:
    """As many true triples as false ones, but those below the threshold are wrong head by head."""
    random, groups = np.random.default_rng(0), np.repeat(np.arange(heads), 2 * size)
    low = np.arange(len(groups)) % 2 == 0
    scores, cut = np.where(low, 0.1, 0.9), np.array([0.5])
    broken = {True: 0, False: 0}
    for _ in range(200):
        bad = random.random(heads) < 1.05 * (1 - target)
        truth = np.where(low, bad[groups], True)
        for known in broken:
            own = groups if known else None
            broken[known] += certify_precision(scores, truth, target, thresholds=cut, groups=own).reachable
    assert broken[True] <= 0.05 * 200
    assert broken[False] > 0.15 * 200


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
    assert "12 checked rows, which are worth at most" in few.statement()
    made = certify_below(0.5, np.zeros(600), grouped(0, 0.3)[1], 0.7, groups=groups)
    assert made.worth < made.rows == 600
    assert f"worth {made.worth} as some share a head" in made.statement()
    assert made.restore(made.state()) == made
