"""The graph of users and items: normalised once, thinned at random without being built anew."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch.nn import functional
from torch_geometric.nn import LGConv

from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import validate_count, validate_share
from kgneg.recsys.interactions import Interactions

__all__ = ["BipartiteGraph", "CompressedLGConv", "GraphView", "propagate"]


class GraphView(NamedTuple):
    """A square matrix, compressed by row, and its transpose, which has the same structure.

    :param crow: shape: ``(n + 1,)``, int64, where rows begin and end
    :param col: shape: ``(m,)``, int64, the columns of the entries
    :param value: shape: ``(m,)``, the entries
    :param turned: shape: ``(m,)``, the entries of the transpose
    """

    crow: LongTensor
    col: LongTensor
    value: FloatTensor
    turned: FloatTensor

    def transposed(self) -> GraphView:
        """Return the transpose."""
        return GraphView(self.crow, self.col, self.turned, self.value)

    def to_sparse(self) -> torch.Tensor:
        """Return the matrix as a sparse CSR tensor, without a check of what is in it."""
        size = (len(self.crow) - 1,) * 2
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(self.crow, self.col, self.value, size=size, check_invariants=False)


class CompressedLGConv(LGConv):  # type: ignore[misc]
    """The convolution of LightGCN for a matrix that is normalised and compressed by row already.

    On the CPU a row is a weighted bag of embeddings, whose kernel takes a fifth to a ninth of the time of a product
    with a sparse matrix; elsewhere it is that product.

    >>> pairs = Interactions(torch.tensor([0]), torch.tensor([0]), num_users=1, num_items=1)
    >>> CompressedLGConv()(torch.tensor([[1.0], [3.0]]), BipartiteGraph(pairs).view()).tolist()
    [[3.0], [1.0]]
    """

    def __init__(self) -> None:
        super().__init__(normalize=False)

    def forward(self, x: FloatTensor, view: GraphView) -> FloatTensor:
        """Return the product of the matrix and some vectors.

        :param x: shape: ``(n, d)``
        :param view: the matrix
        :returns: shape: ``(n, d)``, a new tensor
        """
        if x.device.type != "cpu":
            return super().forward(x, view.to_sparse())  # type: ignore[no-any-return]
        return functional.embedding_bag(
            view.col, x, view.crow, mode="sum", per_sample_weights=view.value.to(x.dtype), include_last_offset=True
        )


class BipartiteGraph(BufferModule):
    r"""The interactions as a symmetric matrix :math:`\hat A = D^{-1/2} A D^{-1/2}` over users and items.

    Nodes are the users, and after them the items; there are no self-loops, and nodes without interactions have empty
    rows. The matrix is normalised once and kept compressed by row. :meth:`view` thins it by new values on the old
    structure, so no sparse matrix is ever put together in training.

    Source: He et al., LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation, SIGIR 2020.

    :param interactions: the interactions

    >>> pairs = Interactions(torch.tensor([0, 0]), torch.tensor([0, 1]), num_users=1, num_items=2)
    >>> BipartiteGraph(pairs).view().to_sparse().to_dense()
    tensor([[0.0000, 0.7071, 0.7071],
            [0.7071, 0.0000, 0.0000],
            [0.7071, 0.0000, 0.0000]])
    """

    crow: LongTensor
    col: LongTensor
    value: FloatTensor
    mirror: LongTensor

    def __init__(self, interactions: Interactions) -> None:
        super().__init__()
        users, items = interactions.users, interactions.items
        self.num_users, self.num_items = interactions.num_users, interactions.num_items
        pairs = len(users)
        degree = torch.cat([interactions.user_counts, interactions.item_counts])
        value = (interactions.user_counts[users].double() * interactions.item_counts[items]).rsqrt().float()
        by_item = items.argsort(stable=True)
        place = torch.empty_like(by_item)  # where each pair, in the order of users, stands among the rows of items
        place[by_item] = torch.arange(pairs)
        self.register_buffer("crow", torch.cat([degree.new_zeros(1), degree.cumsum(0)]), persistent=False)
        self.register_buffer("col", torch.cat([items + self.num_users, users[by_item]]), persistent=False)
        self.register_buffer("value", torch.cat([value, value[by_item]]), persistent=False)
        #: the entry (j, i) for each entry (i, j)
        self.register_buffer("mirror", torch.cat([place + pairs, by_item]), persistent=False)

    @property
    def num_nodes(self) -> int:
        """The number of users and items together."""
        return self.num_users + self.num_items

    def view(self, drop: float = 0.0, generator: torch.Generator | None = None) -> GraphView:
        r"""Return the graph, with entries dropped at random if wished.

        One rate :math:`p \sim U(0, \mathrm{drop})` is drawn for the view; each entry is kept with probability
        :math:`1 - p` and divided by it, so that the mean over views is the graph. The two directions of a pair are
        dropped independently.

        :param drop: the largest rate, in ``[0, 1)``
        :param generator: the source of randomness, on the device of the graph
        :returns: the matrix and its transpose
        :raises InvalidInputError: if the rate is out of range
        """
        if not drop:
            return GraphView(self.crow, self.col, self.value, self.value)
        validate_drop(drop)
        device = self.value.device
        rate = torch.rand(1, generator=generator, device=device) * drop
        kept = torch.rand(self.value.shape, generator=generator, device=device) >= rate
        value = self.value * kept / (1 - rate)
        return GraphView(self.crow, self.col, value, value[self.mirror])


def validate_drop(drop: float) -> float:
    """Return the rate at which edges are dropped if it lies in ``[0, 1)``.

    :param drop: the rate
    :returns: the rate
    :raises InvalidInputError: if it does not
    """
    if validate_share("drop", drop) == 1.0:
        raise InvalidInputError("drop must be below 1, got 1.0: a view would be empty")
    return float(drop)


class _Propagation(torch.autograd.Function):
    """The mean over layers, whose gradient is the same sum with the transposed matrix."""

    @staticmethod
    def forward(ctx, table, view, layers, conv):  # type: ignore[no-untyped-def]
        ctx.view, ctx.layers, ctx.conv = view.transposed(), layers, conv
        return _mean_of_layers(table, view, layers, conv)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return _mean_of_layers(gradient.contiguous(), ctx.view, ctx.layers, ctx.conv), None, None, None


def _mean_of_layers(table: FloatTensor, view: GraphView, layers: int, conv: LGConv) -> FloatTensor:
    total = table
    for _ in range(layers):  # x + A (x + A (x + ...)) is the sum of all powers
        total = conv(total, view).add_(table)
    return total / (layers + 1) if total is table else total.div_(layers + 1)


def propagate(table: FloatTensor, view: GraphView, layers: int, conv: LGConv | None = None) -> FloatTensor:
    r"""Return :math:`\frac{1}{K+1} \sum_{k=0}^{K} \hat A^k E`, as LightGCN propagates.

    :param table: shape: ``(n, d)``, the embeddings :math:`E`
    :param view: the matrix :math:`\hat A`
    :param layers: the number of layers :math:`K`, at least 0
    :param conv: the convolution of a layer, called with vectors and a view; ``None`` makes one
    :returns: shape: ``(n, d)``, float32, or float64 if the table is
    :raises InvalidInputError: if the number of layers is negative

    >>> pairs = Interactions(torch.tensor([0]), torch.tensor([0]), num_users=1, num_items=1)
    >>> propagate(torch.tensor([[1.0], [3.0]]), BipartiteGraph(pairs).view(), 1).tolist()
    [[2.0], [2.0]]
    """
    validate_count("layers", layers, 0)
    conv = CompressedLGConv() if conv is None else conv
    with torch.autocast(table.device.type, enabled=False):  # sums over many neighbours stay in full precision
        return _Propagation.apply(table if table.dtype == torch.float64 else table.float(), view, layers, conv)  # type: ignore[no-any-return, no-untyped-call]
