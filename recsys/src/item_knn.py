"""The nearest neighbours of each item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import validate_count
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.item_weights import PairRecommender, validate_positive
from kgneg.recsys.ranking import rank_items
from kgneg.recsys.sparse import CsrMatrix, add_rows

__all__ = ["ItemKNN"]


class ItemKNN(PairRecommender):
    r"""The score of an item is the sum of its similarities with those items of the user that are among its neighbours.

    Similarity is the cosine over users, with a term that discounts what few users support:
    :math:`|U_i \cap U_j| / (\sqrt{|U_i| |U_j|} + s)`. Each item keeps the ``k`` most similar others. They are found
    block by block.

    Source: Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms, ACM TOIS 2004.

    :param k: how many neighbours an item has
    :param shrinkage: the term :math:`s`, in users; 0 is the plain cosine
    :raises InvalidInputError: if an option is out of range

    >>> train = Interactions(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 2]), num_users=2, num_items=3)
    >>> ItemKNN(k=1, shrinkage=0.0).fit(train).scores(torch.tensor([0]))
    tensor([[0.7071, 0.7071, 0.7071]])
    """

    name = "itemknn"
    citation = "Deshpande and Karypis, ACM TOIS 2004"
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "k": {"type": int, "low": 10, "high": 1000, "log": True},
        "shrinkage": {"type": float, "low": 0.0, "high": 100.0},
    }

    indptr: LongTensor
    columns: LongTensor
    values: FloatTensor

    def __init__(self, *, k: int = 100, shrinkage: float = 10.0) -> None:
        super().__init__(k=validate_count("k", k), shrinkage=validate_positive("shrinkage", shrinkage, zero=True))
        self.register_buffer("indptr", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("columns", torch.empty(0, dtype=torch.int64))
        self.register_buffer("values", torch.empty(0))

    def prepare(self, train: Interactions, generator: torch.Generator) -> None:
        """Store the interactions; no item has neighbours yet.

        :param train: what will be learnt from
        :param generator: not used: nothing is drawn
        """
        super().prepare(train, generator)
        self._set(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), torch.empty(0))

    def solve(self, train: Interactions) -> None:
        """Find the neighbours of all items.

        :param train: what is learnt from
        :raises InvalidInputError: if there is only one item
        """
        if train.num_items < 2:
            raise InvalidInputError(f"neighbours need at least 2 items, got {train.num_items}")
        there = train.item_counts.nonzero().squeeze(1)  # the others share no user with any item
        k = min(self.options["k"], train.num_items)
        found = [
            (block.users[:, None].expand_as(block.items)[kept], block.items[kept].cpu(), block.scores[kept].cpu())
            for block in rank_items(self._others, there, k, num_items=train.num_items)
            for kept in [(block.scores > 0).cpu()]
        ]
        self._set(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def similarities(self, items: LongTensor) -> FloatTensor:
        """Return the discounted cosines with all items, not only with neighbours.

        :param items: shape: ``(b,)``, ids of items
        :returns: shape: ``(b, num_items)``, a new tensor
        """
        items = items.to(self.device)
        with torch.no_grad():
            shared = self.two_hops(torch.arange(len(items), device=self.device), items, len(items), None)
            root = self.item_indptr.diff().sqrt()
            scale = root[items][:, None] * root + self.options["shrinkage"]
            return shared.div_(scale.clamp_(min=torch.finfo(scale.dtype).tiny))

    def score_histories(self, rows: LongTensor, items: LongTensor, number: int) -> FloatTensor:
        """Return the sums of similarities.

        :param rows: shape: ``(t,)``, which user of the block
        :param items: shape: ``(t,)``, the items of these users
        :param number: how many users there are
        :returns: shape: ``(number, num_items)``
        """
        out = self.values.new_zeros(number, self.seen.num_items)
        return add_rows(out, rows, items, CsrMatrix(self.indptr, self.columns, self.values))

    def _others(self, items: LongTensor) -> FloatTensor:
        """Return similarities, without those of an item with itself."""
        found = self.similarities(items)
        return found.scatter_(1, items[:, None].to(found.device), -torch.inf)

    def _set(self, items: LongTensor, neighbours: LongTensor, values: FloatTensor) -> None:
        """Store by neighbour what was found by item: a history gives the neighbours."""
        order = neighbours.argsort(stable=True)
        counts = torch.bincount(neighbours, minlength=self.seen.num_items)
        device = self.device
        self.indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).to(device)
        self.columns, self.values = items[order].to(device), values[order].to(device)
