"""Negatives from a taxonomy and from what names have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.draws import draw_below
from kgneg.core.errors import InvalidInputError
from kgneg.core.masks import flat_nonzero
from kgneg.core.modules import BufferModule
from kgneg.core.typing import BoolTensor, FloatTensor, IntTensor, LongTensor
from kgneg.samplers.mixture import MixtureCorruptor
from kgneg.samplers.neighbourhood import NeighbourhoodCorruptor
from kgneg.samplers.uniform import UniformCorruptor

__all__ = ["NearPositives", "TaxonomyCorruptor"]

#: The strategy that draws any entity.
RANDOM = "random"
#: how many draws are looked at before near positives are put up with
_ATTEMPTS = 16


class NearPositives(BufferModule):
    """Draws entities that do not mean nearly the same as the one that they replace, exactly.

    :param pairs: n x n, for each entity the ones that must not take its place; itself need not be among them

    >>> near = NearPositives(CandidateIndex.from_lists([[1], [], [], []], num_columns=4))
    >>> near.sample(torch.tensor([0]), 50, torch.Generator().manual_seed(0))[0].unique().tolist()
    [2, 3]
    """

    start: LongTensor
    free: LongTensor
    keys: LongTensor

    def __init__(self, pairs: CandidateIndex) -> None:
        super().__init__()
        self.num_entities = pairs.num_columns
        row, member = pairs.pairs()
        own = torch.arange(pairs.num_rows, device=row.device)
        whole = CandidateIndex.from_pairs(
            torch.cat([row, own]), torch.cat([member, own]), num_rows=pairs.num_rows, num_columns=pairs.num_columns
        )
        row, member = whole.pairs()
        # how many other entities there are before each of these, within its row
        before = member - (torch.arange(len(row), device=row.device) - whole.indptr[row])
        self.register_buffer("start", whole.indptr[:-1].clone())
        #: how many other entities there are for each
        self.register_buffer("free", self.num_entities - whole.indptr.diff())
        self.register_buffer("keys", row * self.num_entities + before)

    def sample(
        self, entities: LongTensor, n: int, generator: torch.Generator | None = None
    ) -> tuple[IntTensor, BoolTensor]:
        """Draw uniformly from all that are not near.

        :param entities: shape: ``(q,)``
        :param n: the number of draws for each
        :param generator: the source of randomness
        :returns: ids of shape ``(q, n)``, and whether they are real: not where everything is near
        """
        free = self.free.index_select(0, entities).unsqueeze(-1)
        place = draw_below(free, (len(entities), n), generator, entities.device, largest=self.num_entities)
        before = torch.searchsorted(self.keys, place + (entities * self.num_entities).unsqueeze(-1), right=True)
        ids = before.sub_(self.start.index_select(0, entities).unsqueeze(-1)).add_(place).int()
        return ids.clamp_(max=self.num_entities - 1), (free > 0).expand(ids.shape)


class _AnyOther(UniformCorruptor):
    """Any entity that is not near."""

    hits_are_certain = True

    def __init__(self, near: NearPositives | None, **options: Any) -> None:
        super().__init__(**options)
        self.near = near
        self.hits_are_others = near is not None

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:  # type: ignore[override]
        if self.near is None:
            return super().propose(queries, n, generator)
        return self.near.sample(queries.replaced, n, generator)


class TaxonomyCorruptor(MixtureCorruptor):
    """Replace a concept by relatives in a hierarchy, by similar names, by nearby vectors, and by any other, in shares.

    Each strategy is a list of neighbours for every entity, see :class:`kgneg.datasets.Taxonomy` (``siblings``,
    ``cousins``, ``shared_relation``) and :mod:`kgneg.samplers.neighbourhoods` (``edit_distance_pools``,
    ``embedding_pools``). With counts that sum to the number of negatives per positive, each gets exactly its count.

    A strategy that has nothing for a concept leaves its slots to a uniform draw, flagged as ``fallback``. Concepts that
    are likely to be right as well, ``near``, are drawn by neither, as long as there is any other that makes no known
    triple.

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
        sizes = {name: options.get(name) for name in ("num_entities", "num_relations")}
        if near is not None and (near.num_rows, near.num_columns) != (sizes["num_entities"],) * 2:
            raise InvalidInputError(
                f"near positives of {near.num_rows} x {near.num_columns} entities do not fit {sizes['num_entities']}"
            )
        others = None if near is None or not len(near.indices) else NearPositives(near)
        components: list[tuple[Corruptor, float]] = []
        for name, pools in strategies.items():
            if pools is None:
                if name != RANDOM:
                    raise InvalidInputError(f"the strategy {name!r} has no lists: only {RANDOM!r} needs none")
                components.append((_AnyOther(others, **sizes), given[name]))
                continue
            kept = pools if near is None else pools.without(near)
            try:
                components.append((NeighbourhoodCorruptor(kept, **sizes), given[name]))
            except InvalidInputError as error:
                raise InvalidInputError(f"strategy {name!r}: {error}") from error
        super().__init__(components, **options)
        #: the names of the strategies, in the order of :attr:`shares`
        self.names = tuple(strategies)
        self._near, self._others = near, others

    def _uniform(self, queries: Queries, generator: torch.Generator) -> tuple[LongTensor, LongTensor | None]:
        """Draw what is neither near nor known; where there is hardly any such entity, what is not known."""
        if self._others is None:
            return super()._uniform(queries, generator)
        ids, hit = self._others.sample(queries.replaced, 1, generator)
        drawn, side = ids.view(-1).long(), None
        if self.index is None and bool(hit.all()):
            return drawn, side
        left = flat_nonzero(~hit | self.forbidden(queries, ids))
        if len(left):
            ids, hit = self._others.sample(queries[left].replaced, _ATTEMPTS, generator)
            found, first = (hit & ~self.forbidden(queries[left], ids)).to(torch.uint8).max(dim=-1, keepdim=True)
            drawn[left] = ids.gather(-1, first).squeeze(-1).long()
            left = left[flat_nonzero(found.squeeze(-1) == 0)]
        if len(left):
            drawn[left], turned = super()._uniform(queries[left], generator)
            if turned is not None:
                side = queries.side.clone()
                side[left] = turned
        return drawn, side

    def probability(self, entities: LongTensor, ids: LongTensor) -> FloatTensor:
        """Return how likely a slot is to hold an entity, if known triples, which are never drawn, are not looked at.

        :param entities: shape: ``(q,)``, what is replaced
        :param ids: shape: ``(q, m)``, by what
        :returns: shape: ``(q, m)``, float64; the mean over the strategies, in their shares
        """
        anyone = self._others_probability(entities, ids)
        total = torch.zeros(ids.shape, dtype=torch.float64, device=ids.device)
        for number, (name, share) in enumerate(zip(self.names, self.shares, strict=True)):
            if name == RANDOM:
                total += share * anyone
                continue
            component = self._component(number)
            assert isinstance(component, NeighbourhoodCorruptor)  # noqa: S101
            empty = component.pools.size(entities)[:, None] == 0  # then any other is drawn
            total += share * torch.where(empty, anyone, component.pools.probability(entities, ids))
        return total

    def _others_probability(self, entities: LongTensor, ids: LongTensor) -> FloatTensor:
        if self._near is None or self._others is None:
            free = torch.full((len(entities), 1), self.num_entities - 1, device=ids.device)
            out = ids == entities[:, None]
        else:
            free = self._others.free[entities][:, None]
            out = (ids == entities[:, None]) | (self._near.to(ids.device).probability(entities, ids) > 0)
        return (1.0 / free.double().clamp(min=1)).expand(ids.shape).masked_fill(out, 0.0)

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
        device = component.pools.indptr.device
        pools = pools.to(device)
        component.refresh(pools if self._near is None else pools.without(self._near.to(device)))
