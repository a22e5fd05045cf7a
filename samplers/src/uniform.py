"""Uniform entities."""

from __future__ import annotations

import math
from typing import ClassVar

import torch

from kgneg.core.corruption import Corruptor, Queries
from kgneg.core.draws import draw_below
from kgneg.core.typing import TAIL, FloatTensor, IntTensor, LongTensor

__all__ = ["UniformCorruptor"]


class UniformCorruptor(Corruptor):
    """Replace an end by any entity, all equally likely.

    With an index the draw is exactly uniform over the entities that make no known triple. Give
    ``sides=SidePolicy("bernoulli", ...)`` for the Bernoulli variant, which replaces the end with fewer true
    alternatives more often.

    Source: Bordes et al., Translating Embeddings for Modeling Multi-relational Data, NIPS 2013.

    >>> corruptor = UniformCorruptor(num_entities=9, num_relations=1, seed=0)
    >>> corruptor(torch.tensor([[0, 0, 1]]), 4).triples.shape
    torch.Size([1, 4, 3])
    """

    redraws: ClassVar[int] = 2
    uniform_is_native: ClassVar[bool] = True
    citation: ClassVar[str] = "Bordes et al., NIPS 2013"

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> tuple[IntTensor, None]:
        """Propose uniformly drawn entities.

        :param queries: the pairs that need replacements
        :param n: the number of proposals per query
        :param generator: the source of randomness
        :returns: ids of shape ``(q, n)``, int32, all of them real
        """
        return draw_below(self.num_entities, (len(queries), n), generator, generator.device), None

    def log_proposal(self, ids: LongTensor, side: int = TAIL) -> FloatTensor:
        """Return the logarithm of the probability that an entity is proposed, whatever the query.

        :param ids: shape: ``(*)``, entities
        :param side: the end that is replaced, which makes no difference
        :returns: shape: ``(*)``, float32
        """
        return torch.full(ids.shape, -math.log(self.num_entities), device=ids.device)
