from __future__ import annotations

import pytest
import torch
from torch_geometric.nn import LGConv

from kgneg.core.errors import InvalidInputError
from kgneg.recsys import Interactions
from kgneg.recsys.graph import BipartiteGraph, CompressedLGConv, propagate
from kgneg.recsys.synthetic import synthetic_interactions


def dense(pairs: Interactions) -> torch.Tensor:
    """Return the normalised matrix, entry by entry."""
    number = pairs.num_users + pairs.num_items
    found = torch.zeros(number, number, dtype=torch.float64)
    for user, item in zip(pairs.users.tolist(), pairs.items.tolist(), strict=True):
        value = (float(pairs.user_counts[user]) * float(pairs.item_counts[item])) ** -0.5
        found[user, pairs.num_users + item] = found[pairs.num_users + item, user] = value
    return found


def test_matrix_is_normalised_and_symmetric() -> None:
    pairs = synthetic_interactions(users=15, items=12)
    graph = BipartiteGraph(pairs)
    view = graph.view()
    torch.testing.assert_close(view.to_sparse().to_dense().double(), dense(pairs), atol=1e-6, rtol=0)
    assert view.value is view.turned
    assert graph.num_nodes == 27


def test_mirror_finds_the_other_direction() -> None:
    pairs = synthetic_interactions(users=15, items=12)
    graph = BipartiteGraph(pairs)
    numbers = torch.arange(len(graph.value)).float() + 1
    marked, turned = (
        graph.view()._replace(value=values).to_sparse().to_dense() for values in (numbers, numbers[graph.mirror])
    )
    torch.testing.assert_close(turned, marked.T)


def test_nodes_without_interactions_have_empty_rows() -> None:
    pairs = Interactions(torch.tensor([1]), torch.tensor([2]), num_users=3, num_items=4)
    matrix = BipartiteGraph(pairs).view().to_sparse().to_dense()
    assert matrix.isfinite().all()
    assert matrix.count_nonzero() == 2
    assert matrix[1, 3 + 2] == 1


def test_mean_of_layers_on_a_path() -> None:
    # a - x - b - y: degrees 1, 2, 2, 1
    pairs = Interactions(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), num_users=2, num_items=2)
    table = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    edge = 2**-0.5
    found = propagate(table, BipartiteGraph(pairs).view(), 2)
    # layer 1 reaches x with 1/sqrt(2); layer 2 comes back to a with 1/2, and reaches b with 1/sqrt(2) * 1/2
    torch.testing.assert_close(found, torch.tensor([[1.5], [edge * 0.5], [edge], [0.0]]) / 3)


@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_gradient_is_that_of_the_dense_form(layers: int, drop: float) -> None:
    pairs = synthetic_interactions(users=9, items=8, each=4)
    view = BipartiteGraph(pairs).view(drop, torch.Generator().manual_seed(1))
    table = torch.randn(17, 5, generator=torch.Generator().manual_seed(2), requires_grad=True)
    matrix, power, total = view.to_sparse().to_dense(), table, table
    for _ in range(layers):
        power = matrix @ power
        total = total + power
    weight = torch.randn(17, 5, generator=torch.Generator().manual_seed(3))
    (wanted,) = torch.autograd.grad((total / (layers + 1) * weight).sum(), table)
    found = propagate(table, view, layers)
    torch.testing.assert_close(found, total / (layers + 1))
    torch.testing.assert_close(torch.autograd.grad((found * weight).sum(), table)[0], wanted)


def test_a_layer_is_that_of_pytorch_geometric() -> None:
    pairs = synthetic_interactions(users=25, items=12)
    x = torch.randn(37, 7, generator=torch.Generator().manual_seed(0))
    there = torch.stack([pairs.users, pairs.items + 25])
    wanted = LGConv()(x, torch.cat([there, there.flip(0)], dim=1))
    view = BipartiteGraph(pairs).view()
    torch.testing.assert_close(CompressedLGConv()(x, view), wanted)
    torch.testing.assert_close(LGConv(normalize=False)(x, view.to_sparse()), wanted)  # what other devices do


def test_views_have_the_graph_as_their_mean() -> None:
    pairs = synthetic_interactions(users=8, items=8, each=3)
    graph = BipartiteGraph(pairs)
    generator = torch.Generator().manual_seed(0)
    draws = 4000
    mean = sum(graph.view(0.6, generator).value for _ in range(draws)) / draws
    torch.testing.assert_close(mean, graph.value, atol=0.03, rtol=0)


def test_a_view_drops_directions_on_their_own_and_has_its_transpose() -> None:
    graph = BipartiteGraph(synthetic_interactions())
    view = graph.view(0.9, torch.Generator().manual_seed(5))
    matrix = view.to_sparse().to_dense()
    assert not torch.equal(matrix, matrix.T)
    torch.testing.assert_close(view.transposed().to_sparse().to_dense(), matrix.T)
    again = graph.view(0.9, torch.Generator().manual_seed(5))
    assert torch.equal(again.value, view.value)


def test_the_rate_differs_between_views() -> None:
    graph = BipartiteGraph(synthetic_interactions(users=200, items=50))
    generator = torch.Generator().manual_seed(0)
    shares = [float((graph.view(0.8, generator).value == 0).float().mean()) for _ in range(60)]
    assert min(shares) < 0.2
    assert 0.6 < max(shares) < 0.85


@pytest.mark.parametrize("drop", [-0.1, 1.0, 1.5, float("nan")])
def test_impossible_rates_are_refused(drop: float) -> None:
    with pytest.raises(InvalidInputError, match="drop must be"):
        BipartiteGraph(synthetic_interactions()).view(drop)


def test_negative_layers_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="layers must be at least 0, got -1"):
        propagate(torch.ones(100, 2), BipartiteGraph(synthetic_interactions()).view(), -1)
