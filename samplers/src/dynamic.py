"""The hardest of a few random candidates, by the model as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.draws import draw_below
from kgneg.core.errors import InvalidInputError
from kgneg.core.handles import CandidateScorer, ModelAware
from kgneg.core.masks import flat_nonzero
from kgneg.core.typing import BoolTensor, IntTensor, LongTensor
from kgneg.core.validation import validate_count
from kgneg.samplers.screening import SCREEN_RANGES, Screen, Slots, Tally, choose_highest, draw_pool, validate_finite

__all__ = ["DynamicCorruptor"]


class DynamicCorruptor(ModelAware, Corruptor):
    """Replace an end by those of some candidates that the model finds most plausible.

    A pool of distinct candidates is scored once for each positive and end. Known triples are excluded exactly, before
    anything is chosen. The slots get the highest scores, or, with a temperature, a draw without replacement with
    probabilities proportional to ``exp(score / temperature)``.

    The hardest candidates are where the unknown true triples are. ``skip_top``, ``ceiling`` and ``share`` keep these
    away. Where fewer candidates of a pool are left than there are slots, each of them is taken, and the other slots get
    uniform draws from them. Where none is left, the slots are rejected: another pool is drawn for them, in at most
    :attr:`redraws` rounds, and what is then still open is filled by an exact uniform draw, which no option binds, and
    flagged as ``fallback``. ``tally`` counts what was left out for which reason, see
    :class:`~kgneg.samplers.screening.Tally`.

    It needs a model, see :meth:`~kgneg.core.handles.ModelAware.attach`.

    Source: Zhang et al., Optimizing Top-N Collaborative Filtering via Dynamic Negative Item Sampling, SIGIR 2013.

    :param pool: how many candidates are scored for each positive and end; more if there are more slots to fill
    :param temperature: 0 takes the highest scores, larger values choose more evenly
    :param skip_top: how many of the best candidates of each pool are left out
    :param ceiling: candidates are left out whose score exceeds that of the positive by more; ``None``: none
    :param share: the share of the slots that the method fills; the others are uniform
    :param source: another method whose proposals are the pool; repeated ones count once. ``None``: uniform entities
    :param options: the arguments of :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if a value is out of range, or the source is no corruptor for the same sizes

    >>> corruptor = DynamicCorruptor(pool=9, num_entities=9, num_relations=1, seed=0)
    >>> corruptor.attach(lambda queries, ids: ids.float())
    >>> corruptor(torch.tensor([[0, 0, 1]]), 4).entity.tolist()
    [[8, 7, 8, 7]]
    """

    citation: ClassVar[str] = "Zhang et al., SIGIR 2013"
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "pool": {"type": int, "low": 16, "high": 256, "log": True},
        "temperature": {"type": float, "low": 0.0, "high": 2.0},
        **SCREEN_RANGES,
    }

    def __init__(
        self,
        *,
        pool: int = 64,
        temperature: float = 0.0,
        skip_top: int = 0,
        ceiling: float | None = None,
        share: float = 1.0,
        source: Corruptor | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.pool = validate_count("pool", pool)
        self.temperature = validate_finite("temperature", temperature, 0.0)
        self.screen = Screen(skip_top=skip_top, ceiling=ceiling, share=share)
        self.tally = Tally()
        if source is not None:
            _check_source(source, self)
        self.source = source

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Propose the hardest candidates of a pool for each query.

        :param queries: the pairs that need replacements
        :param n: the number of proposals per query
        :param generator: the source of randomness
        :returns: ids and hits of shape ``(q, n)``; no hit where no candidate of the pool may be taken
        :raises InvalidInputError: if there is no model
        """
        return self._propose_signed(queries, n, generator)[0]

    def _propose_signed(
        self, queries: Queries, n: int, generator: torch.Generator
    ) -> tuple[Proposals, torch.Tensor | None]:
        """Return proposals, and which of them are by scores."""
        scorer = self.scorer
        slots = Slots(queries, n)
        hard = slots.hard(self.screen.share, generator)
        width = int(hard.max()) if len(hard) else 0
        uniform = None
        if self.screen.share < 1.0 or not width:
            uniform = draw_below(self.num_entities, (len(queries), n), generator, generator.device)
            if not width:
                return (uniform, None), torch.zeros_like(uniform, dtype=torch.bool)
        (ids, hit), filled = self._hardest(scorer, slots, width, generator)
        self.tally.count_slots(hard, filled)
        if uniform is None:
            return (ids, hit), None
        mine = slots.first(hard)
        return (torch.where(mine, ids, uniform), hit | ~mine), mine

    def _hardest(
        self, scorer: CandidateScorer, slots: Slots, width: int, generator: torch.Generator
    ) -> tuple[tuple[IntTensor, BoolTensor], LongTensor]:
        """Return the best for all slots, and for each group how many different ones there are, at most ``width``."""
        groups, ceiling = slots.groups, self.screen.ceiling
        size = max(self.pool, width + self.screen.skip_top)
        ids, void = draw_pool(self.source, groups, self.num_entities, size, generator)
        scores = scorer(groups, ids if ceiling is None else torch.cat([ids, groups.replaced.int()[:, None]], dim=-1))
        positive = None if ceiling is None else scores[:, -1:]
        scores = self.screen(self, groups, ids, scores[:, : ids.shape[-1]], self.tally, void=void, positive=positive)
        chosen, good = choose_highest(scores, width, self.temperature, generator)
        filled = good.sum(-1)
        return slots.deal(ids.gather(-1, chosen), filled, generator), filled

    def _propose_again(
        self, queries: Queries, n: int, authors: torch.Tensor | None, generator: torch.Generator, *, retreat: bool
    ) -> Proposals:
        if authors is None:
            authors = torch.ones(len(queries), dtype=torch.bool, device=generator.device)
        ids = draw_below(self.num_entities, (len(queries), n), generator, generator.device)
        hits = torch.ones_like(ids, dtype=torch.bool)
        mine = flat_nonzero(authors)
        if len(mine):
            slots = Slots(queries[mine], 1)
            (again, hit), _ = self._hardest(self.scorer, slots, int(slots.number().max()), generator)
            ids[mine], hits[mine] = again.expand(-1, n), hit.expand(-1, n)
        return ids, hits


def _check_source(source: Corruptor, owner: Corruptor) -> None:
    if not isinstance(source, Corruptor):
        raise InvalidInputError(f"source must be a corruptor or None, got {type(source).__name__}")
    if (source.num_entities, source.num_relations) != (owner.num_entities, owner.num_relations):
        raise InvalidInputError(
            f"a source for {source.num_entities} entities and {source.num_relations} relations does not fit a "
            f"corruptor for {owner.num_entities} and {owner.num_relations}: build both for the same graph"
        )
