from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare

from kgneg.core.candidates import CandidateIndex
from kgneg.core.typing import LongTensor
from kgneg.core.unions import UnionIndex

LISTS = [[0, 3, 9], [1], [], [2, 4, 5, 6, 7], [8, 10], []]
POOLS = CandidateIndex.from_lists(LISTS, num_columns=11)
ROWS = torch.tensor([[0, 1, 3], [3, 1, 0], [2, 4, 1], [2, 5, 2], [4, 3, 2], [5, 0, 2], [0, 1, 3]])
LIMITS = [0, 1 << 18]


def members_of(row: LongTensor) -> list[int]:
    return sorted(member for part in row.tolist() for member in LISTS[part])


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("columns", [1, 2, 3])
def test_uniform_over_the_union(limit: int, columns: int) -> None:
    rows = ROWS[:, :columns]
    unions = UnionIndex(POOLS, rows, limit=limit)
    which = torch.arange(len(rows)).repeat(3)
    ids, hit = unions.sample(which, 3000, torch.Generator().manual_seed(5))
    hit = torch.ones_like(ids, dtype=torch.bool) if hit is None else hit
    assert ids.shape == hit.shape == (3 * len(rows), 3000)
    assert ids.dtype == torch.int32
    for row in range(len(rows)):
        expected = members_of(rows[row])
        drawn = ids[row :: len(rows)].flatten().tolist()
        assert (hit[row :: len(rows)] == bool(expected)).all()
        if expected:
            assert set(drawn) == set(expected)
        if len(expected) > 1:
            assert chisquare([drawn.count(member) for member in expected]).pvalue > 1e-5
    assert ((ids >= 0) & (ids < 11)).all()


def test_written_out_or_looked_up() -> None:
    """Equal unions are written out once; the limit is inclusive; single rows stay where they are."""
    total = sum(len(members_of(row)) for row in torch.unique(ROWS.sort(-1).values, dim=0))
    assert total > len(POOLS.indices)
    assert len(UnionIndex(POOLS, ROWS, limit=total).indices) == total
    assert torch.equal(UnionIndex(POOLS, ROWS, limit=total - 1).indices, POOLS.indices)
    assert torch.equal(UnionIndex(POOLS, ROWS[:, :1]).indices, POOLS.indices)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("lists", [[[], []], [[], [], []]])
def test_nothing_at_all(limit: int, lists: list[list[int]]) -> None:
    pools = CandidateIndex.from_lists(lists, num_columns=4)
    for rows in (torch.tensor([[0], [1]]), torch.tensor([[0, 1], [1, 0]])):
        ids, hit = UnionIndex(pools, rows, limit=limit).sample(torch.tensor([0, 1, 1]), 5)
        assert hit is not None
        assert not hit.any()
        assert ((ids >= 0) & (ids < 4)).all()


@pytest.mark.parametrize("limit", LIMITS)
def test_repeatable_and_private(limit: int) -> None:
    unions = UnionIndex(POOLS, ROWS, limit=limit)
    before = torch.get_rng_state()
    first, second = (unions.sample(torch.arange(7), 9, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(torch.get_rng_state(), before)
    assert unions.sample(torch.empty(0, dtype=torch.long), 4)[0].shape == (0, 4)


def test_unions_without_an_empty_one_always_hit() -> None:
    for limit in LIMITS:
        hit = UnionIndex(POOLS, ROWS[:2], limit=limit).sample(torch.tensor([1, 0]), 4)[1]
        assert hit is None or hit.all()


def test_state_of_another_size_is_taken_over() -> None:
    source = UnionIndex(POOLS, ROWS)
    target = UnionIndex(CandidateIndex.from_lists([[1]], num_columns=11), torch.tensor([[0]]))
    target.load_state_dict(source.state_dict())
    draws = [unions.sample(torch.arange(7), 20, torch.Generator().manual_seed(3))[0] for unions in (source, target)]
    assert torch.equal(*draws)
