"""The training procedure of the authors of BUIR, restated from its description, to be timed beside ours.

Pairs are dictionaries that a DataLoader collates. Both encoders propagate over the whole graph in every batch, each on
a sparse matrix that is put together anew without its dropped entries. Rows are looked up by indexing tables, Adam is
that of PyTorch's default, and the target is replaced by newly allocated tables.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from kgneg.recsys import Interactions

__all__ = ["AuthorsBUIR", "authors_epochs"]


class Pairs(torch.utils.data.Dataset[dict[str, int]]):
    """The pairs, a dictionary each."""

    def __init__(self, train: Interactions) -> None:
        self.pairs = list(zip(train.users.tolist(), train.items.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, place: int) -> dict[str, int]:
        user, item = self.pairs[place]
        return {"user": user, "item": item}


class Side(nn.Module):
    """An encoder: two tables, and a graph if there are layers."""

    def __init__(self, train: Interactions, dim: int, layers: int, drop: float) -> None:
        super().__init__()
        self.users = nn.Parameter(nn.init.xavier_uniform_(torch.empty(train.num_users, dim)))
        self.items = nn.Parameter(nn.init.xavier_uniform_(torch.empty(train.num_items, dim)))
        self.layers, self.drop = layers, drop
        if layers:
            self.graph = adjacency(train)

    def thinned(self) -> torch.Tensor:
        """Return the graph without some of its entries, as a new matrix."""
        if not self.drop:
            return self.graph
        indices, values = self.graph._indices(), self.graph._values()
        rate = float(torch.rand(1)) * self.drop
        kept = torch.rand(len(values)) >= rate
        new = values[kept] / (1 - rate)
        return torch.sparse_coo_tensor(indices[:, kept], new, self.graph.shape, check_invariants=False)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.layers:
            return self.users[users], self.items[items]
        graph = self.thinned()
        vectors = torch.cat([self.users, self.items])
        found = [vectors]
        for _ in range(self.layers):
            vectors = torch.sparse.mm(graph, vectors)
            found.append(vectors)
        mean = torch.stack(found, dim=1).mean(dim=1)
        of_users, of_items = mean.split([len(self.users), len(self.items)])
        return of_users[users], of_items[items]


class AuthorsBUIR(nn.Module):
    """Online and target encoder, and the predictor.

    :param train: the pairs
    :param dim: the length of a vector
    :param layers: of the graph; 0: none
    :param drop: the largest share of dropped entries
    :param momentum: of the target, per step
    """

    def __init__(self, train: Interactions, *, dim: int, layers: int, drop: float, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.online, self.target = (Side(train, dim, layers, drop) for _ in range(2))
        self.predictor = nn.Linear(dim, dim)
        for ours, theirs in zip(self.online.parameters(), self.target.parameters(), strict=True):
            theirs.data.copy_(ours.data)
            theirs.requires_grad = False

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        of_users, of_items = self.online(users, items)
        with torch.no_grad():
            wanted_users, wanted_items = self.target(users, items)
        halves = []
        for own, other in ((of_users, wanted_items), (of_items, wanted_users)):
            predicted = functional.normalize(self.predictor(own), dim=-1)
            halves.append(2 - 2 * (predicted * functional.normalize(other, dim=-1)).sum(dim=-1))
        return (halves[0] + halves[1]).mean()

    def follow(self) -> None:
        """Move the target."""
        for ours, theirs in zip(self.online.parameters(), self.target.parameters(), strict=True):
            theirs.data = theirs.data * self.momentum + ours.data * (1.0 - self.momentum)


def adjacency(train: Interactions) -> torch.Tensor:
    """Return the normalised matrix with its entries in the order of the pairs, not coalesced."""
    users, items = train.users, train.items + train.num_users
    value = (train.user_counts[train.users].double() * train.item_counts[train.items]).rsqrt().float()
    indices = torch.stack([torch.cat([users, items]), torch.cat([items, users])])
    number = train.num_users + train.num_items
    return torch.sparse_coo_tensor(indices, torch.cat([value, value]), (number, number), check_invariants=False)


def authors_epochs(
    train: Interactions, *, batch_size: int, lr: float, weight_decay: float, seed: int = 0, **options: Any
) -> Iterator[tuple[float, float]]:
    """Train for ever, and yield the CPU seconds and the loss of each epoch."""
    torch.manual_seed(seed)
    model = AuthorsBUIR(train, **options)
    loader = torch.utils.data.DataLoader(Pairs(train), batch_size=batch_size, shuffle=True)
    wanted = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.Adam(wanted, lr=lr, weight_decay=weight_decay)
    while True:
        begin, total = time.process_time(), 0.0
        for batch in loader:
            loss = model(batch["user"], batch["item"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            model.follow()
            total += loss.item() * len(batch["user"])
        yield time.process_time() - begin, total / len(train)
