"""Negatives for recommenders by name: the samplers of knowledge graphs at work on users and items."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from kgneg.core.corruption import Corruptor
from kgneg.core.encode import Encoder, encode_texts
from kgneg.core.errors import InvalidInputError
from kgneg.core.knn import validate_vectors
from kgneg.core.typing import FloatTensor
from kgneg.recommending.item_graph import ItemGraph, read_item_graph
from kgneg.recommending.item_pools import POOL_OPTIONS, draw_from_near
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.item_vectors import ItemVectors
from kgneg.recsys.negatives import corruptor_options
from kgneg.samplers import (
    DynamicCorruptor,
    MixtureCorruptor,
    PopularityCorruptor,
    UniformCorruptor,
    popularity_weights,
)

__all__ = ["NEGATIVES", "build_negatives"]

#: The names of all kinds of negatives, and the options of each.
NEGATIVES: Mapping[str, tuple[str, ...]] = {
    "uniform": (),
    "popularity": ("alpha", "smoothing"),
    "dynamic": ("pool", "temperature", "skip_top", "ceiling", "share", "pool_from", "pool_from_kwargs"),
    "text": POOL_OPTIONS,
    "graph": (*POOL_OPTIONS, "vector_dim", "hops"),
    "mixture": ("components_kwargs",),
}
#: A name, or the shares of several.
Name = str | Mapping[str, float] | Sequence[tuple[str, float]]


def build_negatives(
    name: Name,
    train: Interactions,
    *,
    vectors: FloatTensor | None = None,
    texts: Sequence[str | None] | Mapping[str, str] | None = None,
    encoder: str | Encoder | None = None,
    graph: ItemGraph | str | os.PathLike[str] | None = None,
    links: str | os.PathLike[str] | None = None,
    seed: int = 0,
    **options: Any,
) -> Corruptor:
    """Build what draws negative items for users; no item that a user has in ``train`` is ever drawn.

    ==============  =========================================================  =======================================
    name            draws                                                      options
    ==============  =========================================================  =======================================
    ``uniform``     any item
    ``popularity``  items in proportion to a power of their number of users    ``alpha``, ``smoothing``
    ``dynamic``     the items of a pool that the model scores highest          those of
                                                                               :class:`~kgneg.samplers.DynamicCorruptor`;
                                                                               ``pool_from``, a name from this table
                                                                               (``uniform``), and ``pool_from_kwargs``
    ``text``        items whose texts are like that of the positive item       those of
                                                                               :class:`~kgneg.samplers.LemonSettings`
    ``graph``       items with the neighbours of the positive item in a graph  the same, ``vector_dim`` and ``hops``
    ``mixture``     several of these in shares, as in                          ``components_kwargs``, options by name
                    ``"mixture:graph=0.3,uniform=0.7"``
    ==============  =========================================================  =======================================

    ``dynamic`` has to be given the model, see :func:`~kgneg.recsys.negatives.item_scorer`. For ``text`` and ``graph``
    the items that have vectors are clustered, into as many clusters as the root of their number, of which the three
    nearest make the pool of an item. For items without text, link or neighbours uniform items are drawn, which is
    flagged as ``fallback``, and counted in :attr:`~kgneg.core.corruption.Corruptor.counts`; how many items have no
    vector is logged. What a kind does not need, it does not look at.

    :param name: one of the above; or the shares of a mixture, as a mapping or as pairs
    :param train: the interactions
    :param vectors: for ``text``, shape: ``(num_items, d)``, vectors in place of texts; those of zeros are missing
    :param texts: for ``text``: one for each item, or by the label of the item; blank ones are missing
    :param encoder: turns texts into vectors, see :func:`~kgneg.core.encode.resolve_encoder`; ``None``: ``"auto"``
    :param graph: for ``graph``: an :class:`ItemGraph`, or a file of triples
    :param links: the file of links that goes with a file of triples, see :func:`read_item_graph`
    :param seed: the seed of clusters, vectors and draws
    :param options: the options of the kind
    :returns: the corruptor, for :func:`~kgneg.recsys.negatives.draw_negatives`
    :raises InvalidInputError: if a name or option is unknown, or what a kind needs is missing

    >>> train = Interactions(torch.tensor([0, 1]), torch.tensor([0, 2]), num_users=2, num_items=3)
    >>> build_negatives("mixture:popularity=1,uniform=3", train, alpha=0.5)
    Traceback (most recent call last):
    ...
    kgneg.core.errors.InvalidInputError: unknown option of the negatives 'mixture': alpha; known: components_kwargs
    >>> own = {"popularity": {"alpha": 0.5}}
    >>> build_negatives("mixture:popularity=1,uniform=3", train, components_kwargs=own).shares
    (0.25, 0.75)
    """
    material = _Material(train, vectors, texts, encoder, graph, links, seed)
    return _build(name, material, {**corruptor_options(train), "seed": seed}, options)


@dataclass(frozen=True)
class _Material:
    """What negatives are made of."""

    train: Interactions
    vectors: FloatTensor | None
    texts: Sequence[str | None] | Mapping[str, str] | None
    encoder: str | Encoder | None
    graph: ItemGraph | str | os.PathLike[str] | None
    links: str | os.PathLike[str] | None
    seed: int

    @cached_property
    def of_texts(self) -> ItemVectors:
        """The vectors of the texts."""
        number = self.train.num_items
        if self.vectors is not None:
            if self.texts is not None:
                raise InvalidInputError("both vectors and texts were given, and one would be ignored: give one of them")
            found = validate_vectors(self.vectors, number).cpu()
            return ItemVectors(found, found.any(dim=-1))
        if self.texts is None:
            raise InvalidInputError("negatives of the kind 'text' need texts=, one for each item, or vectors= of them")
        texts = _text_list(self.texts, self.train)
        known = torch.tensor([bool(text and text.strip()) for text in texts])
        if not bool(known.any()):
            raise InvalidInputError(f"none of {number} items has a text")
        encoded = encode_texts([text for text in texts if text and text.strip()], self.encoder or "auto")
        return ItemVectors(
            encoded.new_zeros(number, encoded.shape[1]).index_copy_(0, known.nonzero()[:, 0], encoded), known
        )

    @cached_property
    def item_graph(self) -> ItemGraph:
        """The graph."""
        if isinstance(self.graph, ItemGraph):
            if len(self.graph.item_entities) != self.train.num_items:
                raise InvalidInputError(
                    f"the graph links {len(self.graph.item_entities)} items, but there are {self.train.num_items}"
                )
            return self.graph
        if self.graph is None or self.links is None:
            raise InvalidInputError(
                "negatives of the kind 'graph' need graph=, a file of triples, with links=, a file of items and "
                "entities; or an ItemGraph"
            )
        return read_item_graph(self.graph, self.links, self.train)


def _text_list(texts: Sequence[str | None] | Mapping[str, str], train: Interactions) -> list[str | None]:
    """Return one text for each item, or ``None``."""
    if isinstance(texts, Mapping):
        labels = map(str, range(train.num_items)) if train.item_labels is None else train.item_labels
        return [texts.get(label) for label in labels]
    if isinstance(texts, str) or len(texts) != train.num_items:
        found = "a string" if isinstance(texts, str) else f"{len(texts)}"
        raise InvalidInputError(f"texts must be one for each of {train.num_items} items, or by label; got {found}")
    return list(texts)


def _build(name: Name, material: _Material, common: Mapping[str, Any], options: Mapping[str, Any]) -> Corruptor:
    """Build one kind of negatives."""
    shares: Name = name
    if isinstance(name, str):
        kind, colon, shares = name.partition(":")
        kind = kind.strip()
        if kind not in NEGATIVES or (colon and kind != "mixture"):
            raise InvalidInputError(f"unknown negatives {name!r}; known: {', '.join(NEGATIVES)}")
    else:
        kind = "mixture"
    unknown = [option for option in options if option not in NEGATIVES[kind]]
    if unknown:
        known = ", ".join(NEGATIVES[kind]) or "none"
        raise InvalidInputError(f"unknown option of the negatives {kind!r}: {', '.join(unknown)}; known: {known}")
    if kind == "mixture":
        return _mixture(shares, material, common, **options)
    return _MAKERS[kind](material, common, **options)


def _uniform(material: _Material, common: Mapping[str, Any]) -> Corruptor:
    return UniformCorruptor(**common)


def _popularity(
    material: _Material, common: Mapping[str, Any], *, alpha: float = 0.75, smoothing: float = 1.0
) -> Corruptor:
    weights = popularity_weights(material.train.item_counts, alpha=alpha, smoothing=smoothing)
    return PopularityCorruptor(weights, **common)


def _dynamic(
    material: _Material,
    common: Mapping[str, Any],
    *,
    pool_from: Name = "uniform",
    pool_from_kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Corruptor:
    if pool_from == "uniform" and not pool_from_kwargs:
        return DynamicCorruptor(**options, **common)
    if pool_from == "dynamic":
        raise InvalidInputError("pool_from='dynamic' would choose from what it chose itself; take another kind")
    source = _build(pool_from, material, common, pool_from_kwargs or {})
    return DynamicCorruptor(source=source, **options, **common)


def _text(material: _Material, common: Mapping[str, Any], **options: Any) -> Corruptor:
    return draw_from_near("text", material.of_texts, material.train, common, options)


def _graph(
    material: _Material, common: Mapping[str, Any], *, vector_dim: int = 64, hops: int = 1, **options: Any
) -> Corruptor:
    found = material.item_graph.vectors(dim=vector_dim, hops=hops, seed=material.seed)
    return draw_from_near("graph", found, material.train, common, options)


def _mixture(
    shares: Name,
    material: _Material,
    common: Mapping[str, Any],
    *,
    components_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
) -> Corruptor:
    parts = _shares(shares)
    kwargs = components_kwargs or {}
    names = [name for name, _ in parts]
    surplus = [name for name in kwargs if name not in names]
    if surplus:
        raise InvalidInputError(f"components_kwargs names {', '.join(surplus)}; the components are {', '.join(names)}")
    components = [(_build(name, material, common, kwargs.get(name, {})), share) for name, share in parts]
    return MixtureCorruptor(components, **common)


_MAKERS: Mapping[str, Callable[..., Corruptor]] = {
    "uniform": _uniform,
    "popularity": _popularity,
    "dynamic": _dynamic,
    "text": _text,
    "graph": _graph,
}


def _shares(shares: Name) -> list[tuple[str, float]]:
    """Return the names and shares of a mixture."""
    if isinstance(shares, str):
        parts: list[tuple[str, Any]] = [
            (part.partition("=")[0], part.partition("=")[2] or 1.0) for part in shares.split(",")
        ]
    else:
        parts = list(shares.items() if isinstance(shares, Mapping) else shares)
    found: dict[str, float] = {}
    for name, share in parts:
        kind = name.strip()
        if kind not in _MAKERS:
            raise InvalidInputError(
                f"{kind!r} is no component of a mixture; known: {', '.join(_MAKERS)}. "
                "Write 'mixture:graph=0.3,uniform=0.7'."
            )
        if kind in found:
            raise InvalidInputError(f"the component {kind} is named twice")
        try:
            found[kind] = float(share)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"the share of {kind} must be a number, got {share!r}") from error
    return list(found.items())
