"""Batches of texts of about the same length, for the trainer of sentence-transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from kgneg.core.seeding import mix_seeds

__all__ = ["LengthBatches"]

_POOL = 24  # batches that are sorted together


class LengthBatches:
    """Makes batches of rows of about the same length: ``SentenceTransformerTrainingArguments(batch_sampler=...)``.

    Rows are shuffled, and those of a stretch of some batches sorted by length: there is little padding, and the rows of
    a batch are others in every epoch.

    :param lengths: the length of each row

    >>> batches = LengthBatches([5, 1, 5, 1])(None, batch_size=2, drop_last=False, seed=0)
    >>> sorted(sorted(one) for one in batches)
    [[0, 2], [1, 3]]
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = [int(one) for one in lengths]

    def __call__(self, dataset: Any, **options: Any) -> Any:
        """Return the batch sampler that the trainer asks for.

        :param dataset: the rows
        :param options: what the trainer gives: ``batch_size``, ``drop_last``, ``seed`` and others
        """
        from sentence_transformers.base.sampler import DefaultBatchSampler

        size = torch.tensor(self.lengths)

        class Sampler(DefaultBatchSampler):
            def __iter__(self) -> Iterator[list[int]]:
                generator = torch.Generator().manual_seed(mix_seeds(self.seed, self.epoch))
                order = torch.randperm(len(size), generator=generator)
                batches: list[list[int]] = []
                for stretch in torch.split(order, _POOL * self.batch_size):
                    ranked = stretch[size[stretch].argsort(stable=True)]
                    batches += [one.tolist() for one in torch.split(ranked, self.batch_size)]
                if self.drop_last:
                    batches = [one for one in batches if len(one) == self.batch_size]
                for number in torch.randperm(len(batches), generator=generator).tolist():
                    yield batches[number]

            def __len__(self) -> int:
                whole, rest = divmod(len(size), self.batch_size)
                return whole + bool(rest and not self.drop_last)

        return Sampler(dataset, **options)
