"""Negatives from a taxonomy and from what names have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from kgneg.core.bits import KeyTable
from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import BoolTensor, IntTensor
from kgneg.samplers.mixture import MixtureCorruptor
from kgneg.samplers.neighbourhood import NeighbourhoodCorruptor
from kgneg.samplers.uniform import UniformCorruptor

__all__ = ["NearPositives", "TaxonomyCorruptor"]

#: The strategy that draws any entity.
RANDOM = "random"


class NearPositives(torch.nn.Module):
    """A constraint: an entity is not replaced by one that may well be right too.

    :param pairs: n x n, for each entity the ones that must not take its place
    """

    def __init__(self, pairs: CandidateIndex) -> None:
        super().__init__()
        self.number = pairs.num_columns
        row, member = pairs.pairs()
        self.table = KeyTable((row * self.number + member).cpu().numpy(), 0, pairs.num_rows * self.number)

    def __call__(self, queries: Queries, ids: IntTensor) -> BoolTensor:
        """Return which candidates are allowed.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``
        :returns: shape: ``(q, n)``
        """
        keys = queries.replaced[:, None] * self.number + ids
        return ~self.table.contains(keys.view(-1)).view(ids.shape)


class _AnyOther(UniformCorruptor):
    """Uniform proposals, without near positives."""

    hits_are_certain = True  # where eight draws are all near positives, there is little else

    def __init__(self, near: NearPositives | None, **options: Any) -> None:
        super().__init__(**options)
        self.near = near

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:  # type: ignore[override]
        ids, _ = super().propose(queries, n, generator)
        return ids, None if self.near is None else self.near(queries, ids.int())


class TaxonomyCorruptor(MixtureCorruptor):
    """Replace a concept by relatives in a hierarchy, by similar names, by nearby vectors, and by any other, in shares.

    Each strategy is a list of neighbours for every entity, see :class:`kgneg.datasets.Taxonomy` (``siblings``,
    ``cousins``, ``shared_relation``) and :mod:`kgneg.samplers.neighbourhoods` (``edit_distance_pools``,
    ``embedding_pools``). With counts that sum to the number of negatives per positive, each gets exactly its count.

    Concepts that are likely to be right as well, ``near``, are never drawn by any strategy. A strategy that has nothing
    for a concept leaves its slots to a uniform draw, flagged as ``fallback``.

    Source: Decorte et al., Design of Negative Sampling Strategies for Distantly Supervised Skill Extraction, RecSys in
    HR 2022; near positives, weights and refreshed neighbours are ours.

    :param strategies: name -> lists; the name ``"random"`` needs none and may be ``None``
    :param counts: name -> number or share of the negatives, positive; ``None`` shares them out evenly
    :param near: n x n, for each entity the ones that must not take its place
    :param options: the arguments of :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if there is no strategy, names differ, or lists do not fit the number of entities

    >>> siblings = CandidateIndex.from_lists([[1, 2], [0, 2], [0, 1], [], []], num_columns=5)
    >>> corruptor = TaxonomyCorruptor(
    ...     {"sibling": siblings, "random": None}, {"sibling": 2, "random": 1}, num_entities=5, num_relations=1, seed=0
    ... )
    >>> corruptor.names, corruptor.shares
    (('sibling', 'random'), (0.6666666666666666, 0.3333333333333333))
    """

    citation: ClassVar[str] = "Decorte et al., RecSys in HR 2022"

    def __init__(
        self,
        strategies: Mapping[str, CandidateIndex | None],
        counts: Mapping[str, float] | None = None,
        *,
        near: CandidateIndex | None = None,
        **options: Any,
    ) -> None:
        if not strategies:
            raise InvalidInputError("taxonomy needs at least one strategy, such as {'sibling': taxonomy.siblings()}")
        given = dict.fromkeys(strategies, 1.0) if counts is None else dict(counts)
        if set(given) != set(strategies):
            odd = sorted(set(given) ^ set(strategies))
            raise InvalidInputError(
                f"counts must be given for the strategies {', '.join(strategies)} and no others; see {odd[0]!r}"
            )
        sizes = {name: options[name] for name in ("num_entities", "num_relations")}
        if near is not None and (near.num_rows, near.num_columns) != (sizes["num_entities"],) * 2:
            raise InvalidInputError(
                f"near positives of {near.num_rows} x {near.num_columns} entities do not fit {sizes['num_entities']}"
            )
        rule = None if near is None or not len(near.indices) else NearPositives(near)
        components: list[tuple[Corruptor, float]] = []
        for name, pools in strategies.items():
            if pools is None:
                if name != RANDOM:
                    raise InvalidInputError(f"the strategy {name!r} has no lists: only {RANDOM!r} needs none")
                components.append((_AnyOther(rule, **sizes), given[name]))
                continue
            kept = pools if near is None else pools.without(near)
            try:
                components.append((NeighbourhoodCorruptor(kept, **sizes), given[name]))
            except InvalidInputError as error:
                raise InvalidInputError(f"strategy {name!r}: {error}") from error
        super().__init__(components, **options)
        #: the names of the strategies, in the order of :attr:`shares`
        self.names = tuple(strategies)
        self._near = near

    def refresh(self, name: str, pools: CandidateIndex) -> None:
        """Give a strategy other lists, such as the nearest neighbours by what a model has learnt so far.

        :param name: the strategy
        :param pools: n x n; near positives are taken out
        :raises InvalidInputError: if there is no such strategy, or the lists do not fit or are empty
        """
        if name not in self.names or name == RANDOM:
            raise InvalidInputError(f"no strategy {name!r} with lists; there are {', '.join(self.names)}")
        component = self._component(self.names.index(name))
        assert isinstance(component, NeighbourhoodCorruptor)  # noqa: S101
        component.refresh(pools if self._near is None else pools.without(self._near))
