"""Several methods in fixed shares."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, cast

import torch
from torch import nn

from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.masks import flat_nonzero

__all__ = ["MixtureCorruptor"]


class MixtureCorruptor(Corruptor):
    """Give each method its share of the negatives of every positive.

    The slots at each end of a positive are dealt out in order of the components; a slot that lies on a border goes to
    either neighbour at random. So every method gets exactly its share on average, and at an end with several slots it
    never differs from it by a whole slot. A proposal that is rejected is replaced by another one of the same component;
    sides, removal of known triples and fall-back are those of the mixture.

    :param components: pairs of a corruptor and its positive weight; weights are scaled to sum to one
    :param options: the arguments of :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if there is no component, a weight is not positive, or sizes differ

    >>> from kgneg.samplers.uniform import UniformCorruptor
    >>> sizes = {"num_entities": 9, "num_relations": 1}
    >>> components = [(UniformCorruptor(**sizes), 3.0), (UniformCorruptor(**sizes), 1.0)]
    >>> mixture = MixtureCorruptor(components, seed=0, **sizes)
    >>> mixture.shares
    (0.75, 0.25)
    """

    citation: ClassVar[str] = "kgneg"

    def __init__(self, components: Sequence[tuple[Corruptor, float]], **options: Any) -> None:
        super().__init__(**options)
        if not components:
            raise InvalidInputError("a mixture needs at least one component")
        for corruptor, weight in components:
            if not (isinstance(weight, Real) and 0 < weight < float("inf")):
                raise InvalidInputError(f"weights must be positive and finite, got {weight!r}; leave the component out")
            if (corruptor.num_entities, corruptor.num_relations) != (self.num_entities, self.num_relations):
                raise InvalidInputError(
                    f"a component for {corruptor.num_entities} entities and {corruptor.num_relations} relations does "
                    f"not fit a mixture for {self.num_entities} and {self.num_relations}"
                )
        self.components = nn.ModuleList(corruptor for corruptor, _ in components)
        total = sum(weight for _, weight in components)
        self.shares = tuple(weight / total for _, weight in components)
        # a mixture within a mixture asks another of its components the next time
        self.hits_are_certain = all(
            corruptor.hits_are_certain and not isinstance(corruptor, MixtureCorruptor) for corruptor, _ in components
        )
        if any(corruptor.retreat is not None for corruptor, _ in components):
            self.retreat = self.propose  # says that there is one; whose it is, _propose_again knows
        self.retreat_is_fallback = any(corruptor.retreat_is_fallback for corruptor, _ in components)

    @property
    def hits_are_others(self) -> bool:  # type: ignore[override]
        """Whether that holds for all components."""
        return all(self._component(number).hits_are_others for number in range(len(self.components)))

    def _advance(self, slots: float) -> None:
        super()._advance(slots)
        for number, share in enumerate(self.shares):
            self._component(number)._advance(share * slots)

    def _component(self, number: int) -> Corruptor:
        return cast("Corruptor", self.components[number])

    def _borders(self, n: int) -> list[float]:
        """Return where the part of each component ends within ``n`` slots, free of rounding noise."""
        ends, end = [], 0.0
        for share in self.shares:
            end += share * n
            ends.append(float(round(end)) if abs(end - round(end)) < 1e-9 else end)
        ends[-1] = float(n)
        return ends

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Propose what the components propose, in their shares.

        :param queries: the pairs that need replacements
        :param n: the number of proposals per query
        :param generator: the source of randomness
        :returns: ids and hits of shape ``(q, n)``
        """
        return self._propose_signed(queries, n, generator)[0]

    def _propose_signed(
        self, queries: Queries, n: int, generator: torch.Generator
    ) -> tuple[Proposals, torch.Tensor | None]:
        if len(self.components) == 1:
            return self._component(0).propose(queries, n, generator), None
        borders = self._borders(n)
        if all(end == int(end) for end in borders):
            return self._whole(queries, [int(end) for end in borders], generator)
        return self._dealt(queries, n, borders, generator)

    def _dealt(
        self, queries: Queries, n: int, borders: list[float], generator: torch.Generator
    ) -> tuple[Proposals, torch.Tensor]:
        """Propose where some slots lie on a border, and go to either neighbour at random."""
        device = queries.kept.device
        ids = torch.zeros((len(queries), n), dtype=torch.int32, device=device)
        hits = torch.ones((len(queries), n), dtype=torch.bool, device=device)
        authors = torch.zeros((len(queries), n), dtype=torch.int16, device=device)
        shared: dict[int, list[tuple[int, float]]] = {}
        begin = 0.0
        for number, end in enumerate(borders):
            first, last = -int(-begin // 1), int(end)  # whole slots, from the ceiling to the floor
            if first < last:
                part, hit = self._component(number).propose(queries, last - first, generator)
                ids[:, first:last] = part
                authors[:, first:last] = number
                if hit is not None:
                    hits[:, first:last] = hit
            for slot in {int(begin), last} - set(range(first, last)):
                overlap = min(end, slot + 1.0) - max(begin, float(slot))
                if overlap > 0:
                    shared.setdefault(slot, []).append((number, overlap))
            begin = end
        # one number per row for all of its shared slots: no method gets more, or less, than its share by a whole slot
        draw = torch.rand(len(queries) if shared else 0, generator=generator, device=device, dtype=torch.float64)
        for slot, owners in shared.items():
            end = 0.0
            for position, (number, overlap) in enumerate(owners):
                begin, end = end, end + overlap
                last_owner = position + 1 == len(owners)
                authors[(draw >= begin) & ((draw < end) | last_owner), slot] = number
            part, hit = self._propose_again(queries, 1, authors[:, slot], generator, retreat=False)
            ids[:, slot] = part.squeeze(-1)
            if hit is not None:
                hits[:, slot] = hit.squeeze(-1)
        return (ids, hits), authors

    def _whole(
        self, queries: Queries, borders: list[int], generator: torch.Generator
    ) -> tuple[Proposals, torch.Tensor]:
        """Propose where every component has whole slots."""
        parts: list[torch.Tensor] = []
        hits: list[torch.Tensor] = []
        authors, begin = [], 0
        for number, end in enumerate(borders):
            if end == begin:
                continue
            part, hit = self._component(number).propose(queries, end - begin, generator)
            parts.append(part.int())
            hits.append(part.new_ones(1, 1, dtype=torch.bool).expand(part.shape) if hit is None else hit)
            authors += [number] * (end - begin)
            begin = end
        signed = torch.tensor([authors], dtype=torch.int16, device=queries.kept.device).expand(len(queries), -1)
        missing = any(hit.stride(-1) or not bool(hit[:, 0].all()) for hit in hits)
        return (torch.cat(parts, dim=-1), torch.cat(hits, dim=-1) if missing else None), signed

    def _propose_again(
        self, queries: Queries, n: int, authors: torch.Tensor | None, generator: torch.Generator, *, retreat: bool
    ) -> Proposals:
        if authors is None:  # there is one component
            retreating = self._component(0).retreat if retreat else None
            return (retreating or self._component(0).propose)(queries, n, generator)
        ids = torch.zeros((len(queries), n), dtype=torch.int32, device=authors.device)
        hits = torch.zeros((len(queries), n), dtype=torch.bool, device=authors.device)
        for number in range(len(self.components)):
            rows = flat_nonzero(authors.contiguous() == number)
            component = self._component(number)
            propose = component.retreat if retreat else component.propose
            if not len(rows) or propose is None:
                continue
            part, hit = propose(queries[rows], n, generator)
            ids[rows] = part.int()
            hits[rows] = True if hit is None else hit
        return ids, hits
