"""A rule that keeps candidates out that may well be true."""

from __future__ import annotations

import math
from numbers import Real

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.plausibility.pairs import NeighbourPrior
from kgneg.core.plausibility.prior import TruthPrior
from kgneg.core.queries import Queries
from kgneg.core.typing import BoolTensor, FloatTensor, IntTensor

__all__ = ["PlausibilityCeiling"]


class PlausibilityCeiling(BufferModule):
    """Forbid candidates that a prior finds too likely to be true; a constraint for any corruptor.

    :param prior: the prior
    :param limit: the largest log odds of being true that a negative may have; infinity forbids nothing
    :raises InvalidInputError: if the limit is no number

    >>> from kgneg.core.plausibility import TruthPrior
    >>> triples = torch.tensor([[h, 0, t] for h in range(20) for t in range(h % 5, 10)])
    >>> ceiling = PlausibilityCeiling(TruthPrior.fit(triples, num_entities=30, num_relations=1, rank=4), -4.0)
    >>> queries = Queries.from_triples(torch.tensor([[4, 0, 9]]), torch.tensor([2]))
    >>> ceiling(queries, torch.tensor([[3, 25]], dtype=torch.int32)).tolist()
    [[False, True]]

    With the nearest known pairs as the prior, whatever is flagged is drawn again:

    >>> from kgneg.core.plausibility import NeighbourPrior
    >>> from kgneg.samplers import UniformCorruptor
    >>> sizes = dict(num_entities=30, num_relations=1)
    >>> ceiling = PlausibilityCeiling(NeighbourPrior.fit(triples, **sizes), -2.0)
    >>> corruptor = UniformCorruptor(constraints=(ceiling,), seed=0, **sizes)
    >>> negatives = corruptor(triples, 8)
    >>> corruptor.counts["rejected"] > 0
    True
    """

    limit: FloatTensor

    def __init__(self, prior: TruthPrior | NeighbourPrior, limit: float = math.inf) -> None:
        super().__init__()
        self.prior = prior
        self.register_buffer("limit", torch.tensor(math.inf))
        self.set_limit(limit)

    def set_limit(self, limit: float) -> None:
        """Set the limit, for everything that has this ceiling.

        :param limit: the largest log odds of being true that a negative may have
        :raises InvalidInputError: if the limit is no number
        """
        if isinstance(limit, bool) or not isinstance(limit, Real) or math.isnan(limit):
            raise InvalidInputError(f"limit must be a number, the log odds of being true, got {limit!r}")
        self.limit.fill_(float(limit))

    def forward(self, queries: Queries, ids: IntTensor) -> BoolTensor:
        """Return which candidates are allowed.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, candidates for each
        :returns: shape: ``(q, n)``
        """
        return self.prior.logits(queries, ids) <= self.limit
