from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kgneg.core.alias import build_alias_tables

Rows = list[list[float]]


def csr(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    sizes = torch.tensor([0] + [len(row) for row in rows])
    return sizes.cumsum(0), torch.tensor([weight for row in rows for weight in row], dtype=torch.float64)


def implied(indptr: torch.Tensor, keep: torch.Tensor, alias: torch.Tensor) -> torch.Tensor:
    """The probability of each member that a draw from the tables has, in closed form."""
    sizes = indptr.diff()
    start, size = (part.repeat_interleave(sizes) for part in (indptr[:-1], sizes))
    return keep.clone().index_add_(0, start + alias.long(), 1 - keep) / size


def assert_exact(rows: Rows) -> None:
    indptr, weights = csr(rows)
    keep, alias = build_alias_tables(indptr, weights)
    assert keep.dtype == torch.float64
    assert alias.dtype == torch.int32
    sizes = indptr.diff()
    assert ((keep >= 0) & (keep <= 1)).all()
    assert ((alias >= 0) & (alias < sizes.repeat_interleave(sizes))).all(), "an alias leaves its row"
    probability = implied(indptr, keep, alias)
    expected = [weight / sum(row) for row in rows for weight in row]
    torch.testing.assert_close(probability, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)
    assert (probability[weights == 0] == 0).all(), "a member without weight can be drawn"


def row_of(weights: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(weights, max_size=12).filter(lambda row: not row or sum(row) > 0)


counts = st.integers(0, 5).map(float)
smooth = st.floats(0, 1, allow_subnormal=False).map(lambda value: round(value, 6))
ratios = st.floats(-30, 30).map(lambda power: 10.0**power)
equal = st.builds(lambda weight, size: [weight] * size, st.sampled_from([0.1, 0.3, 1 / 3, 7.0]), st.integers(0, 12))
any_row = st.one_of(row_of(counts), row_of(smooth), row_of(ratios), row_of(st.one_of(counts, ratios)), equal)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(rows=st.lists(any_row, max_size=6))
@example(rows=[[0.0, 1.0, 2.0]])  # a member of exactly mean weight before the one that serves
@example(rows=[[1.0, 0.0, 2.0], [0.0, 2.0, 0.0, 2.0]])  # a surplus that is used up exactly
@example(rows=[[1.0, 3.0], [0.3] * 5])  # equal weights that all round to less than their mean
@example(rows=[[0.1] * 16, [1.0, 3.0], [0.1] * 3, [1 / 3] * 10])
@example(rows=[[1.0] * 5 + [7.0] * 2, [3.0, 3.0, 3.0, 1e-9, 0.0, 3.0]])
@example(rows=[[1.5, 1.5, 1.5, 1.5, 0.0, 0.0]])  # debts that are passed on
@example(rows=[[1e-300, 1e300], [1e-310, 2e-310], [5e-324]])
@example(rows=[[], [2.0], []])
def test_tables_are_exact(rows: Rows) -> None:
    assert_exact(rows)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["counts", "pareto", "uniform"])
def test_many_ragged_rows(kind: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(0, 60, (500,), generator=generator).tolist()
    draw = torch.rand(sum(sizes), generator=generator, dtype=torch.float64)
    weights = {"counts": (draw * 4).floor(), "pareto": (1 - draw) ** -2, "uniform": draw}[kind]
    rows = [row.tolist() for row in weights.split(sizes)]
    assert_exact([row if sum(row) else [1.0] for row in rows])


def test_float32_and_integer_weights() -> None:
    indptr = torch.tensor([0, 3])
    for weights in (torch.tensor([1.0, 2.0, 5.0]), torch.tensor([1, 2, 5])):
        keep, alias = build_alias_tables(indptr, weights)
        torch.testing.assert_close(implied(indptr, keep, alias), torch.tensor([1, 2, 5]).double() / 8)
