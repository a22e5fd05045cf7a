from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.recsys import Interactions

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


def interactions(rows: list[tuple[int, int]], **options: object) -> Interactions:
    users, items = torch.tensor(rows).t()
    return Interactions(users, items, num_users=6, num_items=6, **options)  # type: ignore[arg-type]


def filtered(rows: list[tuple[int, int]], users: int, items: int, once: bool, count: str) -> set[tuple[int, int]]:
    """Filter with loops and dictionaries."""
    rows = rows if count == "rows" else list(set(rows))
    while True:
        of_user, of_item = Counter(user for user, _ in rows), Counter(item for _, item in rows)
        fewer = [(user, item) for user, item in rows if of_user[user] >= users and of_item[item] >= items]
        if once or fewer == rows:
            return set(fewer)
        rows = fewer


@settings(deadline=None, max_examples=200)
@given(ROWS, st.integers(0, 4), st.integers(0, 4), st.booleans(), st.sampled_from(["rows", "pairs"]))
def test_like_loops(rows: list[tuple[int, int]], users: int, items: int, once: bool, count: str) -> None:
    pairs = interactions(rows, user_labels="abcdef")
    expected = filtered(rows, users, items, once, count)
    if not expected:
        with pytest.raises(InvalidInputError, match="nothing is left of"):
            pairs.at_least(users, items, once=once, count=count)  # type: ignore[arg-type]
        return
    kept = pairs.at_least(users, items, once=once, count=count)  # type: ignore[arg-type]
    assert kept.user_labels is not None
    names = kept.item_labels or "012345"
    found = [(kept.user_labels[u], names[i]) for u, i in zip(kept.users.tolist(), kept.items.tolist(), strict=True)]
    assert set(found) == {("abcdef"[user], str(item)) for user, item in expected}
    assert len(found) == len(expected)
    assert int(kept.user_counts.min()) > 0 < int(kept.item_counts.min())
    report = kept.report
    assert report.rows == len(rows) == report.kept + report.duplicates + report.filtered
    assert report.filtered == sum((user, item) not in expected for user, item in rows)
    assert (report.users_filtered, report.items_filtered) == (6 - kept.num_users, 6 - kept.num_items)


def test_columns_follow() -> None:
    pairs = interactions(
        [(0, 0), (0, 1), (1, 0)], times=torch.tensor([5, 6, 7]), ratings=torch.tensor([1.0, 2.0, 3.0])
    ).at_least(users=2)
    assert pairs.times is not None
    assert pairs.ratings is not None
    assert (pairs.times.tolist(), pairs.ratings.tolist()) == ([5, 6], [1, 2])
    assert (pairs.user_labels, pairs.item_labels) == (("0",), ("0", "1"))


def test_filters_one_after_the_other() -> None:
    rows = [(0, 0), (0, 1), (0, 1), (1, 0), (1, 1), (2, 5)]
    pairs = interactions(rows).at_least(users=2).k_core(2)
    assert (len(pairs), pairs.report.filtered, pairs.report.users_filtered, pairs.report.items_filtered) == (4, 1, 4, 4)


def test_refusals() -> None:
    pairs = interactions([(0, 0), (0, 1), (1, 1)])
    with pytest.raises(InvalidInputError, match=r"users need at least 3 pairs and items 0, but .* are 2 and 2"):
        pairs.at_least(users=3)
    with pytest.raises(InvalidInputError, match="count must be one of rows, pairs; got 'cells'"):
        pairs.at_least(count="cells")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="items must be at least 0, got -1"):
        pairs.at_least(items=-1)


def test_remedies_are_for_what_was_asked() -> None:
    pairs = interactions([(0, 0), (0, 1), (1, 1)])
    with pytest.raises(InvalidInputError, match=r"at_least\(users, items\), on the command line --min-user") as found:
        pairs.k_core(3)
    assert "once=True" not in str(found.value)
    with pytest.raises(InvalidInputError, match=r"take smaller ones$"):
        pairs.at_least(users=3)
