"""How hard negatives may become before too many of them are true."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import torch

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.handles import ModelAware, attach_scorer
from kgneg.core.negatives import Negatives
from kgneg.core.plausibility.ceiling import PlausibilityCeiling
from kgneg.core.plausibility.pairs import NeighbourPrior
from kgneg.core.plausibility.planted import Planted
from kgneg.core.plausibility.prior import TruthPrior
from kgneg.core.queries import Queries
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import HEAD, TAIL, FloatTensor, LongTensor
from kgneg.core.validation import validate_count

__all__ = ["OperatingPoint", "find_operating_point", "proposal_logits", "validate_budget"]

logger = logging.getLogger(__name__)

#: Makes a corruptor for some known triples that obeys a ceiling, whose limit will change.
MakeCorruptor = Callable[[Planted, PlausibilityCeiling], Corruptor]

#: Shares of the proposals that are let through, from all to hardly any.
_QUANTILES = (
    *(1.0, 0.995, 0.99, 0.985, 0.98, 0.975, 0.97, 0.96, 0.95, 0.94, 0.92, 0.9),
    *(0.87, 0.84, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1),
)
_DRAWN, _AT_ONCE, _OF_PROPOSALS = 200_000, 1 << 15, 1 << 16
_PURPOSE = 0x627564676574


@dataclass(frozen=True)
class OperatingPoint:
    """A ceiling of plausibility, and what it leads to.

    :param share: the share of the method's proposals below the ceiling, in ``[0, 1]``; 1: no ceiling, 0: none passes
    :param ratio: hidden true triples among the negatives, relative to uniform negatives
    :param upper: the same, plus one standard error of the draws, which is what was compared with the budget; which
        triples were hidden adds to the error, above all on small graphs
    :param uniform_rate: hidden true triples per uniform negative
    :param tried: pairs of ``share`` and ``ratio`` that were measured, the wider ceilings first
    """

    share: float
    ratio: float
    upper: float
    uniform_rate: float
    tried: tuple[tuple[float, float], ...]


def validate_budget(budget: float) -> float:
    """Return a budget as a float if it can be kept.

    :param budget: at most how many times as many true triples as among uniform negatives there may be
    :returns: the budget
    :raises InvalidInputError: if it is no finite number of at least 1: what a method cannot fill is filled uniformly
    """
    if isinstance(budget, bool) or not isinstance(budget, Real) or not math.isfinite(budget) or budget < 1:
        raise InvalidInputError(
            f"fn_budget must be a finite number of at least 1, the rate of uniform negatives; got {budget!r}"
        )
    return float(budget)


def find_operating_point(
    make: MakeCorruptor,
    planted: Planted,
    prior: TruthPrior | NeighbourPrior,
    budget: float,
    *,
    negatives: int = 16,
    seed: int = 0,
) -> OperatingPoint:
    """Find the widest ceiling at which a method draws no more true triples than a budget allows.

    Negatives are drawn for the known triples of a graph with hidden ones, under lower and lower ceilings, until the
    rate of hidden triples among them, plus one standard error of the draws, is within the budget. Uniform negatives
    are those of both ends, whatever ends the method replaces. Only positives are asked whose
    pairs have a hidden completion; the others cannot hit any. A method that looks at a model sees the prior in its
    place, which is the hardest that a model could be as far as the known triples tell.

    :param make: makes the corruptor for the known triples; called once, with a ceiling whose limit is then lowered
    :param planted: the graph
    :param prior: learned on that graph, see :meth:`TruthPrior.fit_planted`
    :param budget: at most how many times as many true triples as among uniform negatives
    :param negatives: how many negatives each positive gets, on which the choice of some methods depends
    :param seed: the seed of all draws
    :returns: the ceiling
    """
    budget, negatives = validate_budget(budget), validate_count("negatives", negatives)
    uniform = planted.uniform_rate()
    positives, weight = _exposed(planted, -(-_DRAWN // negatives), seed)
    if not len(positives) or not uniform:
        logger.warning("no hidden triple can be met by replacing an end of a known one: no ceiling was set")
        return OperatingPoint(1.0, 0.0, 0.0, uniform, ())
    ceiling = PlausibilityCeiling(prior)
    corruptor = _prepared(make(planted, ceiling), prior)
    logits = proposal_logits(corruptor, planted.known, prior, negatives=negatives, seed=seed)
    tried: list[tuple[float, float]] = []
    for share in _QUANTILES:
        if share < 1:
            ceiling.set_limit(float(logits.quantile(share)))
        hits, drawn = _count(corruptor, planted, positives, negatives, seed)
        ratio, upper = (number * weight / drawn / uniform for number in (hits, hits + math.sqrt(hits + 1)))
        tried.append((share, ratio))
        if upper <= budget:
            return OperatingPoint(share, ratio, upper, uniform, tuple(tried))
    logger.warning(
        "fn_budget=%g cannot be met: the lowest ratio of %d ceilings is %.3g. All negatives are drawn uniformly; raise "
        "the budget, or take another method",
        *(budget, len(tried), min(ratio for _, ratio in tried)),
    )
    return OperatingPoint(0.0, 1.0, 1.0, uniform, tuple(tried))


def proposal_logits(
    corruptor: Corruptor, known: LongTensor, prior: TruthPrior | NeighbourPrior, *, negatives: int = 16, seed: int = 0
) -> FloatTensor:
    """Return the log odds of what a method draws for some of the known triples.

    :param corruptor: the method; one that looks at a model is given the prior in its place
    :param known: shape: ``(m, 3)``
    :param prior: the prior
    :param negatives: how many negatives each positive gets
    :param seed: the seed of the draws
    :returns: shape: ``(k,)``; fall-backs are left out unless there is nothing else
    """
    corruptor = _prepared(corruptor, prior)
    generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE, 1))
    rows = torch.randint(len(known), (-(-_OF_PROPOSALS // negatives),), generator=generator)
    found = []
    for batch in torch.split(known[rows], max(_AT_ONCE // negatives, 1)):
        drawn = corruptor(batch, negatives, generator)
        logits = prior.logits(*_asked(drawn)).view(-1)
        own = ~drawn.fallback.reshape(-1)
        found.append(logits[own] if bool(own.any()) else logits)
    return torch.cat(found)


def _asked(negatives: Negatives) -> tuple[Queries, LongTensor]:
    """Return one pair and one candidate per negative."""
    side = negatives.side.reshape(-1).long()
    positives = negatives.positives[..., None, :].expand(*negatives.entity.shape, 3).reshape(-1, 3)
    return Queries.from_triples(positives, side), negatives.entity.reshape(-1, 1)


def _exposed(planted: Planted, number: int, seed: int) -> tuple[LongTensor, float]:
    """Return some known triples with a pair that has hidden completions, and the share of such triples."""
    known, index = planted.known, planted.hidden_index
    exposed = torch.zeros(len(known), dtype=torch.bool)
    for side in (HEAD, TAIL):
        queries = Queries.from_triples(known, torch.full_like(known[:, 0], side))
        exposed |= index.count(queries.kept, queries.relation, queries.side) > 0
    rows = exposed.nonzero().squeeze(-1)
    if not len(rows):
        return known[:0], 0.0
    generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE, 2))
    chosen = rows[torch.randint(len(rows), (number,), generator=generator)]
    return known[chosen], len(rows) / len(known)


def _prepared(corruptor: Corruptor, prior: TruthPrior | NeighbourPrior) -> Corruptor:
    """Show the prior to what looks at a model."""
    if any(isinstance(part, ModelAware) for part in corruptor.modules()):
        attach_scorer(corruptor, prior.logits)
    return corruptor


def _count(corruptor: Corruptor, planted: Planted, positives: LongTensor, negatives: int, seed: int) -> tuple[int, int]:
    """Return how many negatives are hidden triples, and how many were drawn."""
    generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE, 3))
    hits = drawn = 0
    for batch in torch.split(positives, max(_AT_ONCE // negatives, 1)):
        queries, ids = _asked(corruptor(batch, negatives, generator))
        hits += int(planted.contains(queries, ids.squeeze(-1)).sum())
        drawn += len(ids)
    return hits, drawn
