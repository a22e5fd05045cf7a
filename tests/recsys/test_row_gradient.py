"""Gradients that are written by hand, against those of PyTorch."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from kgneg.recsys.cosine import cosine_to
from kgneg.recsys.row_gradient import RowGradient


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=8), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_every_step_has_the_dense_gradient(steps: list[list[int]]) -> None:
    ours, theirs = nn.Parameter(draw(0, 7, 3)), nn.Parameter(draw(0, 7, 3))
    keeper = RowGradient()
    for number, step in enumerate(steps):
        rows, weight = torch.tensor(step), draw(number, len(step), 3)
        ours.grad = theirs.grad = None
        (keeper.look_up(ours, rows) * weight).sum().backward()
        (functional.embedding(rows, theirs) * weight).sum().backward()
        assert torch.allclose(ours.grad, theirs.grad)


def test_rows_may_have_any_shape() -> None:
    table = nn.Parameter(draw(0, 5, 2))
    rows = torch.tensor([[0, 1, 1], [4, 0, 1]])
    found = RowGradient().look_up(table, rows)
    assert torch.equal(found, table[rows])
    found.sum().backward()
    assert table.grad is not None and table.grad[:, 0].tolist() == [2, 3, 0, 0, 1]


def test_gradients_add_up_over_backward_passes() -> None:
    table, keeper = nn.Parameter(draw(0, 4, 2)), RowGradient()
    for _ in range(2):
        keeper.look_up(table, torch.tensor([1])).sum().backward()
    keeper.look_up(table, torch.tensor([2])).sum().backward()
    assert table.grad is not None and table.grad[:, 0].tolist() == [0, 2, 1, 0]
    table.grad = None
    keeper.look_up(table, torch.tensor([0])).sum().backward()
    assert table.grad[:, 0].tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("first", ["rows", "whole"])
def test_another_term_may_have_a_gradient_everywhere(first: str) -> None:
    """What others write to the gradient is not there at the next step."""
    table, keeper = nn.Parameter(torch.ones(4, 2)), RowGradient()
    for _ in range(3):
        table.grad = None
        terms = [lambda: keeper.look_up(table, torch.tensor([1])).sum(), lambda: table.square().sum()]
        for term in terms if first == "rows" else terms[::-1]:
            term().backward()
        assert table.grad is not None and table.grad[:, 0].tolist() == [2, 3, 2, 2]


def test_a_gradient_that_was_changed_in_place_is_emptied() -> None:
    table, keeper = nn.Parameter(torch.ones(4, 2)), RowGradient()
    keeper.look_up(table, torch.tensor([1])).sum().backward()
    assert table.grad is not None
    table.grad.add_(5.0)  # an average over processes does such things
    table.grad = None
    keeper.look_up(table, torch.tensor([2])).sum().backward()
    assert table.grad[:, 0].tolist() == [0, 0, 1, 0]


def test_the_tensor_is_kept_and_copies_have_their_own() -> None:
    table, keeper = nn.Parameter(torch.ones(4, 2)), RowGradient()
    keeper.look_up(table, torch.tensor([1])).sum().backward()
    assert table.grad is not None
    first, table.grad = table.grad.data_ptr(), None
    keeper.look_up(table, torch.tensor([2])).sum().backward()
    assert table.grad is not None and table.grad.data_ptr() == first
    for other in (copy.deepcopy(keeper), pickle.loads(pickle.dumps(keeper))):  # noqa: S301
        fresh = nn.Parameter(torch.ones(4, 2))
        other.look_up(fresh, torch.tensor([0])).sum().backward()
        assert fresh.grad is not None and fresh.grad.data_ptr() != first and float(fresh.grad.sum()) == 2


def test_a_table_of_another_size_or_type_gets_a_tensor_of_its_own() -> None:
    keeper = RowGradient()
    for table in (nn.Parameter(torch.ones(4, 2)), nn.Parameter(torch.ones(5, 3, dtype=torch.float64))):
        keeper.look_up(table, torch.tensor([1])).sum().backward()
        assert table.grad is not None and table.grad.shape == table.shape and table.grad.dtype == table.dtype


def test_cosine_is_that_of_pytorch() -> None:
    ours, theirs = (draw(1, 6, 4).requires_grad_() for _ in range(2))
    wanted, weight = draw(2, 6, 4), draw(3, 6)
    with torch.no_grad():
        ours[2] = theirs[2] = 0.0
        wanted[3] = 0.0
    found, expected = cosine_to(ours, wanted), functional.cosine_similarity(theirs, wanted, dim=-1)
    assert torch.allclose(found, expected, atol=1e-6)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    kept = torch.tensor([0, 1, 3, 4, 5])  # where a vector is zero there is no gradient to speak of
    assert torch.allclose(ours.grad[kept], theirs.grad[kept], atol=1e-5)
    assert ours.grad.isfinite().all()


def test_cosine_has_gradients_on_both_sides_where_both_are_wanted() -> None:
    first, second = draw(1, 6, 4).double().requires_grad_(), draw(2, 6, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(cosine_to, (first, second))
    assert torch.autograd.gradcheck(lambda one: cosine_to(one, second.detach()), (first,))


def test_rows_may_be_written_to_afterwards() -> None:
    table, keeper, rows = nn.Parameter(torch.ones(4, 2)), RowGradient(), torch.tensor([0])
    keeper.look_up(table, rows).sum().backward()
    rows.fill_(3)
    table.grad = None
    keeper.look_up(table, rows).sum().backward()
    assert table.grad is not None and table.grad[:, 0].tolist() == [0, 0, 0, 1]


def test_a_gradient_that_someone_holds_is_left_alone() -> None:
    table, keeper, held = nn.Parameter(torch.ones(4, 2)), RowGradient(), []
    for row in (0, 1, 1):
        table.grad = None
        keeper.look_up(table, torch.tensor([row])).sum().backward()
        held.append(table.grad)
    assert sum(one[:, 0] for one in held).tolist() == [1, 2, 0, 0]


def test_two_tables_have_two_gradients() -> None:
    first, second, keeper = nn.Parameter(torch.ones(4, 2)), nn.Parameter(torch.ones(4, 2)), RowGradient()
    for table, row in ((first, 0), (second, 1), (first, 2)):
        keeper.look_up(table, torch.tensor([row])).sum().backward()
    assert first.grad is not None and second.grad is not None
    assert first.grad[:, 0].tolist() == [1, 0, 1, 0] and second.grad[:, 0].tolist() == [0, 1, 0, 0]


def test_hooks_are_called() -> None:
    table, keeper = nn.Parameter(torch.ones(4, 2)), RowGradient()
    table.register_hook(lambda gradient: 2 * gradient)
    keeper.look_up(table, torch.tensor([1])).sum().backward()
    assert table.grad is not None and table.grad[:, 0].tolist() == [0, 2, 0, 0]


def test_gradients_set_to_zero_do_not_pile_up_rows() -> None:
    table, keeper = nn.Parameter(torch.ones(4, 2)), RowGradient()
    optimizer = torch.optim.SGD([table], lr=0.1)
    for step in range(5):
        optimizer.zero_grad(set_to_none=False)
        keeper.look_up(table, torch.tensor([step % 4])).sum().backward()
        assert table.grad is not None and float(table.grad.sum()) == 2
    assert len(keeper._filled) <= 1
