"""The interactions of a command, wherever they come from, in three parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose, validate_count, validate_number
from kgneg.datasets import available, humanise, is_rdf, load
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.splits import KINDS, InteractionSplit, hold_out

__all__ = ["DataSettings", "RecData", "load_interactions"]

#: Settings that only files of interactions have.
_OF_FILES = ("format", "user", "item", "rating", "time", "separator", "header", "min_rating", "valid", "test")


@dataclass(frozen=True)
class DataSettings:
    """What is read, what is left out, and how it is split.

    :param data: a file of interactions in any format of :meth:`~kgneg.recsys.Interactions.read`; or a knowledge graph,
        whose heads are the users: a name of :func:`kgneg.datasets.available`, a folder or an RDF file
    :param relation: for a graph, the relation whose tails are the items; ``None``: the items are all pairs of a
        relation and a tail
    :param valid: a file of validation pairs, with ``test``
    :param test: a file of test pairs; ``data`` then has all others, and where time decides the split, the last of them
        are for validation
    :param format: of the files; ``"auto"`` guesses
    :param user: the column of the user, a name or a position; ``None`` guesses
    :param item: the column of the item, likewise
    :param rating: the column of the rating, likewise; ``False`` reads none
    :param time: the column of the time, likewise; ``False`` reads none
    :param separator: what is between the fields; ``None`` guesses
    :param header: whether the first line has names; ``None`` guesses
    :param min_rating: leave out rows with a lower rating
    :param min_user: leave out users with fewer pairs, once
    :param min_item: leave out items with fewer pairs, once
    :param k_core: after that, leave out users and items until all have so many pairs
    :param split: a kind of :mod:`kgneg.recsys.splits`
    :param beta: for the split ``"beta"``, the share of training pairs
    :param valid_share: for ``"random"`` and ``"temporal"``, the share of validation pairs
    :param test_share: for the same, the share of test pairs, if they have no file of their own
    :param split_seed: the seed of the split, where anything is drawn
    :raises InvalidInputError: if a value is out of range or would have no effect

    >>> DataSettings("likes.csv", k_core=5).split
    'beta'
    """

    data: str = "umls"
    relation: str | None = None
    valid: str | None = None
    test: str | None = None
    format: str = "auto"
    user: str | int | None = None
    item: str | int | None = None
    rating: str | int | bool | None = None
    time: str | int | bool | None = None
    separator: str | None = None
    header: bool | None = None
    min_rating: float | None = None
    min_user: int = 0
    min_item: int = 0
    k_core: int = 0
    split: str = "beta"
    beta: float | None = None
    valid_share: float | None = None
    test_share: float | None = None
    split_seed: int = 0

    def __post_init__(self) -> None:
        for name in ("min_user", "min_item", "k_core", "split_seed"):
            validate_count(name, getattr(self, name), 0)
        if self.min_rating is not None:
            validate_number("min_rating", self.min_rating, float("-inf"))
        choose("split", self.split, KINDS)
        for name in ("rating", "time"):
            if getattr(self, name) is True:
                raise InvalidInputError(f"{name} must be the name or the position of a column, or False, got True")
        if self.valid is not None and self.test is None:
            raise InvalidInputError("a file of validation pairs needs a file of test pairs as well: give test")
        if self.is_graph:
            self._check_graph()
        elif self.relation is not None:
            raise InvalidInputError(f"relation is for knowledge graphs, and {self.data} is a file of interactions")
        self._check_split()

    def _check_graph(self) -> None:
        useless = self._changed(_OF_FILES)
        if useless:
            raise InvalidInputError(
                f"{self.data!r} is a knowledge graph, for which {', '.join(useless)} would have no effect; write "
                f"./{self.data} for a file of that name"
            )

    def _check_split(self) -> None:
        """Refuse settings of the split that nothing would look at."""
        names: tuple[str, ...] = ()
        reason = ""
        if self.valid is not None:
            names = ("split", "beta", "valid_share", "test_share", "split_seed")
            reason = "validation and test pairs have files of their own"
        elif self.test is not None and self.test_share is not None:
            names, reason = ("test_share",), "the test pairs have a file of their own"
        elif self.split == "temporal":
            names, reason = ("split_seed",), "the temporal split draws nothing"
        useless = self._changed(names)
        if useless:
            raise InvalidInputError(f"{', '.join(useless)} would have no effect: {reason}")

    def _changed(self, names: tuple[str, ...]) -> list[str]:
        """Return which settings have another value than their default."""
        defaults = {one.name: one.default for one in fields(self)}
        return [name for name in names if getattr(self, name) != defaults[name]]

    @property
    def is_graph(self) -> bool:
        """Whether the data are those of a knowledge graph."""
        path = Path(self.data)
        return self.data in available() or path.is_dir() or (path.is_file() and is_rdf(path))

    @property
    def split_options(self) -> dict[str, Any]:
        """The options of the split, for :meth:`~kgneg.recsys.Interactions.split`."""
        return {"seed": self.split_seed, "beta": self.beta, "valid": self.valid_share, "test": self.test_share}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it, for the constructor."""
        return dict(vars(self))


@dataclass(frozen=True, eq=False)
class RecData:
    """Interactions in three parts.

    :param name: what they are called
    :param split: training, validation and test
    :param said: what was read and dropped, by part
    :param texts: texts of the items by label, where the source has any
    """

    name: str
    split: InteractionSplit
    said: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] | None = None

    def fingerprint(self) -> str:
        """Return a hash of the three parts."""
        return self.split.fingerprint()

    def to_dict(self) -> dict[str, Any]:
        """Return the name and all counts as JSON has them."""
        split = self.split
        return {
            "name": self.name,
            "users": split.train.num_users,
            "items": split.train.num_items,
            **{name: len(getattr(split, name)) for name in ("train", "valid", "test")},
            "split": {"kind": split.kind, **split.options},
            "counts": dict(split.counts),
            "read": dict(self.said),
            "fingerprint": self.fingerprint(),
        }


def load_interactions(settings: DataSettings) -> RecData:
    """Read, filter and split.

    :param settings: what to read, and how
    :returns: the three parts
    :raises InvalidInputError: if a file is missing or not understood, or a part would be empty

    >>> load_interactions(DataSettings("nations", split="random")).split.train
    Interactions(users=14, items=462, pairs=1594)
    """
    pairs, texts = _read_graph(settings) if settings.is_graph else (_read(settings, settings.data), None)
    said = {"data": str(pairs.report)}
    if settings.min_user or settings.min_item:
        pairs = pairs.at_least(settings.min_user, settings.min_item)
        said["filter"] = str(pairs.report)
    if settings.k_core:
        pairs = pairs.k_core(settings.k_core)
        said[f"{settings.k_core}-core"] = str(pairs.report)
    name = settings.data if settings.data in available() else Path(settings.data).name.partition(".")[0]
    if settings.relation is not None:
        name = f"{name}, {settings.relation}"
    if settings.test is None:
        return RecData(name, pairs.split(settings.split, **settings.split_options), said, texts)
    test = _read(settings, settings.test, pairs)
    said["test"] = str(test.report)
    if settings.valid is not None:
        valid = _read(settings, settings.valid, pairs)
        said["valid"] = str(valid.report)
        return RecData(name, InteractionSplit(pairs, valid, test), said)
    held, options = hold_out(
        pairs, settings.split, seed=settings.split_seed, beta=settings.beta, valid=settings.valid_share
    )
    options = {"validation": settings.split, **options}
    return RecData(name, InteractionSplit(pairs.select(~held), pairs.select(held), test, options=options), said)


def _read(settings: DataSettings, path: str, like: Interactions | None = None) -> Interactions:
    return Interactions.read(
        path,
        format=settings.format,
        user=settings.user,
        item=settings.item,
        rating=settings.rating,
        time=settings.time,
        separator=settings.separator,
        header=settings.header,
        min_rating=settings.min_rating,
        like=like,
    )


def _read_graph(settings: DataSettings) -> tuple[Interactions, dict[str, str]]:
    """Return all triples of a graph as pairs, and texts of the items."""
    graph = load(settings.data)
    triples = torch.cat([graph.train, graph.valid, graph.test])
    items = "facts" if settings.relation is None else "tails"
    pairs = Interactions.from_triples(
        triples, settings.relation, items=items, entities=graph.entities, relations=graph.relations
    )
    return pairs, {label: humanise(label) for label in pairs.item_labels or ()}
