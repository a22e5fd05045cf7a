"""Entities that occur often."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, ClassVar

import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.typing import HEAD, TAIL, FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_triples

__all__ = ["PopularityCorruptor", "count_entities", "popularity_weights"]


class PopularityCorruptor(BufferModule, Corruptor):
    r"""Replace an end by an entity with a probability proportional to its weight: as a rule, to how often it occurs.

    The usual weights are :math:`(c + s)^\alpha` of the counts :math:`c`, with an :math:`\alpha` between 0, which is
    uniform, and 1: see :func:`popularity_weights`, and :meth:`from_triples` for knowledge graphs. An entity of weight
    zero is never proposed. With an index, the proposals are drawn in proportion to the weights of the entities that
    make no known triple; a positive that knows nearly all of the weight can get uniform draws, flagged as ``fallback``.

    Source: Mikolov et al., Distributed Representations of Words and Phrases and their Compositionality, NIPS 2013.

    :param weights: shape: ``(num_entities,)``, finite and non-negative; or ``(2, num_entities)``: the weights for
        replaced heads, and for replaced tails
    :param options: the arguments of :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if weights have another shape, are negative, infinite or NaN, or all zero

    >>> corruptor = PopularityCorruptor(torch.tensor([0.0, 2.0, 0.0, 5.0]), num_entities=4, num_relations=1, seed=0)
    >>> corruptor(torch.tensor([[0, 0, 1]]), 8).entity.unique().tolist()
    [1, 3]
    """

    citation: ClassVar[str] = "Mikolov et al., NIPS 2013"
    log_weights: FloatTensor

    def __init__(self, weights: torch.Tensor, **options: Any) -> None:
        super().__init__(**options)
        weights = _check_weights(weights, self.num_entities)
        rows, members = weights.nonzero(as_tuple=True)
        self.pools = CandidateIndex.from_pairs(
            rows, members, num_rows=len(weights), num_columns=self.num_entities, weights=weights[rows, members]
        )
        #: shape: ``(1 or 2, num_entities)``, float32, the logarithms of the probabilities of the proposals
        self.register_buffer("log_weights", (weights / weights.sum(-1, keepdim=True)).log().float())

    @classmethod
    def from_triples(
        cls,
        triples: LongTensor,
        *,
        num_entities: int,
        num_relations: int,
        alpha: float = 0.75,
        smoothing: float = 1.0,
        counts: str = "end",
        **options: Any,
    ) -> PopularityCorruptor:
        """Count the entities of a knowledge graph and build the corruptor.

        :param triples: shape: ``(m, 3)``, the training triples
        :param num_entities: the number of entities
        :param num_relations: the number of relations
        :param alpha: see :func:`popularity_weights`
        :param smoothing: see there
        :param counts: see :func:`count_entities`
        :param options: the other arguments of :class:`~kgneg.core.corruption.Corruptor`
        :returns: the corruptor
        """
        triples = validate_triples(triples, num_entities, num_relations)
        counted = count_entities(triples, num_entities, counts=counts)
        weights = popularity_weights(counted, alpha=alpha, smoothing=smoothing)
        return cls(weights, num_entities=num_entities, num_relations=num_relations, **options)

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Propose entities by their weights.

        :param queries: the pairs that need replacements
        :param n: the number of proposals per query
        :param generator: the source of randomness
        :returns: ids and hits of shape ``(q, n)``, all of them real
        """
        at_tail = (queries.side == TAIL).long()
        return self.pools.sample(at_tail if self.pools.num_rows > 1 else torch.zeros_like(at_tail), n, generator)

    def log_proposal(self, ids: LongTensor, side: int = TAIL) -> FloatTensor:
        """Return the logarithm of the probability that an entity is proposed, whatever the query.

        :param ids: shape: ``(*)``, entities
        :param side: the end that is replaced, 0 or 2
        :returns: shape: ``(*)``, float32; minus infinity for an entity of weight zero

        >>> corruptor = PopularityCorruptor(torch.tensor([1.0, 3.0]), num_entities=2, num_relations=1)
        >>> corruptor.log_proposal(torch.tensor([1])).exp().tolist()
        [0.75]
        """
        row = 0 if side == HEAD or len(self.log_weights) == 1 else 1
        return self.log_weights[row][ids]


def count_entities(triples: LongTensor, num_entities: int, *, counts: str = "end") -> LongTensor:
    """Count how often each entity occurs in triples.

    :param triples: shape: ``(m, 3)``, ids in range
    :param num_entities: the number of entities
    :param counts: ``"end"`` counts heads and tails apart, for the two ends that are replaced; ``"both"`` together
    :returns: shape: ``(2, num_entities)``, heads and tails, or ``(num_entities,)``; int64
    :raises InvalidInputError: if ``counts`` is unknown

    >>> count_entities(torch.tensor([[0, 0, 1], [0, 0, 2]]), 3).tolist()
    [[2, 0, 0], [0, 1, 1]]
    """
    choose("counts", counts, ("end", "both"))
    ends = torch.stack([torch.bincount(triples[:, end], minlength=num_entities) for end in (HEAD, TAIL)])
    return ends if counts == "end" else ends.sum(0)


def popularity_weights(counts: torch.Tensor, *, alpha: float = 0.75, smoothing: float = 1.0) -> FloatTensor:
    r"""Turn counts into weights, :math:`(c + s)^\alpha`.

    :param counts: shape: ``(*)``, how often each entity occurs
    :param alpha: at least 0; 0 makes all weights equal, 1 is in proportion to the counts
    :param smoothing: at least 0; with more than 0, an entity that never occurs has a positive weight
    :returns: shape: ``(*)``, float64
    :raises InvalidInputError: if a value is out of range

    >>> popularity_weights(torch.tensor([0, 3]), alpha=0.5).tolist()
    [1.0, 2.0]
    """
    for name, value in (("alpha", alpha), ("smoothing", smoothing)):
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value < 0:
            raise InvalidInputError(f"{name} must be a finite number of at least 0, got {value!r}")
    wrong = ~(counts >= 0)
    if bool(wrong.any()):
        raise InvalidInputError(f"counts must not be negative or NaN, got {counts[wrong][0].item()}")
    return (counts.double() + smoothing) ** alpha


def _check_weights(weights: torch.Tensor, num_entities: int) -> FloatTensor:
    """Return weights as float64 of shape ``(1 or 2, num_entities)``, with a positive and finite sum in each row."""
    if not isinstance(weights, torch.Tensor) or weights.is_complex() or weights.dtype == torch.bool:
        found = weights.dtype if isinstance(weights, torch.Tensor) else type(weights).__name__
        raise InvalidInputError(f"weights must be a tensor of numbers, got {found}")
    if weights.shape not in ((num_entities,), (1, num_entities), (2, num_entities)):
        raise InvalidInputError(
            f"weights must have shape ({num_entities},), one per entity, or (2, {num_entities}) for heads and tails; "
            f"got {tuple(weights.shape)}"
        )
    rows = weights.detach().double().reshape(-1, num_entities)
    wrong = (~(rows >= 0) | rows.isinf()).nonzero()
    if len(wrong):
        row, entity = wrong[0].tolist()
        raise InvalidInputError(
            f"the weight of entity {entity} is {float(rows[row, entity])}: weights must be finite and not negative"
        )
    totals = rows.sum(-1)
    wrong = (~((totals > 0) & totals.isfinite())).nonzero()
    if len(wrong):
        raise InvalidInputError(
            f"row {int(wrong[0])} of the weights sums to {float(totals[wrong[0]])}: the sum must be positive and "
            "finite. Raise the smoothing where nothing was counted, or scale the weights down."
        )
    return rows
