"""What the methods that look at a model share: pools of candidates, and which of them may be chosen."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np
import torch

from kgneg.core.corruption import Corruptor, Queries
from kgneg.core.draws import draw_below
from kgneg.core.errors import InvalidInputError
from kgneg.core.masks import equal_ids, flat_nonzero
from kgneg.core.typing import BoolTensor, FloatTensor, IntTensor, LongTensor
from kgneg.core.validation import validate_count, validate_share

__all__ = ["Screen", "Slots", "choose_highest", "draw_pool", "excluded", "validate_finite", "without_repeats"]

_NEVER = -math.inf


class Screen:
    """Which candidates are too plausible to be taken for negatives.

    :param skip_top: how many of the candidates with the highest scores are left out
    :param ceiling: candidates are left out whose score exceeds that of the positive by more; ``None``: none
    :param share: the share of the slots that the method fills; the others are uniform
    :raises InvalidInputError: if a value is out of range
    """

    def __init__(self, *, skip_top: int = 0, ceiling: float | None = None, share: float = 1.0) -> None:
        self.skip_top = validate_count("skip_top", skip_top, 0)
        self.ceiling = None if ceiling is None else validate_finite("ceiling", ceiling)
        self.share = validate_share("share", share)

    def __call__(self, scores: FloatTensor, positive: FloatTensor | None) -> FloatTensor:
        """Set the scores of what must not be chosen to minus infinity, in place.

        :param scores: shape: ``(q, m)``, minus infinity where a candidate was excluded before
        :param positive: shape: ``(q, 1)``, the scores of the positives; needed with a ceiling
        :returns: the scores
        """
        if self.skip_top:
            best = scores.topk(min(self.skip_top, scores.shape[-1]), dim=-1).indices
            scores.scatter_(-1, best, _NEVER)
        if self.ceiling is not None and positive is not None:
            scores.masked_fill_(scores > positive + self.ceiling, _NEVER)
        return scores


def validate_finite(name: str, value: float, minimum: float = -math.inf) -> float:
    """Return ``value`` as a float if it is a finite number that is large enough.

    :param name: what the value is called in the message
    :param value: the value
    :param minimum: the smallest allowed value
    :returns: the value as a float
    :raises InvalidInputError: if it is not
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value < minimum:
        least = "" if minimum == -math.inf else f" of at least {minimum:g}"
        raise InvalidInputError(f"{name} must be a finite number{least}, got {value!r}")
    return float(value)


class Slots:
    """The slots of queries, where equal queries that follow each other are taken as one.

    A side policy that splits unevenly asks one query per negative; a method that scores a pool for a query would do
    the same work for each of them.

    :param queries: ``q`` queries
    :param n: the number of slots of each
    """

    def __init__(self, queries: Queries, n: int) -> None:
        self.queries, self.n = queries, n
        parts = (queries.side, queries.kept, queries.replaced, queries.relation)
        first = torch.ones(len(queries), dtype=torch.bool, device=queries.kept.device)
        if len(queries) > 1:
            same = equal_ids(parts[0][1:], parts[0][:-1])
            for part in parts[1:]:
                same &= equal_ids(part[1:], part[:-1])
            torch.logical_not(same, out=first[1:])
        starts = flat_nonzero(first)
        self.merged = len(starts) < len(queries)
        #: the distinct queries
        self.groups = queries[starts] if self.merged else queries
        self._first, self._starts = first, starts

    def group(self) -> LongTensor:
        """Return the group of each query, shape ``(q,)``."""
        if not self.merged:
            return torch.arange(len(self.queries), device=self._first.device)
        return self._first.long().cumsum(0) - 1

    def number(self) -> LongTensor:
        """Return the number of slots of each group, shape ``(g,)``."""
        if not self.merged:
            return torch.full_like(self._starts, self.n)
        ends = torch.cat([self._starts[1:], self._starts.new_tensor([len(self.queries)])])
        return (ends - self._starts) * self.n

    def place(self) -> LongTensor:
        """Return the position of each slot within its group, ``(q, n)``, or ``(1, n)`` if all are alike."""
        slots = torch.arange(self.n, device=self._first.device)[None]
        if not self.merged:
            return slots
        return (torch.arange(len(self.queries), device=slots.device) - self._starts[self.group()])[
            :, None
        ] * self.n + slots

    def hard(self, share: float, generator: torch.Generator) -> LongTensor:
        """Return how many slots of each group the method fills, shape ``(g,)``.

        A share that is no whole number of slots is rounded up or down at random, such that its mean is right.

        :param share: the share of the method
        :param generator: the source of randomness
        :returns: shape: ``(g,)``
        """
        number = self.number()
        if share == 1.0:
            return number
        draw = torch.rand(len(number), generator=generator, device=number.device, dtype=torch.float64)
        return torch.minimum((number * share + draw).long(), number)


def without_repeats(ids: IntTensor) -> tuple[IntTensor, BoolTensor]:
    """Sort each row, and say which of its values stand there before.

    :param ids: shape: ``(q, m)``, int32
    :returns: the sorted ids, and where one equals its left neighbour, both of shape ``(q, m)``

    >>> without_repeats(torch.tensor([[3, 1, 3]], dtype=torch.int32))[1].tolist()
    [[False, False, True]]
    """
    on_cpu = ids.device.type == "cpu"  # NumPy sorts short rows several times faster
    ids = torch.from_numpy(np.sort(ids.numpy(), axis=-1)) if on_cpu else ids.sort(dim=-1).values
    repeated = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)
    repeated[:, 1:] = equal_ids(ids[:, 1:], ids[:, :-1])
    return ids, repeated


def draw_pool(
    num_entities: int, shape: tuple[int, int], generator: torch.Generator
) -> tuple[IntTensor, BoolTensor | None]:
    """Draw distinct candidates for each row, or take all entities where there are no more.

    :param num_entities: the number of entities
    :param shape: rows, and candidates of each
    :param generator: the source of randomness
    :returns: ids of shape ``(q, m)``, and which of them are repeated (``None``: none)
    """
    rows, m = shape
    if m >= num_entities:
        return torch.arange(num_entities, dtype=torch.int32, device=generator.device).expand(rows, -1), None
    return without_repeats(draw_below(num_entities, shape, generator, generator.device))


def excluded(corruptor: Corruptor, queries: Queries, ids: IntTensor) -> BoolTensor:
    """Return which candidates are the replaced entity, make a known triple, or break a constraint.

    :param corruptor: whose index and constraints count
    :param queries: ``q`` queries
    :param ids: shape: ``(q, m)``
    :returns: shape: ``(q, m)``
    """
    wrong = corruptor.forbidden(queries, ids)
    for constraint in corruptor.constraints:
        wrong |= ~constraint(queries, ids)
    return wrong


def choose_highest(
    scores: FloatTensor, n: int, temperature: float, generator: torch.Generator
) -> tuple[LongTensor, BoolTensor]:
    r"""Choose candidates by their scores, without replacement.

    With a temperature :math:`T` the candidates are drawn one after the other, each time with probabilities proportional
    to :math:`\exp(s / T)`: that is what the highest sums of :math:`s / T` and standard Gumbel noise are.

    :param scores: shape: ``(q, m)``, minus infinity for what must not be chosen
    :param n: how many to choose; at most ``m`` are
    :param temperature: 0 takes the highest scores
    :param generator: the source of randomness
    :returns: positions of shape ``(q, min(n, m))``, in the order of the choice, and which of them are real

    >>> choose_highest(torch.tensor([[1.0, 5.0, -torch.inf]]), 3, 0.0, torch.Generator())[1].tolist()
    [[True, True, False]]
    """
    if temperature:
        noise = torch.empty_like(scores).exponential_(generator=generator).log_()
        scores = scores / temperature - noise
    values, positions = scores.topk(min(n, scores.shape[-1]), dim=-1)
    return positions, values != _NEVER
