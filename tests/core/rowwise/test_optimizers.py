"""Row-wise optimisers against those of torch."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer

from kgneg.core.errors import InvalidInputError
from kgneg.core.rowwise import RowAdagrad, RowAdam, RowOptimizer, RowSGD

ROWS, DIM, STEPS = 50, 4, 6
PAIRS: dict[str, tuple[type[RowOptimizer], type[Optimizer], dict[str, Any]]] = {
    "sgd": (RowSGD, SGD, {"lr": 0.3}),
    "adagrad": (RowAdagrad, Adagrad, {"lr": 0.3}),
    "adagrad with decay": (RowAdagrad, Adagrad, {"lr": 0.3, "lr_decay": 0.5, "initial_accumulator_value": 0.1}),
    "momentum": (RowSGD, SGD, {"lr": 0.3, "momentum": 0.9}),
    "nesterov": (RowSGD, SGD, {"lr": 0.3, "momentum": 0.9, "nesterov": True}),
    "dampening": (RowSGD, SGD, {"lr": 0.3, "momentum": 0.9, "dampening": 0.5}),
    "decayed sgd": (RowSGD, SGD, {"lr": 0.3, "weight_decay": 0.1}),
    "decayed adagrad": (RowAdagrad, Adagrad, {"lr": 0.3, "weight_decay": 0.1}),
    "adam": (RowAdam, Adam, {"lr": 0.1}),
    "decayed adam": (RowAdam, Adam, {"lr": 0.1, "weight_decay": 0.1, "betas": (0.7, 0.8), "eps": 1e-4}),
    "adamw": (RowAdam, AdamW, {"lr": 0.1, "weight_decay": 0.1}),
}
#: what may differ from torch when only some rows have a gradient
LAZY = {name for name in PAIRS if name not in ("sgd", "adagrad", "adagrad with decay")}


def sparse(rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.sparse_coo_tensor(rows[None], values, (ROWS, DIM), is_coalesced=True, check_invariants=False)


def gradients(share: float, dtype: torch.dtype = torch.float64) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(STEPS):
        rows = (torch.rand(ROWS, generator=generator) < share).nonzero().squeeze(-1)
        found.append((rows, torch.randn(len(rows), DIM, generator=generator, dtype=dtype)))
    return found


def start(dtype: torch.dtype = torch.float64) -> nn.Parameter:
    return nn.Parameter(torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(1), dtype=dtype))


def make(name: str, parameter: nn.Parameter) -> RowOptimizer:
    kind, other, options = PAIRS[name]
    extra = {"decoupled_weight_decay": True} if other is AdamW else {}
    return kind([parameter], **options, **extra)


@pytest.mark.parametrize(
    ("name", "share"),
    [(name, share) for name in PAIRS for share in (1.0, 0.9, 0.3, 0.0) if share == 1 or name not in LAZY],
)
@pytest.mark.parametrize("block", [3 * DIM, 2**15])
def test_rows_against_dense(name: str, share: float, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgneg.core.rowwise.optimizer._BLOCK", block)
    mine, theirs = start(), start()
    optimizer, reference = make(name, mine), PAIRS[name][1]([theirs], **PAIRS[name][2])
    for rows, values in gradients(share):
        mine.grad = sparse(rows, values)
        theirs.grad = mine.grad.to_dense()
        optimizer.step()
        reference.step()
        assert mine.grad.is_sparse  # left as it was
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PAIRS)
def test_dense_gradients_are_left_to_torch(name: str) -> None:
    mine, theirs = start(torch.float32), start(torch.float32)
    optimizer, reference = make(name, mine), PAIRS[name][1]([theirs], **PAIRS[name][2])
    for rows, values in gradients(0.5, torch.float32):
        mine.grad = sparse(rows, values).to_dense()
        theirs.grad = mine.grad.clone()
        optimizer.step()
        reference.step()
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PAIRS)
def test_rows_without_gradient_stay(name: str) -> None:
    parameter = start()
    optimizer = make(name, parameter)
    everywhere = torch.arange(ROWS)
    parameter.grad = sparse(everywhere, torch.ones(ROWS, DIM, dtype=torch.float64))
    optimizer.step()
    before = parameter.detach().clone()
    state = {key: value.clone() for key, value in optimizer.state[parameter].items() if torch.is_tensor(value)}
    rows = torch.tensor([3, 7])
    parameter.grad = sparse(rows, torch.ones(2, DIM, dtype=torch.float64))
    optimizer.step()
    moved = (parameter.detach() != before).any(-1)
    assert moved.nonzero().squeeze(-1).tolist() == [3, 7]
    for key, value in optimizer.state[parameter].items():
        if torch.is_tensor(value) and value.ndim == 2:
            changed = (value != state[key]).any(-1).nonzero().squeeze(-1).tolist()
            assert set(changed) <= {3, 7}


@pytest.mark.parametrize("name", ["momentum", "decayed adam", "adam", "decayed sgd", "adamw"])
def test_a_lazy_row_sees_only_its_own_steps(name: str) -> None:
    """Within a table, a row whose gradients come in some steps moves as if the other steps had not been."""
    mine, theirs = start(), start()
    optimizer, reference = make(name, mine), make(name, theirs)
    only, every = torch.tensor([5]), torch.arange(ROWS)
    for i in range(STEPS):
        value = torch.full((1, DIM), i + 1.0, dtype=torch.float64)
        if "adam" not in name:  # Adam's bias correction counts the steps of the whole table
            mine.grad = sparse(every[10:], torch.ones(ROWS - 10, DIM, dtype=torch.float64))
            optimizer.step()
        mine.grad, theirs.grad = sparse(only, value), sparse(only, value)
        optimizer.step()
        reference.step()
    torch.testing.assert_close(mine[5], theirs[5])


@pytest.mark.parametrize("block", [3 * DIM, 7 * DIM, 2**15])
@pytest.mark.parametrize("name", PAIRS)
def test_updating_rows_where_they_lie_changes_nothing(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgneg.core.rowwise.optimizer._BLOCK", block)
    found = []
    for most in (0.0, 2.0):
        monkeypatch.setattr("kgneg.core.rowwise.optimizer._MOST", most)
        parameter = start()
        optimizer = make(name, parameter)
        optimizer.project(parameter, functional.normalize)
        for share in (0.9, 0.1):
            for rows, values in gradients(share):
                parameter.grad = sparse(rows, values)
                optimizer.step()
        state = optimizer.state[parameter]
        found.append([parameter.detach(), *(state[key] for key in sorted(state) if torch.is_tensor(state[key]))])
    for here, there in zip(*found, strict=True):
        assert torch.equal(here, there)


def _steps(optimizer: Optimizer, parameter: nn.Parameter, part: slice) -> None:
    for rows, values in gradients(0.3)[part]:
        parameter.grad = sparse(rows, values)
        optimizer.step()


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("way", ["state_dict", "pickle", "deepcopy"])
def test_saved_and_loaded(name: str, way: str) -> None:
    whole = start()
    _steps(make(name, whole), whole, slice(None))

    parameter = start()
    optimizer = make(name, parameter)
    _steps(optimizer, parameter, slice(3))
    if way == "state_dict":
        state = pickle.loads(pickle.dumps(optimizer.state_dict()))  # noqa: S301
        optimizer = make(name, parameter)
        optimizer.load_state_dict(state)
    elif way == "pickle":
        parameter, optimizer = pickle.loads(pickle.dumps((parameter, optimizer)))  # noqa: S301
    else:
        parameter, optimizer = copy.deepcopy((parameter, optimizer))
    _steps(optimizer, parameter, slice(3, None))
    torch.testing.assert_close(parameter, whole)


@pytest.mark.parametrize("first", ["rows", "dense"])
@pytest.mark.parametrize("name", PAIRS)
def test_rows_and_dense_in_turn(name: str, first: str) -> None:
    mine, theirs = start(), start()
    optimizer, reference = make(name, mine), PAIRS[name][1]([theirs], **PAIRS[name][2])
    for i, (rows, values) in enumerate(gradients(1.0)):
        by_rows = (i % 2 == 0) == (first == "rows")
        gradient = sparse(rows, values)
        mine.grad, theirs.grad = gradient if by_rows else gradient.to_dense(), gradient.to_dense()
        optimizer.step()
        reference.step()
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["momentum", "adam", "adagrad"])
def test_state_of_the_dense_optimiser_can_be_taken_over(name: str) -> None:
    mine, theirs = start(), start()
    reference = PAIRS[name][1]([theirs], **PAIRS[name][2])
    for i, (rows, values) in enumerate(gradients(1.0)):
        theirs.grad = sparse(rows, values).to_dense()
        if i == 3:
            mine = nn.Parameter(theirs.detach().clone())
            optimizer = make(name, mine)
            optimizer.load_state_dict(copy.deepcopy(reference.state_dict()))
        reference.step()
        if i >= 3:
            mine.grad = sparse(rows, values)
            optimizer.step()
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adagrad", "adam"])
def test_projections(name: str) -> None:
    parameter = start()
    optimizer = make(name, parameter)
    optimizer.project(parameter, functional.normalize)
    before = parameter.detach().clone()
    rows = torch.tensor([0, 9])
    parameter.grad = sparse(rows, torch.ones(2, DIM, dtype=torch.float64))
    optimizer.step()
    norms = parameter.detach().norm(dim=-1)
    torch.testing.assert_close(norms[rows], torch.ones(2, dtype=torch.float64))
    untouched = torch.ones(ROWS, dtype=torch.bool).index_fill_(0, rows, 0)
    assert torch.equal(parameter.detach()[untouched], before[untouched])
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    torch.testing.assert_close(parameter.detach().norm(dim=-1), torch.ones(ROWS, dtype=torch.float64))
    optimizer.project(parameter, None)
    parameter.grad = sparse(rows, torch.full((2, DIM), 5.0, dtype=torch.float64))
    optimizer.step()
    assert not torch.allclose(parameter.detach()[rows].norm(dim=-1), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("name", ["sgd", "adagrad", "adam"])
def test_groups_and_parameters_without_gradient(name: str) -> None:
    kind, _, options = PAIRS[name]
    slow, fast, idle = start(), start(), start()
    optimizer = kind([{"params": [slow, idle], "lr": 0.0}, {"params": [fast]}], **options)
    slow.grad = fast.grad = sparse(torch.tensor([1]), torch.ones(1, DIM, dtype=torch.float64))
    optimizer.step()
    assert torch.equal(slow, start())
    assert torch.equal(idle, start())
    assert not torch.equal(fast, start())


def test_rows_that_are_named_twice() -> None:
    parameter = nn.Parameter(torch.zeros(3, 1))
    parameter.grad = torch.sparse_coo_tensor([[1, 1]], [[1.0], [2.0]], (3, 1), check_invariants=True)
    RowSGD([parameter], lr=1.0).step()
    assert parameter.flatten().tolist() == [0.0, -3.0, 0.0]


@pytest.mark.parametrize("name", ["sgd", "adagrad", "adam"])
def test_hooks_run_once_per_step(name: str) -> None:
    """Also when torch's own optimiser was used before, whose step is wrapped then."""
    PAIRS[name][1]([start()], **PAIRS[name][2])
    parameter = start()
    optimizer = make(name, parameter)
    calls: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    parameter.grad = sparse(torch.tensor([1]), torch.ones(1, DIM, dtype=torch.float64))
    optimizer.step()
    assert calls == ["before", "after"]


@pytest.mark.parametrize("kind", [RowAdam, RowAdagrad, RowSGD])
def test_closure(kind: Callable[..., RowOptimizer]) -> None:
    parameter = start()
    optimizer = kind([parameter], lr=0.1)

    def closure() -> float:
        parameter.grad = torch.ones_like(parameter)
        return 7.0

    assert optimizer.step(closure) == 7.0
    assert bool((parameter.detach() < start().detach()).all())


def test_learning_rate_schedules() -> None:
    mine, theirs = start(), start()
    optimizer, reference = RowSGD([mine], lr=1.0), SGD([theirs], lr=1.0)
    schedules = [torch.optim.lr_scheduler.ExponentialLR(each, 0.5) for each in (optimizer, reference)]
    for rows, values in gradients(0.5):
        mine.grad = sparse(rows, values)
        theirs.grad = mine.grad.to_dense()
        for step in (optimizer, reference, *schedules):
            step.step()
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (RowAdam, {"amsgrad": True}),
        (RowAdam, {"maximize": True}),
        (RowAdam, {"lr": torch.tensor(0.1)}),
        (RowAdagrad, {"maximize": True}),
        (RowSGD, {"lr": 0.1, "maximize": True}),
        (RowSGD, {"lr": 0.1, "differentiable": True}),
    ],
)
def test_unsupported_options(kind: Callable[..., RowOptimizer], options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        kind([start()], **options)
