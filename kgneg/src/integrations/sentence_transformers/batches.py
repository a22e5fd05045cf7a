"""Batches of texts of about the same length, for the trainer of sentence-transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import BatchSampler

from kgneg.core.seeding import mix_seeds

__all__ = ["LengthBatches"]

_POOL = 24  # batches that are sorted together


class LengthBatches(BatchSampler):
    """Makes batches of rows of about the same length.

    Rows are shuffled, and those of a stretch of some batches sorted by length: there is little padding, and the rows of
    a batch are others in every epoch.

    :param lengths: the length of each row
    :param batch_size: rows per batch
    :param drop_last: whether a smaller last batch is left out
    :param seed: the seed of the order

    >>> sorted(sorted(one) for one in LengthBatches([5, 1, 5, 1], 2))
    [[0, 2], [1, 3]]
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, drop_last: bool = False, seed: int = 0) -> None:
        super().__init__(range(len(lengths)), batch_size, drop_last)
        self.lengths = torch.as_tensor(lengths)
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Take the order of an epoch.

        :param epoch: its number
        """
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, self.epoch))
        order = torch.randperm(len(self.lengths), generator=generator)
        batches: list[list[int]] = []
        for stretch in torch.split(order, _POOL * self.batch_size):
            ranked = stretch[self.lengths[stretch].argsort(stable=True)]
            batches += [one.tolist() for one in torch.split(ranked, self.batch_size)]
        if self.drop_last:
            batches = [one for one in batches if len(one) == self.batch_size]
        for number in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[number]

    def __len__(self) -> int:
        whole, rest = divmod(len(self.lengths), self.batch_size)
        return whole + bool(rest and not self.drop_last)
