"""The hardest of a few random candidates, by the model as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.draws import draw_below
from kgneg.core.handles import ModelAware
from kgneg.core.validation import validate_count
from kgneg.samplers.screening import Screen, Slots, choose_highest, draw_pool, excluded, validate_finite

__all__ = ["DynamicCorruptor"]


class DynamicCorruptor(ModelAware, Corruptor):
    """Replace an end by those of some random entities that the model finds most plausible.

    A pool of distinct random entities is scored once for each positive and end. Known triples are excluded exactly,
    before anything is chosen. The slots get the highest scores, or, with a temperature, a draw without replacement with
    probabilities proportional to ``exp(score / temperature)``.

    The hardest candidates are where the unknown true triples are. ``skip_top``, ``ceiling`` and ``share`` keep these
    away. Where too few candidates of a pool are left, uniform ones fill the slots; these are not scored, and are
    counted as rejected.

    It needs a model, see :meth:`~kgneg.core.handles.ModelAware.attach`.

    Source: Zhang et al., Optimizing Top-N Collaborative Filtering via Dynamic Negative Item Sampling, SIGIR 2013.

    :param pool: how many candidates are scored for each positive and end; more if there are more slots to fill
    :param temperature: 0 takes the highest scores, larger values choose more evenly
    :param skip_top: how many of the best candidates of each pool are left out
    :param ceiling: candidates are left out whose score exceeds that of the positive by more; ``None``: none
    :param share: the share of the slots that the method fills; the others are uniform
    :param options: the arguments of :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if a value is out of range

    >>> corruptor = DynamicCorruptor(pool=9, num_entities=9, num_relations=1, seed=0)
    >>> corruptor.attach(lambda queries, ids: ids.float())
    >>> corruptor(torch.tensor([[0, 0, 1]]), 4).entity.tolist()
    [[8, 7, 8, 7]]
    """

    citation: ClassVar[str] = "Zhang et al., SIGIR 2013"
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "pool": {"type": int, "low": 16, "high": 256, "log": True},
        "temperature": {"type": float, "low": 0.0, "high": 2.0},
        "skip_top": {"type": int, "low": 0, "high": 8},
        "share": {"type": float, "low": 0.25, "high": 1.0},
    }

    def __init__(
        self,
        *,
        pool: int = 64,
        temperature: float = 0.0,
        skip_top: int = 0,
        ceiling: float | None = None,
        share: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.pool = validate_count("pool", pool)
        self.temperature = validate_finite("temperature", temperature, 0.0)
        self.screen = Screen(skip_top=skip_top, ceiling=ceiling, share=share)

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Propose the hardest candidates of a pool for each query.

        :param queries: the pairs that need replacements
        :param n: the number of proposals per query
        :param generator: the source of randomness
        :returns: ids and hits of shape ``(q, n)``; no hit where the pool has too few candidates left
        :raises InvalidInputError: if there is no model
        """
        scorer = self.scorer
        slots = Slots(queries, n)
        groups = slots.groups
        hard = slots.hard(self.screen.share, generator)
        width = int(hard.max()) if len(hard) else 0
        easy = width == 0 or self.screen.share < 1.0
        uniform = draw_below(self.num_entities, (len(queries), n), generator, generator.device) if easy else None
        if uniform is not None and not width:
            return uniform, None
        shape = (len(groups), max(self.pool, width + self.screen.skip_top))
        ids, wrong = draw_pool(self.num_entities, shape, generator)
        known = excluded(self, groups, ids)
        wrong = known if wrong is None else wrong.logical_or_(known)
        candidates = ids if self.screen.ceiling is None else torch.cat([ids, groups.replaced.int()[:, None]], dim=-1)
        scores = scorer(groups, candidates)
        positive = None
        if self.screen.ceiling is not None:
            scores, positive = scores[:, :-1], scores[:, -1:]
        scores = scores.masked_fill(wrong | scores.isnan(), -torch.inf)
        chosen, good = choose_highest(self.screen(scores, positive), width, self.temperature, generator)
        place = slots.place().expand(len(queries), n)
        within = place < chosen.shape[-1]
        column = place.clamp(max=chosen.shape[-1] - 1)
        result, hit = ids.gather(-1, chosen), good
        if slots.merged:
            group = slots.group()
            result, hit = result[group], hit[group]
        result, hit = result.gather(-1, column), hit.gather(-1, column) & within
        if uniform is not None:
            others = place >= (hard[slots.group()] if slots.merged else hard)[:, None]
            result, hit = torch.where(others, uniform, result), hit | others
        return result, hit

    def _propose_again(
        self, queries: Queries, n: int, authors: torch.Tensor | None, generator: torch.Generator, *, retreat: bool
    ) -> Proposals:
        return draw_below(self.num_entities, (len(queries), n), generator, generator.device), None
