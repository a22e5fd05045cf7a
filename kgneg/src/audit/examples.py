"""The worst negatives of a sampler: the most plausible ones."""

from __future__ import annotations

from typing import NamedTuple

from kgneg.core.typing import FloatTensor, LongTensor

__all__ = ["Example", "Worst"]

_POOL = 8  # how many times as many as asked for are looked at, since some repeat


class Example(NamedTuple):
    """A negative and the positive that it was made of."""

    triple: tuple[int, int, int]
    positive: tuple[int, int, int]
    score: float


class Worst:
    """The distinct negatives with the highest scores, of all that pass by.

    :param number: how many

    >>> import torch
    >>> worst = Worst(1)
    >>> worst.add(torch.tensor([[0, 0, 1], [0, 0, 2]]), torch.tensor([[0, 0, 3], [0, 0, 3]]), torch.tensor([1.0, 2.0]))
    >>> worst.best()[0].triple
    (0, 0, 2)
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._found: dict[tuple[int, ...], Example] = {}

    def add(self, triples: LongTensor, positives: LongTensor, scores: FloatTensor) -> None:
        """Look at some negatives.

        :param triples: shape: ``(n, 3)``
        :param positives: shape: ``(n, 3)``, those that they were made of
        :param scores: shape: ``(n,)``
        """
        if not self.number or not len(triples):
            return
        size = _POOL * self.number
        while True:  # until there are enough distinct ones
            order = scores.topk(min(len(scores), size)).indices
            rows = zip(triples[order].tolist(), positives[order].tolist(), scores[order].tolist(), strict=True)
            new = {tuple(triple): Example(tuple(triple), tuple(made_of), score) for triple, made_of, score in rows}
            if len(new) >= self.number or size >= len(scores):
                break
            size *= _POOL
        self._found = {**new, **self._found}
        self._found = {one.triple: one for one in self.best()}

    def best(self) -> list[Example]:
        """Return the negatives with the highest scores, the highest first; ties go by ids."""
        return sorted(self._found.values(), key=lambda one: (-one.score, one.triple))[: self.number]
