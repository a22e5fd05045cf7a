"""Reading rows and gathering their gradient."""

from __future__ import annotations

import gc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kgneg.core.errors import InvalidInputError
from kgneg.core.rowwise import RowTable
from kgneg.core.rowwise.table import Contribution


def make(rows: int = 6, dim: int = 2) -> RowTable:
    return RowTable(nn.Parameter(torch.randn(rows, dim, dtype=torch.float64)))


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)])
def test_read_any_shape(shape: tuple[int, ...]) -> None:
    table = make()
    ids = torch.randint(6, shape)
    rows = table.read(ids)
    assert rows.shape == (*shape, 2)
    assert torch.equal(rows, table.weight.detach()[ids])
    rows.sum().backward()
    table.flush()
    expected = torch.zeros(6, 2, dtype=torch.float64)
    for i in ids.flatten().tolist():
        expected[i] += 1
    assert torch.equal(table.weight.grad.to_dense(), expected)


def test_ids_out_of_range() -> None:
    table = make()
    for bad in (-1, 6):
        with pytest.raises(IndexError):
            table.read(torch.tensor([0, bad]))


def test_nothing_is_collected_without_gradients() -> None:
    table = make()
    with torch.no_grad():
        rows = table.read(torch.tensor([1, 2]))
    assert not rows.requires_grad
    with torch.inference_mode():
        table.read(torch.tensor([1, 2]))
    assert table.flush().tolist() == []


def test_rows_are_copies() -> None:
    table = make()
    before = table.weight.detach().clone()
    table.read(torch.tensor([1])).detach().zero_()
    assert torch.equal(table.weight.detach(), before)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("before", ["none", "dense", "sparse"])
def test_flush_adds_to_what_is_there(before: str, dense: bool) -> None:
    table = make()
    expected = torch.zeros(6, 2, dtype=torch.float64)
    if before == "dense":
        table.weight.grad = torch.ones(6, 2, dtype=torch.float64)
        expected += 1
    elif before == "sparse":
        table.read(torch.tensor([0, 5])).sum().backward()
        table.flush()
        expected[[0, 5]] += 1
    table.read(torch.tensor([5, 3, 5])).sum().backward()
    assert table.flush(dense=dense).tolist() == [3, 5]
    expected[3] += 1
    expected[5] += 2
    gradient = table.weight.grad
    assert gradient.is_sparse == (before != "dense" and not dense)
    if gradient.is_sparse:
        assert gradient.is_coalesced()
        assert gradient.coalesce()._indices()[0].tolist() == ([3, 5] if before == "none" else [0, 3, 5])
    assert torch.equal(gradient.to_dense(), expected)
    assert table.flush().tolist() == []  # all was forgotten
    assert torch.equal(table.weight.grad.to_dense(), expected)


def test_rows_read_through_autograd_as_well() -> None:
    table = make()
    (table.weight.sum() + table.read(torch.tensor([2, 2])).sum()).backward()
    table.flush()
    assert table.weight.grad.tolist() == [[1.0, 1.0]] * 2 + [[3.0, 3.0]] + [[1.0, 1.0]] * 3


def test_discard() -> None:
    table = make()
    table.read(torch.tensor([2])).sum().backward()
    table.discard()
    assert table.flush().tolist() == []


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_sum_of_contributions(data: st.DataObject) -> None:
    table = make()
    expected = torch.zeros(6, 2, dtype=torch.float64)
    for _ in range(data.draw(st.integers(0, 4))):
        n, k = data.draw(st.integers(0, 5)), data.draw(st.integers(1, 4))
        ids = torch.tensor(data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)), dtype=torch.int64)
        indexed, weighted = data.draw(st.booleans()), data.draw(st.booleans())
        if data.draw(st.booleans()):
            source = table.workspace(k if indexed else n, 3).normal_()
        else:
            source = torch.randn(k if indexed else n, 2, dtype=torch.float64)
        index = torch.randint(k, (n,)) if indexed else None
        weights = torch.randn(n, dtype=torch.float64) if weighted else None
        part = source.clone() if index is None else source[index].clone()
        expected.index_add_(0, ids, part if weights is None else part * weights[:, None])
        table.add(Contribution(ids, source, index, weights))
        del source
    table.flush(dense=True)
    torch.testing.assert_close(table.weight.grad, expected)


def test_a_buffer_in_use_is_not_handed_out_again() -> None:
    table = make()
    first = table.workspace(4).fill_(1)
    second = table.workspace(4).fill_(2)
    assert bool((first == 1).all())
    assert second.shape == (4, 2)
    address = first.data_ptr()
    del first, second
    gc.collect()
    assert table.workspace(3).data_ptr() == address


@pytest.mark.parametrize("weight", [torch.zeros(3), torch.zeros(2, 3, 4), torch.zeros(4, 3).t()])
def test_unfit_weights(weight: torch.Tensor) -> None:
    with pytest.raises(InvalidInputError, match="contiguous matrix"):
        RowTable(nn.Parameter(weight))
