"""What every recommender can do, whether it was trained or solved."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import nn

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.recsys._matching import check_tables
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.ranking import MEMORY, rank_items
from kgneg.recsys.recommendations import Recommendations

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Recommender"]

logger = logging.getLogger(__name__)


class Recommender(nn.Module, ABC):
    """Base class of all recommenders.

    A recommender is made from its options alone, and learns everything else in :meth:`fit`. Then it answers for users
    and items by id or, where the interactions have labels, by label. Scores are those that belong to what the model
    was trained for; only their order within a user has a meaning.

    A subclass writes :meth:`fit`, :meth:`prepare`, :meth:`scores`, :meth:`scores_of_new` and :meth:`similarities`.

    >>> from kgneg.recsys import Popularity
    >>> train = Interactions(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 2]), num_users=2, num_items=3)
    >>> Popularity().fit(train).recommend([0], 2).items.tolist()
    [[2, 1]]
    """

    #: How it is called in :func:`kgneg.recsys.build_recommender` and on the command line.
    name: ClassVar[str] = ""
    #: Where the method comes from.
    citation: ClassVar[str] = ""
    #: Search ranges for hyper-parameter studies, in PyKEEN's notation, of options of the constructor.
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__()
        #: the arguments of the constructor, nothing but what JSON can spell
        self.options = dict(options)
        self._seen: Interactions | None = None

    # What a method writes

    @abstractmethod
    def fit(self, train: Interactions, valid: Interactions | None = None, *, progress: bool | None = None) -> Self:
        """Learn from interactions.

        :param train: what is learnt from
        :param valid: what decides when to stop, for methods that need it
        :param progress: whether to show a progress bar, for methods that take long
        :returns: the recommender itself
        """

    @abstractmethod
    def prepare(self, train: Interactions, generator: torch.Generator) -> None:
        """Make all parameters and buffers in their initial state, and remember the interactions.

        :param train: what will be learnt from
        :param generator: the source of randomness, on the CPU
        """

    @abstractmethod
    def scores(self, users: LongTensor) -> FloatTensor:
        """Return the scores of all items for some users, without gradient.

        :param users: shape: ``(b,)``, ids of users
        :returns: shape: ``(b, num_items)``, a new tensor
        """

    @abstractmethod
    def scores_of_new(self, histories: Interactions) -> FloatTensor:
        """Return the scores of all items for users that were not there at training, without gradient.

        :param histories: the new users with their items; the items are those of the training
        :returns: shape: ``(histories.num_users, num_items)``, a new tensor
        """

    @abstractmethod
    def similarities(self, items: LongTensor) -> FloatTensor:
        """Return how similar all items are to some items, without gradient.

        :param items: shape: ``(b,)``, ids of items
        :returns: shape: ``(b, num_items)``, a new tensor
        """

    # What all have

    @property
    def fitted(self) -> bool:
        """Whether there is something to ask."""
        return self._seen is not None

    @property
    def seen(self) -> Interactions:
        """The interactions it was fitted to; raises :class:`~kgneg.core.errors.InvalidInputError` before that."""
        if self._seen is None:
            raise InvalidInputError(f"{type(self).__name__} is not fitted yet: call fit(train) first, or load it")
        return self._seen

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next((one.device for one in (*self.parameters(), *self.buffers())), torch.device("cpu"))

    def recommend(
        self,
        users: Sequence[int | str] | LongTensor | None = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        hide: Interactions | None = None,
        memory: int = MEMORY,
    ) -> Recommendations:
        """Return the best items for users.

        :param users: ids, which are integers, or labels, which are strings, also where they look like numbers;
            ``None``: all users
        :param k: how many items
        :param exclude_seen: leave out what the user had in training
        :param hide: more interactions to leave out
        :param memory: bytes that the scores of a block of users may take
        :returns: the items, best first, and their scores
        :raises InvalidInputError: if a user is not known, ``k`` exceeds the number of items, or nothing is fitted yet
        """
        seen = self.seen
        ids = torch.arange(seen.num_users) if users is None else _ids(seen, "user", users)
        if hide is not None:
            check_tables(seen, hide, "hide")
        hidden = [*([seen] if exclude_seen else []), *([] if hide is None else [hide])]
        strangers = ids[seen.user_counts[ids] == 0]
        if len(strangers):
            logger.warning(
                "%d of %d users have no item in training, so there is nothing to go by and their lists mean nothing, "
                "for example that of %s",
                len(strangers),
                len(ids),
                _name(seen, int(strangers[0])),
            )
        blocks = rank_items(self.scores, ids, k, num_items=seen.num_items, hide=hidden, memory=memory)
        return Recommendations.collect(blocks, k, seen.user_labels, seen.item_labels)

    def fold_in(
        self,
        histories: Interactions | Iterable[Sequence[int | str]],
        k: int = 10,
        *,
        exclude_seen: bool = True,
        memory: int = MEMORY,
    ) -> Recommendations:
        """Return the best items for new users, without training.

        :param histories: the items of each new user, by id or label; or interactions with the items of the training
        :param k: how many items
        :param exclude_seen: leave out the items of the history
        :param memory: bytes that the scores of a block of users may take
        :returns: the items, best first, and their scores; users are numbered in the order of the histories
        :raises InvalidInputError: if an item is not known, or a new user has no items
        """
        seen = self.seen
        new = histories if isinstance(histories, Interactions) else _histories(seen, histories)
        check_tables(seen, new, "the histories", users=False)
        if bool((new.user_counts == 0).any()):
            who = int((new.user_counts == 0).nonzero()[0])
            raise InvalidInputError(f"the new user {who} has no items: there is nothing to go by; take Popularity")

        def score(users: LongTensor) -> FloatTensor:
            rows, items = new.of(users)
            return self.scores_of_new(Interactions(rows, items, num_users=len(users), num_items=new.num_items))

        hidden = [new] if exclude_seen else []
        blocks = rank_items(score, torch.arange(new.num_users), k, num_items=seen.num_items, hide=hidden, memory=memory)
        return Recommendations.collect(blocks, k, new.user_labels, seen.item_labels)

    def similar_items(
        self, items: Sequence[int | str] | LongTensor, k: int = 10, *, memory: int = MEMORY
    ) -> Recommendations:
        """Return the items that are most like some items; an item is not in its own list.

        :param items: ids or labels
        :param k: how many
        :param memory: bytes that the scores of a block of items may take
        :returns: the items, best first, and their similarities; ``users`` are the items that were asked for
        :raises InvalidInputError: if an item is not known, or ``k`` exceeds the number of items
        """
        seen = self.seen
        ids = _ids(seen, "item", items)

        def score(block: LongTensor) -> FloatTensor:
            found = self.similarities(block)
            return found.scatter_(1, block[:, None].to(found.device), -torch.inf)

        blocks = rank_items(score, ids, k, num_items=seen.num_items, memory=memory)
        return Recommendations.collect(blocks, k, seen.item_labels, seen.item_labels)

    def save(self, folder: str | Path) -> None:
        """Write the model to a folder: ``model.json``, ``model.safetensors`` and the interactions it was fitted to.

        :param folder: the folder; it is created
        """
        from kgneg.recsys.files import save_recommender

        save_recommender(self, folder)

    @staticmethod
    def load(folder: str | Path) -> Recommender:
        """Read a model that was written with :meth:`save`.

        :param folder: the folder
        :returns: the model, on the CPU
        """
        from kgneg.recsys.files import load_recommender

        return load_recommender(folder)

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over the state of a model with the same options and interactions, after :meth:`prepare`.

        :param tensors: the state, as :meth:`state_dict` gives it
        """
        self.load_state_dict(dict(tensors))


def _name(seen: Interactions, user: int) -> str:
    return str(user) if seen.user_labels is None else repr(seen.user_labels[user])


def _ids(seen: Interactions, kind: str, given: Sequence[int | str] | LongTensor) -> LongTensor:
    """Return ids that are in range."""
    limit = seen.num_users if kind == "user" else seen.num_items
    if isinstance(given, str | Integral):
        given = [given]
    if not isinstance(given, torch.Tensor):
        given = list(given)
        if given and all(isinstance(one, str) for one in given):
            find = seen.user_ids if kind == "user" else seen.item_ids
            return find([str(one) for one in given])
        for one in given:
            if isinstance(one, bool) or not isinstance(one, Integral):
                raise InvalidInputError(
                    f"{kind}s are given by ids, which are integers, or all of them by labels, which are strings; got "
                    f"{one!r} of type {type(one).__name__}"
                )
        given = torch.tensor([int(one) for one in given], dtype=torch.int64)
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise InvalidInputError(f"{kind} ids must be integers, got a tensor of {given.dtype}")
    ids = given.detach().cpu().long().reshape(-1)
    wrong = (ids < 0) | (ids >= limit)
    if bool(wrong.any()):
        raise InvalidInputError(f"{kind} id {int(ids[wrong][0])} is out of range: ids must be in [0, {limit})")
    return ids


def _histories(seen: Interactions, histories: Iterable[Sequence[int | str]]) -> Interactions:
    lists = [_ids(seen, "item", one) for one in histories]
    rows = torch.repeat_interleave(
        torch.arange(len(lists)), torch.tensor([len(one) for one in lists], dtype=torch.int64)
    )
    items = torch.cat(lists) if lists else torch.empty(0, dtype=torch.int64)
    return Interactions(rows, items, num_users=len(lists), num_items=seen.num_items)
