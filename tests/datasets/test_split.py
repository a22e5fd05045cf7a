from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.datasets._split import split_triples


@given(
    rows=st.sets(st.tuples(st.integers(0, 6), st.integers(0, 2), st.integers(0, 6)), min_size=1, max_size=60),
    valid=st.floats(0, 0.45),
    test=st.floats(0, 0.45),
    seed=st.integers(0, 2**32),
)
def test_parts_cover_everything_once(rows: set[tuple[int, int, int]], valid: float, test: float, seed: int) -> None:
    triples = torch.tensor(sorted(rows))
    parts = split_triples(triples, valid=valid, test=test, seed=seed)
    found = [tuple(row) for part in parts for row in part.tolist()]
    assert sorted(found) == sorted(rows)
    train = parts[0]
    assert set(train[:, [0, 2]].unique().tolist()) == set(triples[:, [0, 2]].unique().tolist())
    assert set(train[:, 1].unique().tolist()) == set(triples[:, 1].unique().tolist())
    assert len(parts[1]) <= round(valid * len(rows))
    assert len(parts[2]) <= round(test * len(rows))
    for part in parts:
        assert part.tolist() == sorted(part.tolist())  # the order of the input


def dense(size: int = 20) -> torch.Tensor:
    return torch.cartesian_prod(torch.arange(size), torch.arange(2), torch.arange(size))


def test_shares_and_seed() -> None:
    triples = dense()
    first = split_triples(triples, valid=0.1, test=0.2, seed=1)
    assert [len(part) for part in first] == [560, 80, 160]
    again = split_triples(triples, valid=0.1, test=0.2, seed=1)
    other = split_triples(triples, valid=0.1, test=0.2, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[1], other[1])


def test_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    split_triples(dense(4), valid=0.1, test=0.1, seed=0)
    assert torch.equal(before, torch.get_rng_state())


def test_too_few_candidates(caplog: pytest.LogCaptureFixture) -> None:
    chain = torch.tensor([[i, 0, i + 1] for i in range(9)])
    train, valid, test = split_triples(chain, valid=0.4, test=0.4, seed=0)
    assert len(train) + len(valid) + len(test) == 9
    assert set(train[:, [0, 2]].unique().tolist()) == set(range(10))
    assert "8 of 9 triples were wanted for evaluation" in caplog.text


@pytest.mark.parametrize(("valid", "test"), [(-0.1, 0), (0, -0.1), (1.0, 0), (0.5, 0.5), (float("nan"), 0)])
def test_shares_out_of_range_are_refused(valid: float, test: float) -> None:
    with pytest.raises(InvalidInputError, match=r"expected shares from 0 whose sum is below 1"):
        split_triples(dense(3), valid=valid, test=test, seed=0)
