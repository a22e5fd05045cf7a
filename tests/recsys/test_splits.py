from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.recsys import Interactions, InteractionSplit
from kgneg.recsys.splits import hold_out

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=8, max_size=60)


def interactions(rows: list[tuple[int, int]], times: list[int] | None = None) -> Interactions:
    users, items = torch.tensor(rows).t()
    when = None if times is None else torch.tensor(times)
    return Interactions(users, items, num_users=4, num_items=10, times=when, item_labels="abcdefghij")


def full(num_users: int, num_items: int, **options: Any) -> Interactions:
    users = torch.arange(num_users).repeat_interleave(num_items)
    items = torch.arange(num_items).repeat(num_users)
    return Interactions(users, items, num_users=num_users, num_items=num_items, **options)


def codes(*parts: Interactions) -> list[int]:
    return sorted(code for part in parts for code in part.codes.tolist())


def try_split(pairs: Interactions, kind: str, **options: Any) -> InteractionSplit:
    """Split, or drop the example: few pairs may leave a part empty."""
    try:
        return pairs.split(kind, **options)
    except InvalidInputError as error:
        assume("part is empty" not in str(error))
        raise


@settings(deadline=None)
@given(ROWS, st.integers(0, 99), st.sampled_from(["random", "leave-one-out", "temporal"]))
def test_three_parts_make_the_whole(rows: list[tuple[int, int]], seed: int, kind: str) -> None:
    pairs = interactions(rows, list(range(len(rows))))
    options = {} if kind == "leave-one-out" else {"valid": 0.25, "test": 0.25}
    split = try_split(pairs, kind, seed=seed, **options)
    assert codes(split.train, split.valid, split.test) == pairs.codes.tolist()
    for part in (split.train, split.valid, split.test):
        assert (part.num_users, part.num_items, part.item_labels) == (4, 10, pairs.item_labels)
    assert split.fingerprint() == pairs.split(kind, seed=seed, **options).fingerprint()
    assert (split.kind, split.counts["pairs"]) == (kind, len(pairs))
    trained = set(split.train.items.tolist())
    held = {*split.valid.items.tolist(), *split.test.items.tolist()}
    assert split.counts["cold_items"] == len(held - trained)
    assert split.counts["items_without_training"] == 10 - len(trained)


@settings(deadline=None)
@given(ROWS, st.integers(0, 99), st.sampled_from([0.1, 0.2, 0.5, 0.8]))
def test_beta(rows: list[tuple[int, int]], seed: int, beta: float) -> None:
    pairs = interactions(rows)
    split = try_split(pairs, "beta", beta=beta, seed=seed)
    held = {user: math.floor(round(n * (1 - beta) / 2, 9)) for user, n in enumerate(pairs.user_counts.tolist())}
    trained = {user: n - 2 * held[user] for user, n in enumerate(pairs.user_counts.tolist())}
    assert split.train.user_counts.tolist() == [trained[user] for user in range(4)]
    assert len(split.test) + split.counts["dropped_test"] == sum(held.values())
    assert len(split.valid) + split.counts["dropped_valid"] == sum(held.values())
    assert set(split.valid.items.tolist()) | set(split.test.items.tolist()) <= set(split.train.items.tolist())
    assert split.counts["cold_items"] == 0
    left = set(pairs.codes.tolist()) - set(codes(split.train, split.valid, split.test))
    assert len(left) == split.counts["dropped_valid"] + split.counts["dropped_test"]
    assert not {code % 10 for code in left} & set(split.train.items.tolist())


def test_beta_takes_every_pair_alike() -> None:
    pairs = full(200, 10)
    test = pairs.split("beta", beta=0.6, seed=1).test
    assert test.user_counts.tolist() == [2] * 200
    # each item has probability 0.2; 400 draws, standard deviation 5.7
    assert 20 <= int(test.item_counts.min()) <= int(test.item_counts.max()) <= 60


def test_leave_one_out_takes_the_last() -> None:
    rows = [(0, 0), (0, 1), (0, 2), (1, 5), (1, 6), (1, 7), (1, 8), (2, 0), (2, 9)]
    split = interactions(rows, [30, 10, 20, 1, 9, 5, 3, 8, 9]).split("leave-one-out")
    assert split.test.codes.tolist() == [0, 16]
    assert split.valid.codes.tolist() == [2, 17]
    assert split.counts["short_users"] == 1
    assert split.train.user_counts.tolist() == [1, 2, 2, 0]


def test_leave_one_out_draws_without_times() -> None:
    pairs = full(300, 3)
    split = pairs.split("leave-one-out", seed=5)
    assert split.test.user_counts.tolist() == split.valid.user_counts.tolist() == [1] * 300
    # each item has probability 1 / 3 in 300 draws, standard deviation 8.2
    assert 65 <= int(split.test.item_counts.min()) <= int(split.test.item_counts.max()) <= 135
    tied = full(300, 3, times=torch.zeros(900)).split("leave-one-out", seed=5)
    assert int(tied.test.item_counts.min()) >= 65


@settings(deadline=None)
@given(ROWS, st.data())
def test_temporal(rows: list[tuple[int, int]], data: st.DataObject) -> None:
    times = data.draw(st.lists(st.integers(0, 12), min_size=len(rows), max_size=len(rows)))
    split = try_split(interactions(rows, times), "temporal", valid=0.3, test=0.3)
    train, valid, test = (part.times for part in (split.train, split.valid, split.test))
    assert train is not None
    assert valid is not None
    assert test is not None
    assert train.max() < valid.min() <= valid.max() < test.min()
    size = split.counts["pairs"]
    assert len(test) >= round(0.3 * size)
    later = test[test > test.min()]  # without those of the time of the cut, it is too small
    assert len(later) < round(0.3 * size)


def test_temporal_meets_the_shares() -> None:
    split = full(10, 10, times=torch.randperm(100, generator=torch.Generator().manual_seed(0))).split("temporal")
    assert (len(split.train), len(split.valid), len(split.test)) == (80, 10, 10)
    assert split.options == {"valid": 0.1, "test": 0.1}


def test_random_meets_the_shares() -> None:
    split = full(10, 10).split("random", valid=0.2, test=0.3, seed=4)
    assert (len(split.train), len(split.valid), len(split.test)) == (50, 20, 30)
    assert split.options == {"seed": 4, "valid": 0.2, "test": 0.3}


@pytest.mark.parametrize("kind", ["random", "beta", "leave-one-out"])
def test_seeds(kind: str) -> None:
    pairs = full(20, 10)
    state = torch.get_rng_state()
    prints = [pairs.split(kind, seed=seed).fingerprint() for seed in (0, 0, 1, -1)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
    assert torch.equal(state, torch.get_rng_state())


def test_cold_users_and_items() -> None:
    rows = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 0), (2, 3)]
    counts = interactions(rows, [0, 1, 2, 3, 4, 5]).split("temporal", valid=0.34, test=0.34).counts
    assert counts == {
        "pairs": 6,
        "train": 2,
        "valid": 2,
        "test": 2,
        "cold_users": 2,
        "users_without_training": 3,
        "cold_items": 2,
        "items_without_training": 8,
    }


def test_repetitions_go_along() -> None:
    pairs = full(10, 10, multiplicity=torch.full((100,), 3))
    split = pairs.split("random")
    assert split.test.multiplicity is not None
    assert split.test.multiplicity.tolist() == [3] * 10


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("odd", {}, "kind must be one of random, beta, leave-one-out, temporal; got 'odd'"),
        ("temporal", {}, "the temporal split needs times"),
        ("random", {"beta": 0.5}, "the random split has no option beta; it has valid, test"),
        ("leave-one-out", {"test": 0.5}, "the leave-one-out split has no option test; it has none"),
        ("beta", {"beta": 1.0}, "beta must be above 0 and below 1, got 1.0"),
        ("random", {"valid": 0.0}, "valid must be above 0 and below 1, got 0.0"),
        ("random", {"valid": 0.5, "test": 0.5}, "must leave something for training"),
        ("random", {"seed": 0.5}, "seed must be an integer, got 0.5"),
        (
            "random",
            {"valid": 0.01},
            r"the validation part is empty: 8 training, 0 validation, 1 test pairs \(pairs 9\)",
        ),
        ("beta", {"beta": 0.5}, "the validation part is empty: 9 training, 0 .*take a smaller beta"),
    ],
)
def test_refusals(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        full(3, 3).split(kind, **options)


def test_one_time_for_all_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="the training part is empty: 0 training, 0 validation, 9 test pairs"):
        full(3, 3, times=torch.zeros(9)).split("temporal")


def test_too_short_users_are_refused() -> None:
    with pytest.raises(
        InvalidInputError, match=r"validation part is empty.*short_users 3\); users need at least 3 pairs"
    ):
        full(3, 2).split("leave-one-out")


def test_given_parts() -> None:
    a, b, c = full(3, 3), full(3, 3), full(3, 3)
    parts = [one.select(one.items == at) for at, one in enumerate((a, b, c))]
    split = InteractionSplit(*parts)
    assert (split.kind, split.counts["test"], split.counts["cold_items"]) == ("given", 3, 2)
    with pytest.raises(InvalidInputError, match="3 pairs are in the validation and in the test part"):
        InteractionSplit(parts[0], parts[1], parts[1])
    with pytest.raises(InvalidInputError, match="training has 3 users and 3 items, the test part 4 and 3"):
        InteractionSplit(parts[0], parts[1], full(4, 3))
    with pytest.raises(
        InvalidInputError, match="labels of the training and test parts differ; read it with like=train"
    ):
        InteractionSplit(parts[0], parts[1], full(3, 3, user_labels="abc"))


@given(ROWS, st.data())
@settings(deadline=None)
def test_held_out_pairs_are_the_last(rows: list[tuple[int, int]], data: st.DataObject) -> None:
    times = data.draw(st.lists(st.integers(0, 6), min_size=len(rows), max_size=len(rows)))
    pairs = interactions(rows, times)
    assert pairs.times is not None
    held, options = hold_out(pairs, "temporal", valid=0.3)
    assert options == {"valid": 0.3}
    assert int(held.sum()) >= round(0.3 * len(pairs))
    if bool(held.any() and not held.all()):
        assert pairs.times[~held].max() < pairs.times[held].min()
    held, options = hold_out(pairs, "leave-one-out", seed=3)
    assert options == {"seed": 3}
    for user in range(4):
        mine = pairs.users == user
        assert int(held[mine].sum()) == (int(mine.sum()) > 1)
        if bool(held[mine].any()):
            assert pairs.times[mine & held].item() == pairs.times[mine].max()


def test_held_out_shares() -> None:
    pairs = full(4, 10)
    held, options = hold_out(pairs, "random", valid=0.95, seed=1)
    assert (int(held.sum()), options) == (38, {"seed": 1, "valid": 0.95})
    held, options = hold_out(full(40, 10), "beta", beta=0.5)
    assert (int(held.sum()), options) == (40 * 2, {"seed": 0, "beta": 0.5})
    with pytest.raises(InvalidInputError, match="the temporal split needs times"):
        hold_out(pairs, "temporal")
    with pytest.raises(InvalidInputError, match="valid must be above 0 and below 1, got 1"):
        hold_out(pairs, "random", valid=1)
