"""Scores of candidates and queries, against autograd over plain indexing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kgneg.core.errors import InvalidInputError
from kgneg.core.rowwise import Candidates, Combination, Metric, RowTable, candidate_scores, pool_scores, triple_queries

METRICS = list(Metric)
DTYPES = [torch.float32, torch.float64]


def plain(metric: Metric, queries: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Compare vectors of the same shape, in the most obvious way."""
    if metric is Metric.DOT:
        return (queries * vectors).sum(-1)
    difference = vectors - queries
    if metric is Metric.L1:
        return -difference.abs().sum(-1)
    if metric is Metric.SQUARED:
        return -difference.square().sum(-1)
    return -torch.linalg.vector_norm(difference, dim=-1)


def close(dtype: torch.dtype) -> dict[str, float]:
    return {"rtol": 1e-4, "atol": 1e-5} if dtype is torch.float32 else {"rtol": 1e-9, "atol": 1e-10}


def check(
    metric: Metric,
    dtype: torch.dtype,
    counts: list[int],
    ids: torch.Tensor,
    rows: int = 7,
    dim: int = 3,
    matrix: bool = False,
) -> None:
    generator = torch.Generator().manual_seed(sum(counts) + dim)
    weight = torch.randn(rows, dim, generator=generator, dtype=dtype)
    start = torch.randn(len(counts), dim, generator=generator, dtype=dtype)
    outer = torch.randn(len(ids), generator=generator, dtype=dtype)
    owners = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts, dtype=torch.int64))

    reference, queries = weight.clone().requires_grad_(), start.clone().requires_grad_()
    expected = plain(metric, queries[owners], reference[ids])
    (expected * outer).sum().backward()

    table, asked = RowTable(nn.Parameter(weight.clone())), start.clone().requires_grad_()
    if matrix:
        candidates = Candidates.from_matrix(ids.view(len(counts), -1))
    else:
        candidates = Candidates.from_counts(ids, torch.tensor(counts, dtype=torch.int64))
    assert candidates.owners.tolist() == owners.tolist()
    with torch.no_grad():
        silent = candidate_scores(table, asked, candidates, metric)
    scores = candidate_scores(table, asked, candidates, metric)
    torch.testing.assert_close(scores, expected.detach(), **close(dtype))
    torch.testing.assert_close(silent, expected.detach(), **close(dtype))
    (scores * outer).sum().backward()
    touched = table.flush()
    assert touched.tolist() == sorted(set(ids.tolist()))
    torch.testing.assert_close(asked.grad, queries.grad, **close(dtype))
    assert table.weight.grad is not None
    torch.testing.assert_close(table.weight.grad.to_dense(), reference.grad, **close(dtype))


@settings(max_examples=25, deadline=None)
@given(
    metric=st.sampled_from(METRICS),
    dtype=st.sampled_from(DTYPES),
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    dim=st.integers(1, 5),
    data=st.data(),
)
def test_ragged_candidates(
    metric: Metric, dtype: torch.dtype, counts: list[int], dim: int, data: st.DataObject
) -> None:
    total = sum(counts)
    ids = torch.tensor(data.draw(st.lists(st.integers(0, 6), min_size=total, max_size=total)), dtype=torch.int64)
    check(metric, dtype, counts, ids, dim=dim)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", METRICS)
def test_matrix_of_candidates(metric: Metric, dtype: torch.dtype) -> None:
    ids = torch.tensor([3, 3, 3, 0, 6, 1, 2, 2, 0])
    check(metric, dtype, [3, 3, 3], ids, matrix=True)
    check(metric, dtype, [3, 3, 3], ids, matrix=False)


@pytest.mark.parametrize("metric", METRICS)
def test_more_than_a_block(metric: Metric) -> None:
    # distances are worked on block by block: 2**17 numbers at a time
    ids = torch.randint(50, (700,), generator=torch.Generator().manual_seed(0))
    check(metric, torch.float64, [0, 300, 1, 399], ids, rows=50, dim=400)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("queries", [0, 2])
def test_no_candidates(metric: Metric, queries: int) -> None:
    check(metric, torch.float32, [0] * queries, torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize("metric", METRICS)
def test_queries_in_any_layout(metric: Metric) -> None:
    table = RowTable(nn.Parameter(torch.randn(5, 3)))
    candidates = Candidates.from_matrix(torch.tensor([[1, 2], [2, 2]]))
    columns = torch.randn(3, 2, requires_grad=True)
    scores = candidate_scores(table, columns.t(), candidates, metric)
    scores.sum().backward()
    table.flush()
    mine, gradient = columns.grad.clone(), table.weight.grad.to_dense()
    weight, again = table.weight.detach().clone().requires_grad_(), columns.detach().t().clone().requires_grad_()
    plain(metric, again[torch.tensor([0, 0, 1, 1])], weight[candidates.ids]).sum().backward()
    torch.testing.assert_close(mine, again.grad.t())
    torch.testing.assert_close(gradient, weight.grad)


def test_the_gradient_of_a_distance_of_zero_is_zero() -> None:
    for metric in (Metric.L1, Metric.L2, Metric.SQUARED):
        table = RowTable(nn.Parameter(torch.eye(3)))
        query = torch.eye(3)[:1].clone().requires_grad_()
        candidate_scores(table, query, Candidates.from_matrix(torch.tensor([[0]])), metric).sum().backward()
        table.flush()
        assert not query.grad.any()
        assert not table.weight.grad.to_dense().any()


@pytest.mark.parametrize("metric", METRICS)
def test_constant_queries(metric: Metric) -> None:
    table = RowTable(nn.Parameter(torch.randn(4, 3)))
    scores = candidate_scores(table, torch.randn(1, 3), Candidates.from_matrix(torch.tensor([[0, 3]])), metric)
    scores.sum().backward()
    assert table.flush().tolist() == [0, 3]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("each", [3, 8, 100])
def test_more_candidates_than_rows(metric: Metric, each: int) -> None:
    ids = torch.randint(3, (2 * each,), generator=torch.Generator().manual_seed(0))
    check(metric, torch.float64, [each, each], ids, rows=3, matrix=True)


def test_wrong_shapes() -> None:
    table = RowTable(nn.Parameter(torch.randn(4, 3)))
    candidates = Candidates.from_matrix(torch.tensor([[0, 3]]))
    for shape in ((1, 2), (2, 3), (3,)):
        with pytest.raises(InvalidInputError):
            candidate_scores(table, torch.randn(shape), candidates, Metric.DOT)


@pytest.mark.parametrize("order", ["same", "reversed"])
@pytest.mark.parametrize("metric", METRICS)
def test_several_forward_passes_before_backward(metric: Metric, order: str) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    table, reference = RowTable(nn.Parameter(weight.clone())), weight.clone().requires_grad_()
    mine, theirs, owned, known = [], [], [], []
    for size in (5, 2, 8):
        ids = torch.randint(9, (3, size), generator=generator)
        start = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        owned.append(start.clone().requires_grad_())
        known.append(start.clone().requires_grad_())
        mine.append(candidate_scores(table, owned[-1], Candidates.from_matrix(ids), metric).view(3, size).pow(2).sum())
        theirs.append(plain(metric, known[-1][:, None], reference[ids]).pow(2).sum())
    read = table.read(torch.tensor([0, 8, 8])).pow(3).sum()
    mine.append(read)
    theirs.append(reference[[0, 8, 8]].pow(3).sum())
    for mine_, theirs_ in zip(*((mine, theirs) if order == "same" else (mine[::-1], theirs[::-1])), strict=True):
        mine_.backward()
        theirs_.backward()
        with torch.no_grad():  # scores without gradient in between must not spoil what is kept
            candidate_scores(table, owned[0].detach(), Candidates.from_matrix(torch.zeros(3, 20).long()), metric)
    table.flush()
    torch.testing.assert_close(table.weight.grad.to_dense(), reference.grad)
    for a, b in zip(owned, known, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("metric", METRICS)
def test_sub_batches_and_steps_share_a_workspace(metric: Metric) -> None:
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    table, reference = RowTable(nn.Parameter(weight.clone())), weight.clone().requires_grad_()
    for _ in range(3):
        table.weight.grad = reference.grad = None
        for size in (6, 6, 1, 9):
            ids = torch.randint(9, (2, size), generator=generator)
            h = torch.randint(9, (2,), generator=generator)
            candidate_scores(table, table.read(h), Candidates.from_matrix(ids), metric).pow(2).sum().backward()
            plain(metric, reference[h][:, None], reference[ids]).pow(2).sum().backward()
        table.flush()
        torch.testing.assert_close(table.weight.grad.to_dense(), reference.grad)


@pytest.mark.parametrize("block", [1, 2 * 5 * 4, 2**17])
@pytest.mark.parametrize("metric", METRICS)
def test_pool_scores(metric: Metric, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgneg.core.rowwise.pool._BLOCK", block)
    queries = torch.randn(2, 3, 4, dtype=torch.float64)
    pool = torch.randn(2, 5, 4, dtype=torch.float64)
    if metric is not Metric.L2:  # its derivative has no limit at a distance of zero
        pool[0, 1] = queries[0, 2]
    queries.requires_grad_(), pool.requires_grad_()
    scores = pool_scores(queries, pool, metric)
    torch.testing.assert_close(scores, plain(metric, queries[:, :, None], pool[:, None]))
    gradients = torch.autograd.grad(scores.pow(2).sum(), (queries, pool))
    expected = torch.autograd.grad(plain(metric, queries[:, :, None], pool[:, None]).pow(2).sum(), (queries, pool))
    torch.testing.assert_close(gradients, expected)
    assert pool_scores(queries, pool[:, :0], metric).shape == (2, 3, 0)
    assert pool_scores(queries[:, :0], pool, metric).shape == (2, 0, 5)
    torch.testing.assert_close(pool_scores(queries[1], pool[1], metric), scores[1])
    torch.testing.assert_close(pool_scores(queries[None], pool[None], metric), scores[None])


@pytest.mark.parametrize("metric", METRICS)
def test_pool_scores_in_few_bits(metric: Metric) -> None:
    queries, pool = torch.randn(2, 3, 4).bfloat16(), torch.randn(2, 5, 4).bfloat16()
    scores = pool_scores(queries, pool, metric)
    assert scores.dtype == torch.bfloat16
    expected = plain(metric, queries.double()[:, :, None], pool.double()[:, None])
    torch.testing.assert_close(scores.double(), expected, rtol=0.05, atol=0.05)


def _obvious(
    h: torch.Tensor, r: torch.Tensor, t: torch.Tensor, combination: Combination, metric: Metric
) -> tuple[torch.Tensor, torch.Tensor]:
    if combination is Combination.TRANSLATION:
        heads, tails = t - r, h + r
    else:
        heads, tails = r.conj() * t, h * r
    if h.is_complex():
        heads, tails, t = (torch.view_as_real(x.resolve_conj()).flatten(-2) for x in (heads, tails, t))
    return plain(metric, tails, t)[:, None], torch.stack([heads, tails], 1).flatten(0, 1)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("combination", list(Combination))
@pytest.mark.parametrize("rows", [0, 1, 4])
def test_triple_queries(combination: Combination, metric: Metric, rows: int) -> None:
    dtype = torch.complex128 if combination is Combination.ROTATION else torch.float64
    h, r, t = (torch.randn(rows, 3, dtype=dtype, requires_grad=True) for _ in range(3))
    scores, queries = triple_queries(h, r, t, combination, metric)
    expected = _obvious(h, r, t, combination, metric)
    torch.testing.assert_close((scores, queries), expected)
    weights = torch.randn_like(queries)
    gradients = torch.autograd.grad(scores.pow(2).sum() + (queries * weights).sum(), (h, r, t))
    wanted = torch.autograd.grad(expected[0].pow(2).sum() + (expected[1] * weights).sum(), (h, r, t))
    torch.testing.assert_close(gradients, wanted)
    if rows:
        assert torch.autograd.gradcheck(lambda *x: triple_queries(*x, combination, metric), (h, r, t))


@pytest.mark.parametrize("combination", list(Combination))
def test_triple_queries_of_slices_and_of_repeated_vectors(combination: Combination) -> None:
    dtype = torch.complex128 if combination is Combination.ROTATION else torch.float64
    h = torch.randn(3, 4, dtype=dtype).t()[:, :2].requires_grad_()
    r = torch.randn(1, 2, dtype=dtype).requires_grad_()
    for metric in METRICS:
        mine = triple_queries(h, r.expand(4, 2), h, combination, metric)
        expected = _obvious(h, r.expand(4, 2), h, combination, metric)
        torch.testing.assert_close(mine, expected)
        gradients = torch.autograd.grad(mine[0].sum() + mine[1].pow(2).sum(), (h, r))
        wanted = torch.autograd.grad(expected[0].sum() + expected[1].pow(2).sum(), (h, r))
        torch.testing.assert_close(gradients, wanted)
