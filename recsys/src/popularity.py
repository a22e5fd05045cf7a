"""The same list for everyone: what most users have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_share
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.item_weights import HistoryRecommender

__all__ = ["Popularity"]

_SCOPES = ("all", "recent")


class Popularity(HistoryRecommender):
    r"""The floor for every other method: the score of an item is the number of its users.

    Where an item cannot beat this list, the model has learnt nothing about users.

    Source: Cremonesi et al., Performance of Recommender Algorithms on Top-N Recommendation Tasks, RecSys 2010 (TopPop);
    Ji et al., A Re-visit of the Popularity Baseline in Recommender Systems, SIGIR 2020 (recent).

    :param scope: ``"all"``: all interactions count; ``"recent"``: only the latest, which needs times
    :param share: the share of the interactions that ``"recent"`` counts; a tenth follows trends of months in data of
        years
    :raises InvalidInputError: if an option is out of range

    >>> train = Interactions(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 2]), num_users=2, num_items=3)
    >>> Popularity().fit(train).scores(torch.tensor([1])).tolist()
    [[2.0, 0.0, 1.0]]
    """

    name = "popularity"
    citation = "Cremonesi et al., RecSys 2010"
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    popularity: FloatTensor

    def __init__(self, *, scope: str = "all", share: float = 0.1) -> None:
        choose("scope", scope, _SCOPES)
        if not validate_share("share", share):
            raise InvalidInputError("share must be above 0, got 0: no interaction would count")
        super().__init__(scope=scope, share=share)
        self.register_buffer("popularity", torch.empty(0))

    def prepare(self, train: Interactions, generator: torch.Generator) -> None:
        """Remember the interactions; no item is popular yet.

        :param train: what will be learnt from
        :param generator: not used: nothing is drawn
        """
        super().prepare(train, generator)
        self.popularity = torch.zeros(train.num_items, device=self.device)

    def solve(self, train: Interactions) -> None:
        """Count the users of each item.

        :param train: what is learnt from
        :raises InvalidInputError: if recent interactions are asked for and there are no times
        """
        counts = train.item_counts
        if self.options["scope"] == "recent":
            if train.times is None:
                raise InvalidInputError("scope 'recent' needs times, and the interactions have none; take scope 'all'")
            number = max(1, round(self.options["share"] * len(train)))
            latest = train.times.argsort(descending=True, stable=True)[:number]
            counts = torch.bincount(train.items[latest], minlength=train.num_items)
        self.popularity = counts.float().to(self.device)

    def score_histories(self, rows: LongTensor, items: LongTensor, number: int) -> FloatTensor:
        """Return the same for everyone.

        :param rows: not used
        :param items: not used
        :param number: how many users there are
        :returns: shape: ``(number, num_items)``
        """
        return self.popularity.repeat(number, 1)
