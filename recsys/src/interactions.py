"""Who had to do with what: pairs of users and items, with labels, times and ratings where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse
import torch

from kgneg.core.cache import content_key
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import BoolTensor, FloatTensor, LongTensor
from kgneg.core.validation import validate_count
from kgneg.recsys._checks import (
    check_finite,
    check_ids,
    check_labels,
    check_multiplicity,
    find_ids,
    merge_order,
    same_length,
)
from kgneg.recsys.interaction_report import InteractionReport, summarise

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    from kgneg.recsys.splits import InteractionSplit

__all__ = ["Interactions"]


class Interactions:
    """Distinct pairs of users and items, sorted by user and then by item; nothing in it is ever changed.

    A pair that is given several times is kept once, with its latest time (its last place in the input if there are no
    times) and the rating that came with it; :attr:`duplicates` counts the others. Users and items without any pair are
    part of the tables if the sizes say so. All tensors are on the CPU.

    They are read from files with :meth:`read`, or made with :meth:`from_frame`, :meth:`from_scipy` and
    :meth:`from_triples`; the constructor takes ids.

    :param users: shape: ``(m,)``, integer ids in ``[0, num_users)``
    :param items: shape: ``(m,)``, integer ids in ``[0, num_items)``
    :param num_users: the number of users
    :param num_items: the number of items
    :param times: shape: ``(m,)``, when, in any unit, or ``None``
    :param ratings: shape: ``(m,)``, how much, or ``None``; pairs are pairs whatever their rating
    :param user_labels: what each user is called, ``num_users`` distinct strings, or ``None``: the ids
    :param item_labels: what each item is called, ``num_items`` distinct strings, or ``None``: the ids
    :param multiplicity: shape: ``(m,)``, how many rows of the source each given pair stands for, or ``None``: one
    :param report: what was dropped on the way here; the pairs kept and the duplicates are filled in
    :raises InvalidInputError: if lengths differ, an id is out of range, or a time or rating is not finite

    >>> pairs = Interactions(torch.tensor([1, 0, 1]), torch.tensor([2, 0, 2]), num_users=2, num_items=3)
    >>> pairs, pairs.duplicates
    (Interactions(users=2, items=3, pairs=2), 1)
    """

    def __init__(
        self,
        users: LongTensor,
        items: LongTensor,
        *,
        num_users: int,
        num_items: int,
        times: torch.Tensor | None = None,
        ratings: FloatTensor | None = None,
        user_labels: Sequence[str] | None = None,
        item_labels: Sequence[str] | None = None,
        multiplicity: LongTensor | None = None,
        report: InteractionReport | None = None,
    ) -> None:
        self.num_users = validate_count("num_users", num_users, 0)
        self.num_items = validate_count("num_items", num_items, 0)
        users = check_ids("user", users, self.num_users)
        items = check_ids("item", items, self.num_items)
        same_length(users=users, items=items, times=times, ratings=ratings, multiplicity=multiplicity)
        self.user_labels = check_labels("user", user_labels, self.num_users)
        self.item_labels = check_labels("item", item_labels, self.num_items)
        times = None if times is None else check_finite("time", times).double()
        ratings = None if ratings is None else check_finite("rating", ratings).float()
        rows = check_multiplicity(multiplicity, len(users))
        order, group = merge_order(users * self.num_items + items, times)
        #: shape: ``(m,)``, int64, ascending
        self.users = users[order]
        #: shape: ``(m,)``, int64, ascending for each user
        self.items = items[order]
        #: shape: ``(m,)``, float64, or ``None``
        self.times = None if times is None else times[order]
        #: shape: ``(m,)``, float32, or ``None``
        self.ratings = None if ratings is None else ratings[order]
        merged = torch.zeros_like(order).index_add_(0, group, rows)
        #: how many rows were given for each pair, shape: ``(m,)``, int64, or ``None`` if it is one for all
        self.multiplicity = merged if bool((merged > 1).any()) else None
        report = InteractionReport(rows=int(rows.sum())) if report is None else report
        #: what was read, kept and dropped
        self.report = replace(report, kept=len(self.users), duplicates=int(rows.sum()) - len(self.users))

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        format: str = "auto",
        user: str | int | None = None,
        item: str | int | None = None,
        rating: str | int | Literal[False] | None = None,
        time: str | int | Literal[False] | None = None,
        min_rating: float | None = None,
        separator: str | None = None,
        header: bool | None = None,
        like: Interactions | None = None,
        unknown: str = "drop",
        cache: bool = False,
    ) -> Interactions:
        """Read a file, gzipped or not. See :mod:`kgneg.recsys.readers` for the formats and the guesses.

        Users and items are numbered in the order of their labels: by number if all labels are integers.

        :param path: the file
        :param format: ``"table"`` (text or Parquet), ``"inter"`` (RecBole), ``"movielens"``, ``"adjacency"`` (lines of
            ``user item item ...``), ``"counted"`` (lines of ``count item item ...``, the user is the number of the
            line from 0), or ``"auto"``: by the name and the first lines
        :param user: the column of the user, a name or a position from 0; ``None``: guess
        :param item: the column of the item, likewise
        :param rating: the column of the rating, likewise; ``False``: read none
        :param time: the column of the time, likewise; ``False``: read none
        :param min_rating: leave out rows with a lower rating
        :param separator: what is between the fields of a table of text; ``None``: guess
        :param header: whether a table of text begins with the names of its columns; ``None``: guess
        :param like: take over the tables of these interactions, for example for a test file
        :param unknown: what becomes of users and items that ``like`` does not have: ``"drop"`` or ``"error"``
        :param cache: keep the result on disk for the next time, under the hash of the file and of these options
        :returns: the interactions; :attr:`report` counts what was dropped
        :raises InvalidInputError: if the file is missing, empty, damaged or not understood
        """
        from kgneg.recsys.readers import ReadOptions, read_interactions

        options = ReadOptions(format, user, item, rating, time, min_rating, separator, header, unknown)
        return read_interactions(path, options, like=like, cache=cache)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        user: str | int | None = None,
        item: str | int | None = None,
        rating: str | int | Literal[False] | None = None,
        time: str | int | Literal[False] | None = None,
        min_rating: float | None = None,
        like: Interactions | None = None,
        unknown: str = "drop",
    ) -> Interactions:
        """Take the rows of a pandas frame; the options are those of :meth:`read`. Dates become seconds since 1970.

        :param frame: one row per interaction
        :param user: the column of the user, a name or a position; ``None``: guess
        :param item: the column of the item, likewise
        :param rating: the column of the rating, likewise; ``False``: take none
        :param time: the column of the time, likewise; ``False``: take none
        :param min_rating: leave out rows with a lower rating
        :param like: take over the tables of these interactions
        :param unknown: what becomes of users and items that ``like`` does not have: ``"drop"`` or ``"error"``
        :returns: the interactions
        :raises InvalidInputError: if a column is missing, an id is null, or a rating or time is no number

        >>> import pandas as pd
        >>> Interactions.from_frame(pd.DataFrame({"userId": ["ann", "bob"], "movieId": [7, 7]})).item_labels
        ('7',)
        """
        from kgneg.recsys.sources import interactions_from_frame

        columns = {"user": user, "item": item, "rating": rating, "time": time}
        return interactions_from_frame(frame, columns, min_rating=min_rating, like=like, unknown=unknown)

    @classmethod
    def from_scipy(
        cls,
        matrix: Any,
        *,
        min_rating: float | None = None,
        user_labels: Sequence[str] | None = None,
        item_labels: Sequence[str] | None = None,
    ) -> Interactions:
        """Take the entries of a sparse matrix of users and items. Its values are ratings, unless all of them are 1.

        :param matrix: shape: ``(num_users, num_items)``, any sparse format; stored zeros are dropped and counted
        :param min_rating: leave out entries with a lower value
        :param user_labels: what each row is called
        :param item_labels: what each column is called
        :returns: the interactions, over all rows and columns
        :raises InvalidInputError: if the matrix is not sparse or a value is not finite

        >>> Interactions.from_scipy(scipy.sparse.csr_array([[0, 5], [4, 0]])).ratings.tolist()
        [5.0, 4.0]
        """
        from kgneg.recsys.sources import interactions_from_scipy

        return interactions_from_scipy(matrix, min_rating, user_labels, item_labels)

    @classmethod
    def from_triples(
        cls,
        triples: LongTensor | npt.NDArray[Any] | Sequence[Sequence[str]],
        relation: str | int | None = None,
        *,
        items: str = "tails",
        entities: Sequence[str] | None = None,
        relations: Sequence[str] | None = None,
        like: Interactions | None = None,
        unknown: str = "drop",
    ) -> Interactions:
        """View the triples of a knowledge graph as interactions: heads are users.

        :param triples: shape: ``(m, 3)``, ids, or labels as an array or as a list of triples
        :param relation: the relation whose triples are taken, an id or a label; ``None``: all
        :param items: what the items are: ``"tails"``, or ``"facts"``, pairs of a relation and a tail that are called
            ``relation: tail``
        :param entities: what the ids of entities are called
        :param relations: what the ids of relations are called
        :param like: take over the tables of these interactions
        :param unknown: what becomes of users and items that ``like`` does not have: ``"drop"`` or ``"error"``
        :returns: the interactions; only what occurs is in the tables
        :raises InvalidInputError: if the relation is not known or has no triple

        >>> triples = [("ann", "likes", "tea"), ("bob", "likes", "milk"), ("bob", "knows", "ann")]
        >>> Interactions.from_triples(triples, "likes").item_labels
        ('milk', 'tea')
        >>> Interactions.from_triples(triples, items="facts").item_labels
        ('knows: ann', 'likes: milk', 'likes: tea')
        """
        from kgneg.recsys.sources import interactions_from_triples

        labels = (entities, relations)
        return interactions_from_triples(triples, relation, items, labels, like=like, unknown=unknown)

    @classmethod
    def load(cls, path: str | Path) -> Interactions:
        """Read what :meth:`save` wrote.

        :param path: the file
        :returns: the interactions
        :raises InvalidInputError: if the file is missing, truncated or something else
        """
        from kgneg.recsys.interaction_files import load_interactions

        return load_interactions(path)

    def save(self, path: str | Path) -> None:
        """Write everything to a safetensors file, or, for other programs, the pairs to Parquet if ``path`` says so.

        Parquet has a row per pair with the columns ``user``, ``item``, ``rating``, ``time`` and ``count`` where there
        are any, and labels instead of ids. What is read back from it has only the users and items that occur, numbered
        in the order of their labels.

        :param path: the file; it is replaced in one step
        """
        from kgneg.recsys.interaction_files import save_interactions

        save_interactions(self, path)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.users)

    def __repr__(self) -> str:
        return f"Interactions(users={self.num_users}, items={self.num_items}, pairs={len(self)})"

    def __getstate__(self) -> dict[str, Any]:
        derived = {name for name in vars(self) if isinstance(getattr(type(self), name, None), cached_property)}
        return {name: value for name, value in vars(self).items() if name not in derived}

    @property
    def duplicates(self) -> int:
        """How many of the given rows were repetitions."""
        return self.report.duplicates

    @cached_property
    def indptr(self) -> LongTensor:
        """Where the pairs of each user begin and end, shape ``(num_users + 1,)``, int64."""
        return torch.searchsorted(self.users, torch.arange(self.num_users + 1))

    @cached_property
    def user_counts(self) -> LongTensor:
        """The number of items of each user, shape ``(num_users,)``, int64."""
        return torch.bincount(self.users, minlength=self.num_users)

    @cached_property
    def item_counts(self) -> LongTensor:
        """The number of users of each item, shape ``(num_items,)``, int64."""
        return torch.bincount(self.items, minlength=self.num_items)

    @cached_property
    def codes(self) -> LongTensor:
        """One number for each pair, ``user * num_items + item``, ascending, shape ``(m,)``, int64."""
        return self.users * self.num_items + self.items

    def contains(self, users: LongTensor, items: LongTensor) -> BoolTensor:
        """Return which pairs are there.

        :param users: shape: ``(*)``, ids of users
        :param items: shape: ``(*)``, ids of items; no pair has an id that is not in the tables
        :returns: shape: ``(*)``

        >>> pairs = Interactions(torch.tensor([1]), torch.tensor([0]), num_users=2, num_items=3)
        >>> pairs.contains(torch.tensor([1, 0]), torch.tensor([0, 3])).tolist()
        [True, False]
        """
        wanted = users * self.num_items + items
        if not len(self):
            return torch.zeros(wanted.shape, dtype=torch.bool)
        place = torch.searchsorted(self.codes, wanted).clamp_(max=len(self) - 1)
        there = (items >= 0) & (items < self.num_items)  # another item would have the number of another user's pair
        return there & (self.codes[place] == wanted)

    def of(self, users: LongTensor) -> tuple[LongTensor, LongTensor]:
        """Return the items of some users.

        :param users: shape: ``(b,)``, ids of users, in any order, also repeated
        :returns: two tensors of shape ``(t,)``: the position of the user in ``users``, ascending, and the item

        >>> pairs = Interactions(torch.tensor([0, 1, 1]), torch.tensor([5, 3, 4]), num_users=2, num_items=6)
        >>> [part.tolist() for part in pairs.of(torch.tensor([1, 0]))]
        [[0, 0, 1], [3, 4, 5]]
        """
        start, number = self.indptr[users], self.user_counts[users]
        rows = torch.repeat_interleave(torch.arange(len(users)), number)
        first = torch.repeat_interleave(start - (number.cumsum(0) - number), number)
        return rows, self.items[first + torch.arange(len(rows))]

    def select(self, kept: BoolTensor) -> Interactions:
        """Return some of the pairs, with the same tables of users and items.

        :param kept: shape: ``(m,)``, which pairs to keep
        :returns: those pairs
        """
        mask = torch.zeros(len(self), dtype=torch.bool)
        mask[kept] = True
        part = object.__new__(type(self))
        vars(part).update(self.__getstate__())
        for name in ("users", "items", "times", "ratings", "multiplicity"):
            column = getattr(self, name)
            setattr(part, name, None if column is None else column[mask])
        rows = len(part) if part.multiplicity is None else int(part.multiplicity.sum())
        part.multiplicity = part.multiplicity if rows > len(part) else None
        part.report = InteractionReport(rows=rows, kept=len(part), duplicates=rows - len(part))
        return part

    def at_least(
        self, users: int = 0, items: int = 0, *, once: bool = True, count: Literal["rows", "pairs"] = "pairs"
    ) -> Interactions:
        """Leave out users and items with too few pairs, and those that are then left without any.

        :param users: the number of pairs that a user needs
        :param items: the number of pairs that an item needs
        :param once: count once, before anything is left out; otherwise again and again until all have enough
        :param count: what is counted: distinct pairs, or the rows that they were read from, with repetitions
        :returns: what is left, over smaller tables with the same labels (ids become labels where there are none)
        :raises InvalidInputError: if nothing is left

        >>> pairs = Interactions(torch.tensor([0, 0, 1]), torch.tensor([0, 2, 2]), num_users=2, num_items=3)
        >>> few = pairs.at_least(users=2)
        >>> few, few.item_labels, few.report.filtered
        (Interactions(users=1, items=2, pairs=2), ('0', '2'), 1)
        """
        from kgneg.recsys.filters import filter_interactions

        return filter_interactions(self, users, items, once=once, count=count)

    def k_core(self, k: int) -> Interactions:
        """Leave out users and items until all have ``k`` distinct pairs.

        :param k: the number of pairs
        :returns: the k-core, see :meth:`at_least`
        """
        return self.at_least(k, k, once=False)

    def split(
        self,
        kind: str,
        *,
        seed: int = 0,
        beta: float | None = None,
        valid: float | None = None,
        test: float | None = None,
    ) -> InteractionSplit:
        """Split into training, validation and test pairs over the same tables. See :mod:`kgneg.recsys.splits`.

        :param kind: ``"random"``, ``"beta"``, ``"leave-one-out"`` or ``"temporal"``
        :param seed: the seed of what is drawn
        :param beta: for ``"beta"``: the share of the pairs of each user that is for training, by default 0.5
        :param valid: for ``"random"`` and ``"temporal"``: the share of validation pairs, by default 0.1
        :param test: for ``"random"`` and ``"temporal"``: the share of test pairs, by default 0.1
        :returns: the parts, with counts
        :raises InvalidInputError: if a part would be empty
        """
        from kgneg.recsys.splits import split_interactions

        return split_interactions(self, kind, seed=seed, beta=beta, valid=valid, test=test)

    def summary(self) -> str:
        """Return the figures, with what was dropped, as lines of text."""
        return summarise(self)

    def to_scipy(self) -> scipy.sparse.csr_array:
        """Return a matrix of ones, shape ``(num_users, num_items)``, float32."""
        ones = np.ones(len(self), dtype=np.float32)
        parts = (ones, self.items.numpy(), self.indptr.numpy())
        return scipy.sparse.csr_array(parts, shape=(self.num_users, self.num_items))

    def triples(self) -> LongTensor:
        """Return the pairs as triples for a corruptor, shape ``(m, 3)``, int64.

        Entities are the items, and every user is a relation: the triple is ``(0, user, item)``, and its tail is what
        is replaced. So whatever a corruptor draws is an item, and what it knows of entities, such as texts or types, is
        about items. See :mod:`kgneg.recsys.negatives`.
        """
        return torch.stack([torch.zeros_like(self.users), self.users, self.items], dim=-1)

    @cached_property
    def index(self) -> TripleIndex:
        """The pairs as known triples, for a corruptor, see :meth:`triples`."""
        return TripleIndex(self.triples(), num_entities=self.num_items, num_relations=self.num_users, keys="auto")

    def fingerprint(self) -> str:
        """Return a hash of the pairs, their times and ratings, and the labels; not of repetitions and the report."""
        parts = [self.users, self.items, *(one for one in (self.times, self.ratings) if one is not None)]
        facts = [self.num_users, self.num_items, self.times is None, self.ratings is None]
        return content_key(*parts, facts, self.user_labels, self.item_labels)

    def user_ids(self, labels: Sequence[str]) -> LongTensor:
        """Return the ids of users by their labels.

        :param labels: labels, or ids as text where users have no labels
        :returns: shape: ``(len(labels),)``, int64
        :raises InvalidInputError: if a label is not known
        """
        return find_ids("user", labels, self._user_table, self.num_users)

    def item_ids(self, labels: Sequence[str]) -> LongTensor:
        """Return the ids of items by their labels.

        :param labels: labels, or ids as text where items have no labels
        :returns: shape: ``(len(labels),)``, int64
        :raises InvalidInputError: if a label is not known
        """
        return find_ids("item", labels, self._item_table, self.num_items)

    @cached_property
    def _user_table(self) -> dict[str, int] | None:
        return None if self.user_labels is None else {label: id_ for id_, label in enumerate(self.user_labels)}

    @cached_property
    def _item_table(self) -> dict[str, int] | None:
        return None if self.item_labels is None else {label: id_ for id_, label in enumerate(self.item_labels)}
