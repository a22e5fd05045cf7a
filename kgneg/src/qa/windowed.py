"""Adversarial distractors: neither far from the answer nor next to it."""

from __future__ import annotations

from collections import Counter

import torch
from torch.nn.functional import normalize

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.knn import validate_vectors
from kgneg.core.modules import BufferModule
from kgneg.core.negatives import Negatives
from kgneg.core.typing import HEAD, TAIL, FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_count, validate_number

__all__ = ["WindowedDistractors"]

_ROWS = 256


class WindowedDistractors(BufferModule):
    """Keeps of what another method draws what is about as similar to the answer, or to the head, as is wished.

    For each positive some candidates are drawn; those whose cosine lies within the window stay, and some of them are
    taken at random. Where fewer than ``enough`` stay, the lower end of the window goes down step by step, at most
    ``steps`` times; what was only let in by that is flagged, as is what the other method flags. Where still too few
    stay, the most similar ones below the window are taken, and flagged.

    A window in similarity to the right answer also collects answers that are right but not known to be: give it what
    has been drawn under a constraint.

    Source: Ma et al., AAAI 2021.

    :param base: the method that draws candidates, for tails
    :param vectors: shape: ``(entities, d)``, of the phrases
    :param against: ``"answer"`` or ``"head"``
    :param window: the cosines, the lower and the upper end, in ``[-1, 1]``
    :param pool: how many candidates are drawn for a positive; ``None`` takes 50 for answers and 200 for heads
    :param enough: how many candidates are to be in the window
    :param step: how far the lower end goes down at a time
    :param steps: how often it goes down
    :raises InvalidInputError: if a number does not fit
    """

    vectors: FloatTensor

    def __init__(
        self,
        base: Corruptor,
        vectors: FloatTensor,
        *,
        against: str = "answer",
        window: tuple[float, float] = (0.3, 0.4),
        pool: int | None = None,
        enough: int = 10,
        step: float = 0.05,
        steps: int = 8,
    ) -> None:
        super().__init__()
        self.base = base
        self.against = choose("against", against, ("answer", "head"))
        low, high = window
        if not -1 <= low < high <= 1:
            raise InvalidInputError(f"window must be two cosines in ascending order, got {window!r}")
        self.window = low, high
        self.pool = validate_count("pool", (50 if against == "answer" else 200) if pool is None else pool)
        self.enough = validate_count("enough", enough)
        self.step, self.steps = validate_number("step", step, above=True), validate_count("steps", steps, 0)
        self.register_buffer("vectors", normalize(validate_vectors(vectors, base.num_entities), dim=-1))
        #: drawn negatives, and those that were let in by a wider window
        self.counts: Counter[str] = Counter()

    @property
    def num_entities(self) -> int:
        """The number of entities."""
        return self.base.num_entities

    def forward(self, positives: LongTensor, n: int, generator: torch.Generator | None = None) -> Negatives:
        """Draw ``n`` negatives for each positive, all of them at the tail; a candidate may come twice.

        :param positives: shape: ``(b, 3)``
        :param n: the number of negatives per positive
        :param generator: the source of randomness; ``None`` takes that of the other method
        :returns: the negatives, shape ``(b, n)``
        """
        generator = self.base.generators.get(positives.device) if generator is None else generator
        drawn = self.base(positives, max(self.pool, n), generator)
        chance = torch.rand(drawn.entity.shape, generator=generator, device=positives.device)
        own = positives[:, TAIL if self.against == "answer" else HEAD]
        cosine = self._cosine(own, drawn.entity.long())
        low, high = self.window
        below = cosine <= high
        first = below & (cosine >= low)
        inside = first
        for number in range(1, self.steps + 1):
            few = inside.sum(-1, keepdim=True) < self.enough
            inside = torch.where(few, below & (cosine >= low - number * self.step), inside)
        # in the window in random order, then below it, the most similar first, then above it, the least similar first
        rank = torch.where(inside, chance, torch.where(below, 1 + (1 - cosine), 4 + cosine))
        place = rank.argsort(dim=-1)[:, :n]
        relaxed = ~first.gather(-1, place)
        self.counts["drawn"] += relaxed.numel()
        self.counts["relaxed"] += int(relaxed.sum())
        side = torch.full_like(place, TAIL, dtype=torch.int8)
        fallback = drawn.fallback.gather(-1, place) | relaxed
        return Negatives(positives, drawn.entity.gather(-1, place), side, fallback, 0)

    def _cosine(self, own: LongTensor, others: LongTensor) -> FloatTensor:
        """Return cosines of entities with those of their row, in blocks that bound the memory."""
        return torch.cat(
            [
                torch.einsum("bd,bnd->bn", self.vectors[mine], self.vectors[theirs])
                for mine, theirs in zip(torch.split(own, _ROWS), torch.split(others, _ROWS), strict=True)
            ]
        )
