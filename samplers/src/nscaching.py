"""Caches of hard negatives, kept up to date with the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.draws import draw_below
from kgneg.core.errors import InvalidInputError, KeyOverflowError
from kgneg.core.handles import CandidateScorer, ModelAware
from kgneg.core.masks import flat_nonzero
from kgneg.core.modules import BufferModule
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import HEAD, TAIL, BoolTensor, FloatTensor, IntTensor, LongTensor
from kgneg.core.validation import validate_count, validate_triples
from kgneg.samplers.screening import (
    SCREEN_RANGES,
    Screen,
    Slots,
    Tally,
    choose_highest,
    validate_finite,
    without_repeats,
)

__all__ = ["NSCachingCorruptor"]

_EMPTY = -1
_SALT = 1812_06410


class NSCachingCorruptor(ModelAware, BufferModule, Corruptor):
    """Replace an end by an entity of a cache that follows the model.

    Every pair of a head and a relation, and of a relation and a tail, that occurs in the triples has a cache of
    entities. When a pair is asked for, its cache is refreshed: its members and some random entities are scored, and the
    new members are drawn from both without replacement, with probabilities proportional to ``exp(score /
    temperature)``. Negatives are then drawn uniformly from the cache. Other than published, a cache is refreshed before
    it is drawn from, so that the random entities of the start are never used; and known triples are excluded exactly at
    every refresh.

    A cache that holds few entities with high scores collects unknown true triples. ``skip_top`` and ``ceiling`` are
    applied at every refresh. Where less is left than a cache can hold, negatives repeat what is left. Where nothing is
    left, the slots are rejected: the cache is refreshed again with other random entities, in at most :attr:`redraws`
    rounds, and what is then still open is filled by an exact uniform draw, which no option binds, and flagged as
    ``fallback``. ``tally`` counts what was left out for which reason, see
    :class:`~kgneg.samplers.screening.Tally`. Pairs that do not occur in the triples give uniform entities.

    It needs a model, see :meth:`~kgneg.core.handles.ModelAware.attach`.

    Source: Zhang, Yao, Shao and Chen, NSCaching: Simple and Efficient Negative Sampling for Knowledge Graph Embedding,
    ICDE 2019, arXiv 1812.06410.

    :param triples: shape: ``(m, 3)``, the training triples
    :param cache: the number of entities in each cache, 50 as published
    :param candidates: how many random entities compete for a place in it at each refresh, 50 as published
    :param refresh: caches are refreshed in every such batch, 1 as published; each call of :meth:`propose` is a batch
    :param temperature: 1 as published; 0 takes the highest scores, larger values choose more evenly
    :param skip_top: how many of the best of these are left out
    :param ceiling: entities are left out whose score exceeds that of the positive by more; where a pair has several
        positives in a batch, the lowest score counts; ``None``: none
    :param share: the share of the slots that are drawn from caches; the others are uniform
    :param max_bytes: refuse to make caches that take more memory, 2 GiB by default
    :param options: the arguments of :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if a value is out of range, or the caches are too large

    >>> triples = torch.tensor([[0, 0, 1]])
    >>> corruptor = NSCachingCorruptor(triples, cache=2, candidates=90, num_entities=9, num_relations=1, seed=0)
    >>> corruptor.attach(lambda queries, ids: 100.0 * ids)
    >>> corruptor(triples, 6).entity.unique().tolist()
    [7, 8]
    """

    citation: ClassVar[str] = "Zhang et al., ICDE 2019"
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cache": {"type": int, "low": 10, "high": 100, "log": True},
        "candidates": {"type": int, "low": 10, "high": 100, "log": True},
        "refresh": {"type": int, "low": 1, "high": 16, "log": True},
        "temperature": {"type": float, "low": 0.25, "high": 4.0, "log": True},
        **SCREEN_RANGES,
    }
    pairs: LongTensor
    members: IntTensor
    stamps: LongTensor
    batches: LongTensor

    def __init__(
        self,
        triples: LongTensor,
        *,
        cache: int = 50,
        candidates: int = 50,
        refresh: int = 1,
        temperature: float = 1.0,
        skip_top: int = 0,
        ceiling: float | None = None,
        share: float = 1.0,
        max_bytes: int = 1 << 31,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        cache = validate_count("cache", cache)
        self.candidates = validate_count("candidates", candidates)
        self.refresh = validate_count("refresh", refresh)
        self.temperature = validate_finite("temperature", temperature, 0.0)
        self.screen = Screen(skip_top=skip_top, ceiling=ceiling, share=share)
        self.tally = Tally()
        triples = validate_triples(triples, self.num_entities, self.num_relations).reshape(-1, 3)
        if 2 * self.num_entities * self.num_relations >= 2**63:
            raise KeyOverflowError(
                f"{self.num_entities:,} entities x {self.num_relations:,} relations exceed the pairs that fit 63 bits"
            )
        head, relation, tail = triples.unbind(-1)
        ends = torch.tensor([[HEAD], [TAIL]], device=triples.device)
        pairs = torch.cat([self._codes(kept, relation, side) for kept, side in ((tail, ends[0]), (head, ends[1]))])
        pairs = torch.unique(pairs)
        needed = 4 * len(pairs) * cache + 8 * len(pairs)
        if needed > validate_count("max_bytes", max_bytes):
            raise InvalidInputError(
                f"{len(pairs):,} caches of {cache} entities take {needed:,} bytes, more than max_bytes={max_bytes:,}: "
                "take smaller caches, or raise max_bytes"
            )
        generator = torch.Generator(device=triples.device).manual_seed(mix_seeds(self.generators.seed, _SALT))
        self.register_buffer("pairs", pairs)
        #: shape ``(pairs, cache)``: the entities of each cache, then -1
        self.register_buffer("members", draw_below(self.num_entities, (len(pairs), cache), generator, triples.device))
        #: in which batch each cache was refreshed last; -1 for never
        self.register_buffer("stamps", torch.full((len(pairs),), -1, device=triples.device))
        #: how many batches were drawn
        self.register_buffer("batches", torch.tensor(0))

    def _codes(self, kept: LongTensor, relation: LongTensor, side: LongTensor) -> LongTensor:
        codes = torch.add(relation, kept, alpha=self.num_relations)
        return codes - (side == HEAD) * (self.num_entities * self.num_relations)

    def _rows(self, queries: Queries) -> tuple[LongTensor, BoolTensor]:
        """Return the row of each query's cache, and whether it has one."""
        codes = self._codes(queries.kept, queries.relation, queries.side)
        if not len(self.pairs):
            return torch.zeros_like(codes), torch.zeros_like(codes, dtype=torch.bool)
        rows = torch.searchsorted(self.pairs, codes).clamp_(max=len(self.pairs) - 1)
        return rows, self.pairs[rows] == codes

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Propose entities of the caches, after a refresh if it is time for one.

        :param queries: the pairs that need replacements
        :param n: the number of proposals per query
        :param generator: the source of randomness
        :returns: ids and hits of shape ``(q, n)``; no hit where a cache is empty
        :raises InvalidInputError: if there is no model
        """
        return self._propose_signed(queries, n, generator)[0]

    def _propose_signed(
        self, queries: Queries, n: int, generator: torch.Generator
    ) -> tuple[Proposals, torch.Tensor | None]:
        """Return proposals, and which of them are from caches."""
        scorer = self.scorer
        slots = Slots(queries, n)
        rows, found = self._rows(slots.groups)
        if len(rows):
            chosen = self._due(rows, found)
            self._refresh(scorer, slots.groups[chosen], rows[chosen], generator)
            self.batches += 1
        hard = torch.where(found, slots.hard(self.screen.share, generator), 0)
        uniform = draw_below(self.num_entities, (len(queries), n), generator, generator.device)
        mine = slots.first(hard).expand(uniform.shape)
        if not len(self.pairs):
            return (uniform, None), mine
        self.tally.count_slots(hard, self._filled(rows), repeats=False)
        ids, hit = self._draw(rows[slots.group()] if slots.merged else rows, n, generator)
        return (torch.where(mine, ids, uniform), hit | ~mine), mine

    def _filled(self, rows: LongTensor) -> LongTensor:
        """Return how many members caches have, shape ``(q,)``."""
        return (self.members[rows] != _EMPTY).sum(-1)

    def _draw(self, rows: LongTensor, n: int, generator: torch.Generator) -> tuple[IntTensor, BoolTensor]:
        """Draw uniformly from caches: ids of shape ``(q, n)``, and which caches have members, ``(q, 1)``."""
        size = self.members.shape[-1]
        filled = self._filled(rows)[:, None]
        place = draw_below(filled, (len(rows), n), generator, generator.device, largest=size)
        return self.members.view(-1)[rows[:, None] * size + place].clamp_(min=0), filled > 0

    def _propose_again(
        self, queries: Queries, n: int, authors: torch.Tensor | None, generator: torch.Generator, *, retreat: bool
    ) -> Proposals:
        ids = draw_below(self.num_entities, (len(queries), n), generator, generator.device)
        hits = torch.ones_like(ids, dtype=torch.bool)
        mine = flat_nonzero(hits[:, 0] if authors is None else authors)
        if len(mine):
            mine_only = queries[mine]
            rows, _ = self._rows(mine_only)
            empty = flat_nonzero(self._filled(rows) == 0)
            self._refresh(self.scorer, mine_only[empty], rows[empty], generator)
            again, hit = self._draw(rows, n, generator)
            ids[mine], hits[mine] = again, hit.expand(-1, n)
        return ids, hits

    def _due(self, rows: LongTensor, found: BoolTensor) -> LongTensor:
        """Return which queries have a cache that was never refreshed, or not for :attr:`refresh` batches."""
        if not len(self.pairs):
            return found.nonzero().squeeze(-1)
        stamp = self.stamps[rows]
        due = found & ((stamp < 0) | (self.batches - stamp >= self.refresh))
        chosen = due.nonzero().squeeze(-1)
        self.stamps[rows[chosen]] = self.batches
        return chosen

    def _refresh(self, scorer: CandidateScorer, queries: Queries, rows: LongTensor, generator: torch.Generator) -> None:
        """Refresh the caches of some queries, each of which has one."""
        if not len(rows):
            return
        rows, inverse = torch.unique(rows, return_inverse=True)
        order = torch.arange(len(inverse), device=rows.device)
        first = torch.full_like(rows, len(inverse)).scatter_reduce_(0, inverse, order, "amin")
        asked = queries[first]
        fresh = draw_below(self.num_entities, (len(rows), self.candidates), generator, generator.device)
        ids, void = without_repeats(torch.cat([self.members[rows], fresh], dim=-1))
        void |= ids == _EMPTY
        ids = ids.clamp_(min=0)
        scores = scorer(asked, ids)
        positive = self._lowest(scorer, queries, inverse, scores)
        scores = self.screen(self, asked, ids, scores, self.tally, void=void, positive=positive)
        positions, good = choose_highest(scores, self.members.shape[-1], self.temperature, generator)
        members = ids.gather(-1, positions).masked_fill_(~good, _EMPTY)
        missing = self.members.shape[-1] - members.shape[-1]
        self.members[rows] = torch.nn.functional.pad(members, (0, missing), value=_EMPTY)

    def _lowest(
        self, scorer: CandidateScorer, queries: Queries, inverse: LongTensor, scores: FloatTensor
    ) -> FloatTensor | None:
        """Return the lowest score of the positives of each pair, shape ``(pairs, 1)``, if there is a ceiling."""
        if self.screen.ceiling is None:
            return None
        positive = scorer(queries, queries.replaced.int()[:, None]).squeeze(-1)
        lowest = scores.new_full((len(scores),), torch.inf)
        return lowest.scatter_reduce_(0, inverse, positive, "amin")[:, None]
