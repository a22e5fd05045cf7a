"""Epochs of batches: every triple exactly once, with and without worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pykeen.sampling import BasicNegativeSampler, NegativeSampler
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from kgneg.core.distributed import broadcast_number, part_of_batch, rank, seed_for_rank, world_size
from kgneg.core.typing import LongTensor
from kgneg.core.validation import validate_count
from kgneg.integrations.pykeen.base import KgnegNegativeSampler
from kgneg.integrations.pykeen.training.batch import TrainingBatch, draw_batch
from kgneg.integrations.pykeen.training.sharing import check_sharing, draw_shared_batch

__all__ = ["EpochBatches"]


class _Share(IterableDataset[TrainingBatch]):
    """What one worker process draws of an epoch: every ``num_workers``-th batch."""

    def __init__(self, epochs: EpochBatches, seed: int) -> None:
        self.epochs, self.seed = epochs, seed

    def __iter__(self) -> Iterator[TrainingBatch]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        torch.set_num_threads(1)
        for ids in self.epochs.batch_ids(self.seed)[first::step]:
            yield self.epochs.draw(ids)


def _as_it_is(batch: Any) -> Any:
    return batch


class EpochBatches:
    """Iterates over the batches of an epoch; each iteration is a new shuffle of all triples.

    Without workers, triples, batches and negatives are made on the device of the model. With workers, each draws every
    ``num_workers``-th batch of the same shuffle, on the CPU.

    The shuffle of an epoch, and the numbers that it takes from torch's global stream, are those of PyKEEN's own loader.

    :param mapped_triples: shape: ``(m, 3)``, the training triples, with inverse triples if there are any
    :param sampler: the sampler
    :param batch_size: the number of positives per batch
    :param drop_last: whether to leave out the last batch when it is smaller
    :param device: the device of the model
    :param num_workers: the number of worker processes; 0 draws in this process
    :param loss_weighter: PyKEEN's weighter of triples, if any
    :param shared: how many positives share their negatives; ``None``: each has its own
    """

    def __init__(
        self,
        mapped_triples: LongTensor,
        sampler: NegativeSampler,
        *,
        batch_size: int,
        drop_last: bool,
        device: torch.device,
        num_workers: int = 0,
        loss_weighter: Any = None,
        shared: int | None = None,
    ) -> None:
        self.shared = None if shared is None else validate_count("shared", shared)
        if shared is not None:
            check_sharing(sampler)
        self.batch_size = validate_count("batch_size", batch_size)
        self.num_workers = validate_count("num_workers", num_workers, 0)
        self.drop_last = drop_last
        self.rank, self.world = rank(), world_size()
        self.loss_weighter = loss_weighter
        self.device = torch.device("cpu") if num_workers else device
        self.triples = mapped_triples.to(self.device)
        #: where the sampler works: those of kgneg and PyKEEN's basic one on any device, others where they were made
        self.movable = type(sampler) is BasicNegativeSampler or isinstance(sampler, KgnegNegativeSampler)
        self.sampler = sampler.to(self.device) if self.movable else sampler

    def __len__(self) -> int:
        whole, rest = divmod(len(self.triples), self.batch_size)
        return whole + bool(rest and not self.drop_last)

    def __iter__(self) -> Iterator[TrainingBatch]:
        # PyKEEN draws two numbers per epoch: one for its loader, one for the shuffle
        torch.empty((), dtype=torch.int64).random_()
        seed = broadcast_number(int(torch.empty((), dtype=torch.int64).random_()))
        if not self.num_workers:
            yield from map(self.draw, self.batch_ids(seed))
            return
        generator = torch.Generator().manual_seed(seed_for_rank(seed))  # the workers of each process draw their own
        yield from DataLoader(
            _Share(self, seed),
            batch_size=None,
            num_workers=self.num_workers,
            generator=generator,
            collate_fn=_as_it_is,  # the usual one makes a plain dictionary
        )

    def batch_ids(self, seed: int) -> list[LongTensor]:
        """Return the ids of the triples of each batch of an epoch.

        :param seed: the seed of the shuffle
        :returns: one tensor of ids per batch
        """
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randperm(len(self.triples), generator=generator).to(self.device)
        batches = list(torch.split(ids, self.batch_size))
        if self.drop_last and batches and len(batches[-1]) < self.batch_size:
            batches.pop()
        return batches

    def draw(self, ids: LongTensor) -> TrainingBatch:
        """Draw the negatives of some triples.

        :param ids: shape: ``(b,)``, positions of triples
        :returns: the batch, or the part of it that falls to this process
        """
        mine = ids[part_of_batch(len(ids), self.rank, self.world)]
        batch = self._drawn(self.triples.index_select(0, mine))
        batch.weight = len(mine) / len(ids)
        return batch

    def _drawn(self, positives: LongTensor) -> TrainingBatch:
        if self.shared is not None:
            return draw_shared_batch(self.sampler, positives, self.shared, self.loss_weighter)
        if self.movable or positives.device.type == "cpu":
            return draw_batch(self.sampler, positives, self.loss_weighter)
        return draw_batch(self.sampler, positives.cpu(), self.loss_weighter).to(positives.device)
