"""Recommenders whose scores follow from the items of a user alone, by a formula."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from numbers import Real
from typing import Self

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.recommender import Recommender
from kgneg.recsys.sparse import CsrMatrix, PairMatrix, multiply

__all__ = ["HistoryRecommender", "PairRecommender"]

#: How many bytes the users (or items) that a block of users is compared with may take.
_MEMORY = 16 << 20


class HistoryRecommender(BufferModule, Recommender):
    """Base class: the scores of a user are a function of the items of the user, known or new.

    What two items have to do with each other is the score of one for a user who has nothing but the other. A subclass
    writes :meth:`solve` and :meth:`score_histories`. Nothing is drawn, and no validation split is needed.
    """

    def fit(self, train: Interactions, valid: Interactions | None = None, *, progress: bool | None = None) -> Self:
        """Solve for what the scores need.

        :param train: what is learnt from
        :param valid: not used: there is no training to stop
        :param progress: not used
        :returns: the recommender itself
        :raises InvalidInputError: if there is nothing to learn from
        """
        self.prepare(train, torch.Generator())
        with torch.no_grad():
            self.solve(train)
        return self

    def prepare(self, train: Interactions, generator: torch.Generator) -> None:
        """Remember the interactions, and keep the place of what is solved for.

        :param train: what will be learnt from
        :param generator: not used: nothing is drawn
        :raises InvalidInputError: if there is nothing to learn from
        """
        if not len(train):
            raise InvalidInputError(
                f"{type(self).__name__} cannot be fitted to no interactions: the training split is empty. Keep more of "
                "each user for training."
            )
        self._seen = train

    @abstractmethod
    def solve(self, train: Interactions) -> None:
        """Compute the buffers, without gradient.

        :param train: what is learnt from
        """

    @abstractmethod
    def score_histories(self, rows: LongTensor, items: LongTensor, number: int) -> FloatTensor:
        """Return the scores of all items, without gradient.

        :param rows: shape: ``(t,)``, to which user of the block each item belongs, ascending, on the device
        :param items: shape: ``(t,)``, the items of these users, on the device
        :param number: how many users there are
        :returns: shape: ``(number, num_items)``, a new tensor
        """

    def scores(self, users: LongTensor) -> FloatTensor:
        """Return the scores of all items for some users.

        :param users: shape: ``(b,)``, ids of users
        :returns: shape: ``(b, num_items)``, a new tensor
        """
        return self._on_device(*self.seen.of(users.cpu()), len(users))

    def scores_of_new(self, histories: Interactions) -> FloatTensor:
        """Return the scores of all items for users that were not there at training.

        :param histories: the new users with their items; the items are those of the training
        :returns: shape: ``(histories.num_users, num_items)``, a new tensor
        """
        return self._on_device(histories.users, histories.items, histories.num_users)

    def similarities(self, items: LongTensor) -> FloatTensor:
        """Return what a user who has only one of the items would be shown.

        :param items: shape: ``(b,)``, ids of items
        :returns: shape: ``(b, num_items)``, a new tensor
        """
        return self._on_device(torch.arange(len(items)), items, len(items))

    @torch.no_grad()
    def _on_device(self, rows: LongTensor, items: LongTensor, number: int) -> FloatTensor:
        return self.score_histories(rows.to(self.device), items.to(self.device), number)


class PairRecommender(HistoryRecommender):
    """Base class: scores go from the items of a user over the users who have them to the items that those have.

    The interactions are stored by user and by item and are made anew from :attr:`seen`, so they are not saved.
    """

    user_indptr: LongTensor
    user_items: LongTensor
    item_indptr: LongTensor
    item_users: LongTensor

    def prepare(self, train: Interactions, generator: torch.Generator) -> None:
        """Store the interactions by user and by item.

        :param train: what will be learnt from
        :param generator: not used: nothing is drawn
        """
        device = self.device
        super().prepare(train, generator)
        pairs = PairMatrix.build(train)
        parts = zip((("user_indptr", "user_items"), ("item_indptr", "item_users")), pairs, strict=True)
        for names, matrix in parts:
            for name, tensor in zip(names, matrix[:2], strict=True):
                self.register_buffer(name, tensor.to(device), persistent=False)

    def two_hops(
        self, rows: LongTensor, items: LongTensor, number: int, user_weights: FloatTensor | None
    ) -> FloatTensor:
        """Return the sum over all users of the number of shared items times the weight times their items.

        :param rows: shape: ``(t,)``, which of the ``number`` histories, ascending
        :param items: shape: ``(t,)``, the items of the histories
        :param number: how many histories there are
        :param user_weights: shape: ``(num_users,)``, or ``None``: ones
        :returns: shape: ``(number, num_items)``
        """
        of_users = CsrMatrix(self.user_indptr, self.user_items)
        of_items = CsrMatrix(self.item_indptr, self.item_users)
        size = max(1, _MEMORY // (4 * max(self.seen.num_users, 1)))
        starts = torch.tensor([*range(0, number, size), number], device=rows.device)
        bounds = torch.searchsorted(rows.contiguous(), starts).tolist()
        blocks = []
        for place, (low, high) in enumerate(pairwise(bounds)):
            length = min(size, number - place * size)
            shared = multiply(rows[low:high] - place * size, items[low:high], length, of_items, of_users)
            if user_weights is not None:
                shared *= user_weights
            targets, others = shared.nonzero(as_tuple=True)
            weights = shared[targets, others]
            blocks.append(multiply(targets, others, length, of_users, of_items, weights))
        if not blocks:
            return torch.empty(0, self.seen.num_items, device=rows.device)
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)


def validate_positive(name: str, value: float, *, zero: bool = False) -> float:
    """Return a number if it is finite and above zero.

    :param name: what the value is called in the message
    :param value: the value
    :param zero: whether it may be zero
    :returns: the value as a float
    :raises InvalidInputError: if it is not

    >>> validate_positive("l2", 2)
    2.0
    """
    right = isinstance(value, Real) and not isinstance(value, bool) and 0 <= value < float("inf") and (zero or value)
    if not right:
        raise InvalidInputError(f"{name} must be a number {'of at least' if zero else 'above'} 0, got {value!r}")
    return float(value)
