"""From ids to vectors: a table, or a table that is propagated over the graph of users and items."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_count
from kgneg.recsys.graph import BipartiteGraph, CompressedLGConv, propagate, validate_drop
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.row_gradient import RowGradient

__all__ = ["ENCODERS", "IdEncoder", "NeighborEncoder", "NodeEncoder", "build_encoder"]

#: The names that :func:`build_encoder` knows.
ENCODERS = ("id", "neighbor")
_STARTS = ("xavier_uniform", "xavier_normal")


class NodeEncoder(nn.Module, ABC):
    """Vectors for users and items; the nodes are the users and after them the items.

    :param train: the interactions that give the sizes
    :param dim: the length of a vector
    :param generator: the source of the initial values, on the CPU
    :param start: how they are drawn, for users and for items on their own: ``"xavier_uniform"`` or ``"xavier_normal"``
    """

    #: Whether outputs cost work that averages need not repeat: encoding is then a linear map of the table, the same at
    #: every call, so that the outputs of an average of tables are the average of the outputs.
    average_outputs: bool

    def __init__(
        self, train: Interactions, *, dim: int, generator: torch.Generator, start: str = "xavier_uniform"
    ) -> None:
        super().__init__()
        self.num_users, self.num_items = train.num_users, train.num_items
        table = torch.empty(train.num_users + train.num_items, validate_count("dim", dim))
        draw = getattr(nn.init, f"{choose('start', start, _STARTS)}_")
        for part in torch.split_with_sizes(table, [train.num_users, train.num_items]):
            if len(part):
                draw(part, generator=generator)
        self.table = nn.Parameter(table)

    @abstractmethod
    def outputs(self, generator: torch.Generator | None = None) -> FloatTensor:
        """Return the vectors of all nodes.

        :param generator: the source of randomness in training; ``None`` encodes without
        :returns: shape: ``(num_users + num_items, dim)``
        """

    @abstractmethod
    def of_new_users(self, histories: Interactions) -> FloatTensor | None:
        """Return vectors of users that have no row in the table, without gradient.

        :param histories: the new users with their items
        :returns: shape: ``(histories.num_users, dim)``; ``None`` if the encoder cannot tell
        """

    def nodes(self, users: LongTensor, items: LongTensor) -> LongTensor:
        """Return the numbers of nodes, those of the users first.

        :param users: shape: ``(b,)``, ids of users
        :param items: shape: ``(c,)``, ids of items
        :returns: shape: ``(b + c,)``
        """
        return torch.cat([users, items + self.num_users])

    def split(self, outputs: FloatTensor) -> tuple[FloatTensor, FloatTensor]:
        """Return the vectors of the users and those of the items.

        :param outputs: shape: ``(num_users + num_items, d)``
        :returns: shapes: ``(num_users, d)`` and ``(num_items, d)``
        """
        users, items = torch.split_with_sizes(outputs, [self.num_users, self.num_items])
        return users, items

    def rows(self, outputs: FloatTensor, nodes: LongTensor) -> FloatTensor:
        """Return the vectors of some nodes.

        :param outputs: shape: ``(num_users + num_items, d)``, what :meth:`outputs` has returned
        :param nodes: shape: ``(*)``
        :returns: shape: ``(*, d)``
        """
        return functional.embedding(nodes, outputs)  # whose gradient is faster than that of indexing


class IdEncoder(NodeEncoder):
    """One vector for each user and item, looked up.

    >>> pairs = Interactions(torch.tensor([0]), torch.tensor([1]), num_users=2, num_items=3)
    >>> IdEncoder(pairs, dim=4, generator=torch.Generator().manual_seed(0)).outputs().shape
    torch.Size([5, 4])
    """

    average_outputs = False  # outputs cost nothing

    def __init__(
        self, train: Interactions, *, dim: int, generator: torch.Generator, start: str = "xavier_uniform"
    ) -> None:
        super().__init__(train, dim=dim, generator=generator, start=start)
        self._gradient = RowGradient()

    def outputs(self, generator: torch.Generator | None = None) -> FloatTensor:
        """Return the table.

        :param generator: not used
        :returns: shape: ``(num_users + num_items, dim)``
        """
        return self.table

    def rows(self, outputs: FloatTensor, nodes: LongTensor) -> FloatTensor:
        """Return the vectors of some nodes; on a CPU with a gradient that costs no more than these rows.

        :param outputs: shape: ``(num_users + num_items, d)``, what :meth:`outputs` has returned
        :param nodes: shape: ``(*)``
        :returns: shape: ``(*, d)``
        """
        if outputs is not self.table or not outputs.requires_grad or outputs.device.type != "cpu":
            return super().rows(outputs, nodes)  # on a GPU sums would depend on the order of threads
        return self._gradient.look_up(self.table, nodes)

    def of_new_users(self, histories: Interactions) -> None:
        """Return nothing: a table says nothing of who is not in it.

        :param histories: the new users with their items
        """


class NeighborEncoder(NodeEncoder):
    """The mean over the layers of LightGCN, on a graph that may be thinned at random at each call.

    Source: He et al., LightGCN, SIGIR 2020; the thinning: Lee et al., Bootstrapping User and Item Representations for
    One-Class Collaborative Filtering, SIGIR 2021.

    :param train: the interactions, which are the graph
    :param dim: the length of a vector
    :param generator: the source of the initial values, on the CPU
    :param start: how they are drawn
    :param layers: the number of layers
    :param drop: the largest share of edges that is dropped at a call in training, in ``[0, 1)``

    >>> pairs = Interactions(torch.tensor([0]), torch.tensor([1]), num_users=2, num_items=3)
    >>> NeighborEncoder(pairs, dim=4, generator=torch.Generator().manual_seed(0)).outputs().shape
    torch.Size([5, 4])
    """

    def __init__(
        self,
        train: Interactions,
        *,
        dim: int,
        generator: torch.Generator,
        start: str = "xavier_uniform",
        layers: int = 3,
        drop: float = 0.0,
    ) -> None:
        super().__init__(train, dim=dim, generator=generator, start=start)
        self.layers = validate_count("layers", layers)
        self.drop = validate_drop(drop)
        self.graph = BipartiteGraph(train)
        self.conv = CompressedLGConv()

    @property
    def average_outputs(self) -> bool:  # type: ignore[override]
        """Whether no edge is ever dropped."""
        return not self.drop

    def outputs(self, generator: torch.Generator | None = None) -> FloatTensor:
        """Return the propagated table.

        :param generator: the source of randomness for dropped edges, on the device of the table; ``None`` drops none
        :returns: shape: ``(num_users + num_items, dim)``
        """
        view = self.graph.view(0.0 if generator is None else self.drop, generator)
        return propagate(self.table, view, self.layers, self.conv)

    @torch.no_grad()
    def of_new_users(self, histories: Interactions) -> FloatTensor:
        """Return what the layers would give for new users whose own row of the table is zero.

        :param histories: the new users with their items
        :returns: shape: ``(histories.num_users, dim)``
        """
        below = propagate(self.table, self.graph.view(), self.layers - 1, self.conv) * self.layers
        degree = self.graph.crow.diff()[self.num_users :].clamp(min=1)
        device = self.table.device
        users, items = histories.users.to(device), histories.items.to(device)
        weight = (histories.user_counts.to(device)[users] * degree[items]).float().rsqrt()
        new = torch.zeros(histories.num_users, self.table.shape[1], device=device)
        new.index_add_(0, users, below[items + self.num_users] * weight[:, None])
        return new / (self.layers + 1)


def build_encoder(
    name: str,
    train: Interactions,
    *,
    dim: int,
    generator: torch.Generator,
    start: str = "xavier_uniform",
    layers: int = 3,
    drop: float = 0.0,
) -> NodeEncoder:
    """Make an encoder by name.

    :param name: ``"id"`` or ``"neighbor"``
    :param train: the interactions
    :param dim: the length of a vector
    :param generator: the source of the initial values, on the CPU
    :param start: how they are drawn
    :param layers: the number of layers; only for ``"neighbor"``
    :param drop: the largest share of dropped edges; only for ``"neighbor"``
    :returns: the encoder
    """
    if choose("encoder", name, ENCODERS) == "id":
        return IdEncoder(train, dim=dim, generator=generator, start=start)
    return NeighborEncoder(train, dim=dim, generator=generator, start=start, layers=layers, drop=drop)


def check_encoder(name: str, *, dim: int, layers: int = 3, drop: float = 0.0) -> None:
    """Refuse options that :func:`build_encoder` could not use, before there are any interactions.

    :param name: ``"id"`` or ``"neighbor"``
    :param dim: the length of a vector
    :param layers: the number of layers; only for ``"neighbor"``
    :param drop: the largest share of dropped edges; only for ``"neighbor"``
    :raises InvalidInputError: if a value is out of range, or would have no effect
    """
    validate_count("dim", dim)
    validate_count("layers", layers)
    validate_drop(drop)
    if choose("encoder", name, ENCODERS) == "id" and drop:
        raise InvalidInputError(f"drop={drop} would have no effect: the encoder 'id' has no graph; take 'neighbor'")
