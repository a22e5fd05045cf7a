"""lemon+: hard negatives of the right kind that are unlikely to be true."""

from __future__ import annotations

import math
from typing import Any, ClassVar, cast

import torch
from torch.utils.data import get_worker_info

from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.plausibility import PlausibilityCeiling
from kgneg.core.typing import FloatTensor
from kgneg.core.validation import validate_count
from kgneg.samplers.lemon import LemonCorruptor

__all__ = ["LemonPlusCorruptor"]


class LemonPlusCorruptor(BufferModule, Corruptor):
    """Replace an end by the most plausible of a few entities that fit the relation, below a ceiling of plausibility.

    Candidates come from the domain or range of the relation, near the text of the entity that they replace
    (:class:`~kgneg.samplers.lemon.LemonCorruptor` with types). Of ``best_of`` candidates for a slot, those that make a
    known triple, those that break a constraint and those above the ceiling are left out, and of the others the one is
    proposed that a :class:`~kgneg.core.plausibility.TruthPrior` finds most plausible. So negatives are hard,
    and the ceiling says how many of them may be true. Where nothing is left the slot is rejected.

    With a curriculum the pools start as wide as domain and range and narrow down, cluster by cluster, to the clusters
    nearest to the text.

    It is meant to be mixed with uniform negatives (:class:`~kgneg.samplers.mixture.MixtureCorruptor`), for a model that
    sees hard ones only does not learn what is absurd.

    :param pool: proposes candidates of the right kind
    :param ceiling: how likely candidates are true, and how likely they may be
    :param best_of: how many candidates each slot has
    :param curriculum: after how many slots the pools have their final width; 0: from the beginning
    :param width: the final width with a curriculum: how many of the clusters of the pool, the nearest ones
    :param options: the arguments of :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if a number is out of range, or the parts are for other graphs

    >>> from kgneg.core.candidates import CandidateIndex
    >>> from kgneg.core.plausibility import TruthPrior
    >>> from kgneg.samplers import TypedCorruptor
    >>> triples = torch.tensor([[h, 0, t] for h in range(20) for t in range(h % 5, 10)])
    >>> sizes = {"num_entities": 30, "num_relations": 1}
    >>> ceiling = PlausibilityCeiling(TruthPrior.fit(triples, rank=4, **sizes), -2.0)
    >>> pool = TypedCorruptor(CandidateIndex.from_relation_types(triples, **sizes), **sizes)
    >>> corruptor = LemonPlusCorruptor(pool, ceiling, seed=0, **sizes)
    >>> corruptor(torch.tensor([[4, 0, 9]]), 2).triples.shape
    torch.Size([1, 2, 3])
    """

    citation: ClassVar[str] = "kgneg, after Rony et al., arXiv 2203.04703"
    seen: FloatTensor

    def __init__(
        self,
        pool: Corruptor,
        ceiling: PlausibilityCeiling,
        *,
        best_of: int = 4,
        curriculum: int = 0,
        width: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for what, part in (("the pool", pool), ("the prior", ceiling.prior.features)):
            if (part.num_entities, part.num_relations) != (self.num_entities, self.num_relations):
                raise InvalidInputError(
                    f"{what} is for {part.num_entities} entities and {part.num_relations} relations, the corruptor for "
                    f"{self.num_entities} and {self.num_relations}"
                )
        self.pool, self.ceiling = pool, ceiling
        self.best_of = validate_count("best_of", best_of)
        self.curriculum, self.width = validate_count("curriculum", curriculum, 0), validate_count("width", width)
        if self.curriculum and not (isinstance(pool, LemonCorruptor) and pool.rows.shape[1] > 1):
            raise InvalidInputError(
                "a curriculum narrows pools made of several clusters: take n_clusters of at least 2, or no curriculum"
            )
        #: how many slots were filled, which is what a curriculum goes by
        self.register_buffer("seen", torch.tensor(0.0, dtype=torch.float64))

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Propose the most plausible ones of the candidates that are allowed.

        :param queries: the pairs that need replacements
        :param n: the number of proposals per query
        :param generator: the source of randomness
        :returns: ids and hits of shape ``(q, n)``; no hit where no candidate is allowed
        """
        if self.curriculum:
            if get_worker_info() is not None:
                raise InvalidInputError(
                    "a curriculum goes by what was drawn, which worker processes do not tell: take num_workers=0, or "
                    "curriculum=0"
                )
            self._narrow()
        ids, hit = self.pool.propose(queries, n * self.best_of, generator)
        ids = ids.int()
        good = ~self.forbidden(queries, ids)
        if hit is not None:
            good &= hit
        for rule in self.constraints:
            good &= rule(queries, ids)
        logits = self.ceiling.prior.logits(queries, ids)
        logits.masked_fill_(~good | ~(logits <= self.ceiling.limit), -math.inf)
        shape = (len(queries), n, self.best_of)
        best, place = logits.view(shape).max(dim=-1, keepdim=True)
        return ids.view(shape).gather(-1, place).squeeze(-1), (best > -math.inf).squeeze(-1)

    def _advance(self, slots: float) -> None:
        super()._advance(slots)
        if self.curriculum:
            self.seen += slots

    def _narrow(self) -> None:
        """Set the width of the pools."""
        pool = cast("LemonCorruptor", self.pool)
        left = 1 - min(float(self.seen) / self.curriculum, 1.0)
        pool.width = math.ceil(self.width + left * max(pool.rows.shape[1] - self.width, 0))
