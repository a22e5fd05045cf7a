"""What the methods that look at a model share: pools of candidates, and which of them may be chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from kgneg.core.corruption import Corruptor, Queries
from kgneg.core.draws import draw_below
from kgneg.core.errors import InvalidInputError
from kgneg.core.masks import equal_ids, flat_nonzero
from kgneg.core.typing import BoolTensor, FloatTensor, IntTensor, LongTensor
from kgneg.core.validation import validate_count, validate_share

__all__ = [
    "SCREEN_RANGES",
    "Screen",
    "Slots",
    "Tally",
    "choose_highest",
    "count_true",
    "draw_pool",
    "validate_finite",
    "without_repeats",
]

_NEVER = -math.inf
#: Search ranges of the options of :class:`Screen`. The unit of a ceiling is that of the scores: 0 means the same for
#: all models, and 1 is the margin, or a factor of e in the odds, of the usual losses.
SCREEN_RANGES: Mapping[str, Mapping[str, Any]] = {
    "skip_top": {"type": int, "low": 0, "high": 8},
    "ceiling": {"type": "categorical", "choices": [None, 0.0, 1.0]},
    "share": {"type": float, "low": 0.25, "high": 1.0},
}


def count_true(mask: BoolTensor) -> int | LongTensor:
    """Count where a mask is true, without waiting for the device.

    :param mask: shape: ``(*)``
    :returns: a number on the CPU, elsewhere a tensor without dimensions

    >>> count_true(torch.tensor([True, False, True]))
    2
    """
    return int(np.count_nonzero(mask.numpy())) if mask.device.type == "cpu" else mask.sum()


class Tally(nn.Module):
    """Counts of candidates and slots, added up where the tensors are: reading waits for the device, adding does not.

    A candidate that is left out counts for the first rule that it breaks: ``repeated``, it stands in the pool twice, or
    its place is empty; ``known``, a known triple or the positive itself; ``constrained``, a constraint; ``not_finite``,
    a score of NaN or minus infinity; ``skipped``, ``skip_top``; ``above_ceiling``. All of them are among the
    ``scored``. Of the slots, ``empty_slots`` had no candidate left when they were first asked for, and
    ``repeated_slots`` got one that another slot of the same query had already.

    >>> tally = Tally()
    >>> tally.add("known", torch.tensor(3))
    >>> tally.add("known", 2)
    >>> tally.read()["known"]
    5
    """

    NAMES: ClassVar[tuple[str, ...]] = (
        *("scored", "repeated", "known", "constrained", "not_finite", "skipped", "above_ceiling"),
        *("empty_slots", "repeated_slots"),
    )
    sums: LongTensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sums", torch.zeros(len(self.NAMES), dtype=torch.int64), persistent=False)

    def add(self, name: str, count: int | LongTensor) -> None:
        """Add to a count.

        :param name: one of :attr:`NAMES`
        :param count: how many more
        """
        if isinstance(count, torch.Tensor) and count.device != self.sums.device:
            self.sums = self.sums.to(count.device)
        self.sums[self.NAMES.index(name)] += count

    def count_slots(self, hard: LongTensor, filled: LongTensor, *, repeats: bool = True) -> None:
        """Count slots for which nothing, or less than one candidate each, was left.

        :param hard: shape: ``(g,)``, how many slots of each query the method is to fill
        :param filled: shape: ``(g,)``, how many candidates it has for them
        :param repeats: whether each slot should have a candidate of its own
        """
        empty = filled == 0
        self.add("empty_slots", torch.where(empty, hard, 0).sum())
        if repeats:
            self.add("repeated_slots", torch.where(empty, 0, (hard - filled).clamp_(min=0)).sum())

    def read(self) -> dict[str, int]:
        """Return the counts since construction, or since the last :meth:`clear`."""
        return dict(zip(self.NAMES, self.sums.tolist(), strict=True))

    def clear(self) -> None:
        """Begin again at zero."""
        self.sums.zero_()


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

    def __call__(
        self,
        corruptor: Corruptor,
        queries: Queries,
        ids: IntTensor,
        scores: FloatTensor,
        tally: Tally,
        *,
        void: BoolTensor | None = None,
        positive: FloatTensor | None = None,
    ) -> FloatTensor:
        """Return scores that are minus infinity for what must not be chosen.

        :param corruptor: whose index and constraints count
        :param queries: ``q`` queries
        :param ids: shape: ``(q, m)``, candidates
        :param scores: shape: ``(q, m)``
        :param tally: where it is counted what was left out
        :param void: shape: ``(q, m)``, places without a candidate of their own; ``None``: none
        :param positive: shape: ``(q, 1)``, the scores of the positives; needed with a ceiling
        :returns: shape: ``(q, m)``
        """
        tally.add("scored", ids.numel())
        wrong = torch.zeros_like(ids, dtype=torch.bool) if void is None else void.clone()
        seen = count_true(wrong)
        tally.add("repeated", seen)
        reasons = [("known", corruptor.forbidden(queries, ids))]
        reasons += [("constrained", ~rule(queries, ids)) for rule in corruptor.constraints]
        reasons += [("not_finite", ~(scores > _NEVER))]
        for name, mask in reasons:
            wrong |= mask
            number = count_true(wrong)
            tally.add(name, number - seen)
            seen = number
        scores = scores.masked_fill(wrong, _NEVER)
        if self.skip_top:
            values, best = scores.topk(min(self.skip_top, scores.shape[-1]), dim=-1)
            tally.add("skipped", count_true(values != _NEVER))
            scores.scatter_(-1, best, _NEVER)
        if self.ceiling is not None and positive is not None:
            # a positive whose score is no number has no candidates below it
            above = ~(scores <= positive + self.ceiling) & (scores != _NEVER)
            tally.add("above_ceiling", count_true(above))
            scores.masked_fill_(above, _NEVER)
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

    def first(self, number: LongTensor) -> BoolTensor:
        """Return which slots are among the first so many of their group.

        :param number: shape: ``(g,)``, how many
        :returns: shape: ``(q, n)``
        """
        return self.place() < (number[self.group()] if self.merged else number)[:, None]

    def deal(self, members: IntTensor, filled: LongTensor, generator: torch.Generator) -> tuple[IntTensor, BoolTensor]:
        """Give the members of each group to its slots in order, and then repeat some of them at random.

        :param members: shape: ``(g, m)``, first the real ones
        :param filled: shape: ``(g,)``, how many are real
        :param generator: the source of randomness
        :returns: ids and hits of shape ``(q, n)``; no hit where a group has no members
        """
        if self.merged:
            group = self.group()
            members, filled = members[group], filled[group]
        filled = filled[:, None]
        shape = (len(self.queries), self.n)
        place = self.place().expand(shape)
        again = draw_below(filled, shape, generator, generator.device, largest=members.shape[-1])
        column = torch.where(place < filled, place, again)
        return members.gather(-1, column), (filled > 0).expand(shape)


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
    source: Corruptor | None, queries: Queries, num_entities: int, m: int, generator: torch.Generator
) -> tuple[IntTensor, BoolTensor | None]:
    """Draw candidates for each query, or take all entities where there are no more.

    :param source: what proposes the candidates; ``None`` draws uniformly
    :param queries: ``q`` queries
    :param num_entities: the number of entities
    :param m: how many candidates each query gets
    :param generator: the source of randomness
    :returns: ids of shape ``(q, m)``, and which places have no candidate of their own, because it stands there twice or
        the source had none (``None``: each has one)
    """
    if source is not None:
        ids, hit = source.propose(queries, m, generator)
        ids = ids.int() if hit is None else ids.int().masked_fill(~hit, num_entities)
        ids, void = without_repeats(ids)
        void |= ids == num_entities
        return ids.clamp_(max=num_entities - 1), void
    if m >= num_entities:
        return torch.arange(num_entities, dtype=torch.int32, device=generator.device).expand(len(queries), -1), None
    return without_repeats(draw_below(num_entities, (len(queries), m), generator, generator.device))


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
