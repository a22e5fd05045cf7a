"""What users with the same items have, in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.item_weights import PairRecommender

__all__ = ["TwoHop"]


class TwoHop(PairRecommender):
    r"""Users are weighed by the cosine of their items with those of the user, and their items are added up.

    The scores are :math:`\hat X (\hat X^\top R)` with the interactions :math:`R` and :math:`\hat X` the same with rows
    of length one. There is nothing to train or to tune. Neither users by users nor items by items is ever stored: a
    block of users is multiplied with :math:`R^\top` and :math:`R`.

    Source: user-based neighbours without a limit, Herlocker et al., An Algorithmic Framework for Performing
    Collaborative Filtering, SIGIR 1999; the filter of Shen et al., How Powerful is Graph Convolution for
    Recommendation?, CIKM 2021, is the same with items normalised as well.

    >>> train = Interactions(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 2]), num_users=2, num_items=3)
    >>> TwoHop().fit(train).scores(torch.tensor([0]))
    tensor([[1.7071, 0.0000, 0.7071]])
    """

    name = "two-hop"
    citation = "Herlocker et al., SIGIR 1999"
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __init__(self) -> None:
        super().__init__()

    def solve(self, train: Interactions) -> None:
        """Do nothing: the interactions are all that scores need.

        :param train: what is learnt from
        """

    def score_histories(self, rows: LongTensor, items: LongTensor, number: int) -> FloatTensor:
        """Return the sum over users, weighed by cosine.

        :param rows: shape: ``(t,)``, which user of the block
        :param items: shape: ``(t,)``, the items of these users
        :param number: how many users there are
        :returns: shape: ``(number, num_items)``
        """
        lengths = torch.bincount(rows, minlength=number).clamp(min=1).rsqrt()
        others = self.user_indptr.diff().clamp(min=1).rsqrt()
        return self.two_hops(rows, items, number, others).mul_(lengths[:, None])
