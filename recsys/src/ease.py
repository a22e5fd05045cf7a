"""A linear model of items from items, in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import scipy.sparse
import torch
import torch.nn.functional as F

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import validate_count
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.item_weights import HistoryRecommender, validate_positive

__all__ = ["EASE"]

#: The bytes that each pair of items takes while solving: two matrices of float64.
_BYTES = 16


class EASE(HistoryRecommender):
    r"""The score of an item is a weighted sum of the items of the user, and no item is explained by itself.

    With :math:`P = (R^\top R + \lambda I)^{-1}` the weights are :math:`B_{ij} = -P_{ij} / P_{jj}` and
    :math:`B_{ii} = 0`. The time grows with the third power of the number of items and the memory with the second. Items
    without interactions have weights of zero; they are left out of the matrix.

    Source: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.

    :param l2: the regularisation :math:`\lambda`, in users: how many more an item seems to have
    :param max_items: how many items with interactions there may be
    :raises InvalidInputError: if an option is out of range

    >>> train = Interactions(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]), num_users=2, num_items=3)
    >>> EASE(l2=2.0).fit(train).scores(torch.tensor([0]))
    tensor([[0.5000, 0.5000, 0.0000]])
    """

    name = "ease"
    citation = "Steck, WWW 2019"
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "l2": {"type": float, "low": 1.0, "high": 1e4, "log": True}
    }

    weights: FloatTensor
    places: LongTensor

    def __init__(self, *, l2: float = 250.0, max_items: int = 20_000) -> None:
        super().__init__(l2=validate_positive("l2", l2), max_items=validate_count("max_items", max_items))
        #: shape: ``(m, m)``, over the items with interactions
        self.register_buffer("weights", torch.empty(0, 0))
        #: shape: ``(num_items,)``, where each item is among them; -1: nowhere
        self.register_buffer("places", torch.empty(0, dtype=torch.int64))

    def prepare(self, train: Interactions, generator: torch.Generator) -> None:
        """Remember the interactions; no item has weights yet.

        :param train: what will be learnt from
        :param generator: not used: nothing is drawn
        """
        super().prepare(train, generator)
        self.weights = torch.empty(0, 0, device=self.device)
        self.places = torch.full((train.num_items,), -1, device=self.device)

    def solve(self, train: Interactions) -> None:
        """Invert the matrix of items.

        :param train: what is learnt from
        :raises InvalidInputError: if there are too many items
        """
        there = train.item_counts.nonzero().squeeze(1)
        number = len(there)
        if number > self.options["max_items"]:
            raise InvalidInputError(
                f"EASE on {number} items with interactions needs {_BYTES * number**2 / 2**30:.1f} GiB and time that "
                f"grows with the third power; max_items allows {self.options['max_items']}. Raise max_items if there "
                "is room, leave rare items out, or take ItemKNN or TwoHop."
            )
        pairs = train.to_scipy()[:, there.numpy()].astype("float64")
        gram = torch.from_numpy(scipy.sparse.csr_array(pairs.T @ pairs).toarray()).to(self.device)
        gram.diagonal().add_(self.options["l2"])
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram, out=gram), out=gram)
        inverse.div_(-inverse.diagonal().clone()).fill_diagonal_(0.0)
        self.weights = inverse.float().contiguous()  # LAPACK leaves it by column
        self.places = torch.full((train.num_items,), -1)
        self.places[there] = torch.arange(number)
        self.places = self.places.to(self.device)

    def score_histories(self, rows: LongTensor, items: LongTensor, number: int) -> FloatTensor:
        """Return the sums of weights.

        :param rows: shape: ``(t,)``, which user of the block, ascending
        :param items: shape: ``(t,)``, the items of these users
        :param number: how many users there are
        :returns: shape: ``(number, num_items)``
        """
        out = self.weights.new_zeros(number, len(self.places))
        places = self.places[items]
        rows, places = rows[places >= 0], places[places >= 0]
        if not len(places):
            return out
        starts = torch.searchsorted(rows, torch.arange(number, device=rows.device))
        out[:, self.places >= 0] = F.embedding_bag(places, self.weights, starts, mode="sum")
        return out
