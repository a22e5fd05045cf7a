from __future__ import annotations

import copy
import pickle
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.recsys import InteractionReport, Interactions

ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.5, 1.0, 5.0])), max_size=30
)


def columns(rows: list[tuple[int, int, int, float]]) -> list[torch.Tensor]:
    return [
        torch.tensor([row[at] for row in rows], dtype=kind)
        for at, kind in enumerate([torch.int64] * 3 + [torch.float32])
    ]


@settings(deadline=None)
@given(ROWS, st.booleans())
def test_repetitions_are_merged(rows: list[tuple[int, int, int, float]], timed: bool) -> None:
    users, items, times, ratings = columns(rows)
    pairs = Interactions(
        users, items, num_users=5, num_items=4, times=times if timed else None, ratings=ratings, user_labels="abcde"
    )
    best: dict[tuple[int, int], tuple[int, float]] = {}
    for user, item, time, rating in rows:  # the last of the latest
        if not timed or (user, item) not in best or time >= best[user, item][0]:
            best[user, item] = (time, rating)
    seen = Counter((user, item) for user, item, _, _ in rows)
    assert list(zip(pairs.users.tolist(), pairs.items.tolist(), strict=True)) == sorted(best)
    assert pairs.ratings is not None
    assert pairs.ratings.tolist() == [best[pair][1] for pair in sorted(best)]
    if pairs.times is not None:
        assert pairs.times.tolist() == [best[pair][0] for pair in sorted(best)]
    counts = [seen[pair] for pair in sorted(best)]
    assert (pairs.multiplicity is None) == (max(counts, default=1) == 1)
    assert pairs.multiplicity is None or pairs.multiplicity.tolist() == counts
    assert pairs.duplicates == len(rows) - len(best)
    assert pairs.report == InteractionReport(rows=len(rows), kept=len(best), duplicates=len(rows) - len(best))


@settings(deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_select_is_what_the_constructor_makes(rows: list[tuple[int, int, int, float]], random: object) -> None:
    users, items, times, ratings = columns(rows)
    pairs = Interactions(users, items, num_users=5, num_items=4, times=times, ratings=ratings, item_labels="wxyz")
    _ = pairs.codes, pairs.indptr  # what was derived must not be taken over
    kept = torch.tensor([random.random() < 0.5 for _ in range(len(pairs))], dtype=torch.bool)  # type: ignore[attr-defined]
    part = pairs.select(kept)
    again = Interactions(
        pairs.users[kept],
        pairs.items[kept],
        num_users=5,
        num_items=4,
        times=None if pairs.times is None else pairs.times[kept],
        ratings=None if pairs.ratings is None else pairs.ratings[kept],
        multiplicity=None if pairs.multiplicity is None else pairs.multiplicity[kept],
        item_labels="wxyz",
    )
    assert part.fingerprint() == again.fingerprint()
    assert part.codes.tolist() == again.codes.tolist()
    assert part.indptr.tolist() == again.indptr.tolist()
    assert part.report == again.report
    assert (part.multiplicity is None) == (again.multiplicity is None)
    assert part.multiplicity is None or torch.equal(part.multiplicity, again.multiplicity)  # type: ignore[arg-type]


def test_multiplicity_is_summed() -> None:
    pairs = Interactions(
        torch.tensor([0, 0, 0]),
        torch.tensor([1, 0, 1]),
        num_users=1,
        num_items=2,
        multiplicity=torch.tensor([2, 1, 3]),
    )
    assert pairs.multiplicity is not None
    assert pairs.multiplicity.tolist() == [1, 5]
    assert pairs.report == InteractionReport(rows=6, kept=2, duplicates=4)


def test_lookups() -> None:
    pairs = Interactions(
        torch.tensor([1, 0, 1]), torch.tensor([2, 0, 1]), num_users=3, num_items=3, user_labels=["a", "b", "c"]
    )
    assert pairs.contains(torch.tensor([1, 0, 2]), torch.tensor([2, 2, 0])).tolist() == [True, False, False]
    assert pairs.of(torch.tensor([2, 1]))[1].tolist() == [1, 2]
    assert pairs.user_ids(["c", "a"]).tolist() == [2, 0]
    assert pairs.item_ids(["2"]).tolist() == [2]
    assert pairs.to_scipy().toarray().tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    with pytest.raises(InvalidInputError, match="the user 'z' is not known; for example 'a' is known"):
        pairs.user_ids(["z"])
    with pytest.raises(InvalidInputError, match="the item '3' is not known; ids are 0 to 2"):
        pairs.item_ids(["3"])


def test_labels_are_texts() -> None:
    pairs = Interactions(torch.tensor([0]), torch.tensor([0]), num_users=1, num_items=1, item_labels=[7])  # type: ignore[list-item]
    assert pairs.item_labels == ("7",)
    assert pairs.item_ids(["7"]).tolist() == [0]


def test_copies() -> None:
    pairs = Interactions(torch.tensor([0, 0]), torch.tensor([1, 1]), num_users=1, num_items=2, item_labels="ab")
    assert pairs.index is pairs.index  # derived, and not copied
    for twin in (copy.deepcopy(pairs), pickle.loads(pickle.dumps(pairs))):  # noqa: S301
        assert twin.fingerprint() == pairs.fingerprint()
        assert twin.report == pairs.report
        assert "index" not in vars(twin)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"users": torch.tensor([0, 3])}, r"user id 3 in pair 1 is out of range: ids must be in \[0, 3\)"),
        ({"items": torch.tensor([0.0, 1.0])}, "item ids must be integers, got dtype torch.float32"),
        ({"items": torch.tensor([0])}, r"same length, got users \(2,\), items \(1,\)"),
        ({"users": [0, 1]}, r"user ids must be a tensor of shape \(m,\), got list"),
        ({"times": torch.tensor([0.0, float("nan")])}, "time nan of pair 1 is not finite"),
        ({"ratings": torch.tensor([float("inf"), 1.0])}, "rating inf of pair 0 is not finite"),
        ({"user_labels": ["a", "b"]}, "2 user labels were given for 3 users"),
        ({"item_labels": ["a", "b", "a"]}, "the item label 'a' is given to two items"),
        ({"multiplicity": torch.tensor([1, 0])}, "multiplicity 0 of pair 1 must be at least 1"),
        ({"multiplicity": torch.tensor([1.0, 2.0])}, "multiplicity must be integers, got dtype torch.float32"),
    ],
)
def test_refusals(change: dict[str, object], message: str) -> None:
    good: dict[str, object] = {
        "users": torch.tensor([0, 1]),
        "items": torch.tensor([0, 1]),
        "num_users": 3,
        "num_items": 3,
    }
    with pytest.raises(InvalidInputError, match=message):
        Interactions(**(good | change))  # type: ignore[arg-type]


def test_summary() -> None:
    pairs = Interactions(
        torch.tensor([0, 0, 0]),
        torch.tensor([1, 1, 0]),
        num_users=2,
        num_items=2,
        times=torch.tensor([10, 20, 30]),
        ratings=torch.tensor([1.0, 2.0, 4.0]),
    )
    lines = dict(line.split(maxsplit=1) for line in pairs.summary().splitlines() if not line.startswith("pairs per"))
    assert lines == {
        "users": "2",
        "items": "2",
        "pairs": "2",
        "density": "50.0000 %",
        "ratings": "2 to 4, mean 3",
        "times": "20 to 30",
        "report": "3 rows, 2 pairs kept; dropped: 1 repetition of a pair",
    }
    empty = torch.empty(0, dtype=torch.int64)
    assert "pairs per user    none" in Interactions(empty, empty, num_users=0, num_items=0).summary()


def test_no_pair_is_out_of_the_tables() -> None:
    pairs = Interactions(torch.tensor([1]), torch.tensor([0]), num_users=3, num_items=3)
    users, items = torch.tensor([1, 0, 2, 5, -1]), torch.tensor([0, 3, -3, 0, 6])
    assert pairs.contains(users, items).tolist() == [True, False, False, False, False]


def test_reports_count_in_words() -> None:
    report = InteractionReport(rows=131, kept=1, filtered=125, users_filtered=6, items_filtered=1, unknown_items=1)
    assert str(report) == (
        "131 rows, 1 pair kept; dropped: 1 row of an unknown item, 125 rows of users or items with too few, 6 users, "
        "1 item"
    )
    assert str(InteractionReport(rows=1, kept=1)) == "1 row, 1 pair kept; dropped: nothing"
