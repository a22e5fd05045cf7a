"""Whether a prior finds triples that were hidden on purpose among negatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility.pairs import NeighbourPrior
from kgneg.core.plausibility.planted import Planted
from kgneg.core.plausibility.prior import TruthPrior
from kgneg.core.seeding import mix_seeds
from kgneg.core.validation import validate_count, validate_share

__all__ = ["PlantedTest", "planted_test"]

_AT_ONCE = 1 << 15
_PURPOSE = 0x74657374

#: What can be tested.
Prior = TruthPrior | NeighbourPrior


@dataclass(frozen=True)
class PlantedTest:
    """How well hidden triples were told from negatives.

    :param auc: the probability that a hidden triple is ranked above a negative, ties counting half
    :param average_precision: of the ranking of both
    :param planted: the number of hidden triples
    :param negatives: the number of negatives, none of which is hidden or known
    :param level: the probability above which the wanted share of the negatives is flagged
    :param flagged_planted: the share of the hidden triples that is flagged there
    :param flagged_negatives: the share of the negatives that is flagged there
    :param precision: the share of hidden triples among what is flagged, in this mixture of both
    """

    auc: float
    average_precision: float
    planted: int
    negatives: int
    level: float
    flagged_planted: float
    flagged_negatives: float
    precision: float


def planted_test(
    prior: Prior | Callable[[Planted], Prior],
    planted: Planted,
    corruptor: Corruptor,
    *,
    negatives: int = 10,
    share: float = 0.05,
    seed: int = 0,
) -> PlantedTest:
    """Hide triples among the negatives of a sampler, and see whether a prior finds them.

    The negatives are those of known triples, drawn at random. What is hidden is left out of them.

    :param prior: learned on that graph, or what learns one, for instance ``NeighbourPrior.fit_planted``. A prior that
        was fitted by ``fit_planted`` on the same triples knows their like: for an honest figure plant others (another
        seed, held-out triples with :meth:`Planted.of`) and fit on ``planted.known``
    :param planted: the graph and its hidden triples
    :param corruptor: draws the negatives
    :param negatives: how many negatives there are for each hidden triple, about
    :param share: which share of the negatives may be flagged
    :param seed: the seed of the draws
    :returns: the figures
    :raises InvalidInputError: if nothing is hidden, or the corruptor draws nothing but hidden and known triples

    >>> from kgneg.core.plausibility import TruthPrior, plant
    >>> from kgneg.samplers import UniformCorruptor
    >>> triples = torch.tensor([[h, 0, t] for h in range(20) for t in range(h % 5, 10)])
    >>> sizes = dict(num_entities=30, num_relations=1)
    >>> found = planted_test(NeighbourPrior.fit_planted, plant(triples, **sizes), UniformCorruptor(**sizes))
    >>> found.auc > 0.9
    True
    """
    validate_count("negatives", negatives)
    validate_share("share", share)
    if not len(planted.hidden):
        raise InvalidInputError("nothing is hidden: plant at least one triple")
    fitted = prior if isinstance(prior, TruthPrior | NeighbourPrior) else prior(planted)
    generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE))
    rows = torch.randint(len(planted.known), (len(planted.hidden),), generator=generator)
    drawn = corruptor(planted.known[rows], negatives, generator).triples.reshape(-1, 3)
    drawn = torch.unique(drawn, dim=0)
    drawn = drawn[~planted.hidden_index.contains(drawn) & ~planted.index.contains(drawn)]
    if not len(drawn):
        raise InvalidInputError("the corruptor draws nothing but hidden and known triples: take another one")
    true, false = (
        torch.cat([fitted.of_triples(part) for part in triples.split(_AT_ONCE)]).double().numpy()
        for triples in (planted.hidden, drawn)
    )
    level = float(np.quantile(false, 1 - share, method="higher")) if share else float(false.max())
    caught, wrong = int((true > level).sum()), int((false > level).sum())
    auc, precision = _ranking(true, false)
    return PlantedTest(
        auc=auc,
        average_precision=precision,
        planted=len(true),
        negatives=len(false),
        level=level,
        flagged_planted=caught / len(true),
        flagged_negatives=wrong / len(false),
        precision=caught / max(caught + wrong, 1),
    )


def _ranking(true: np.ndarray, false: np.ndarray) -> tuple[float, float]:
    """Return the area under the curve, and the average precision."""
    scores = np.concatenate([true, false])
    ranks = rankdata(scores)[: len(true)]
    auc = (ranks.sum() - len(true) * (len(true) + 1) / 2) / (len(true) * len(false))
    order = np.argsort(-scores, kind="stable")
    hits = (order < len(true)).cumsum()
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # ties are one step
    gained = np.diff(hits[last], prepend=0)
    return float(auc), float((gained * hits[last] / (last + 1)).sum() / len(true))
