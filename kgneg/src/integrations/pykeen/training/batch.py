"""A batch of positives with negatives that know which end was replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from pykeen.sampling import BasicNegativeSampler, NegativeSampler

from kgneg.core.negatives import Negatives
from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, FloatTensor, LongTensor
from kgneg.integrations.pykeen.base import KgnegNegativeSampler
from kgneg.integrations.pykeen.training.versions import group_triples

__all__ = ["Shared", "Sided", "TrainingBatch", "draw_batch"]


class Shared(NamedTuple):
    """Negatives of which each chunk of positives has a pool, for one end.

    :param pools: shape: ``(ceil(b / chunk), n)``, int64, the entities that are put in
    :param chunk: how many positives share a pool; the last chunk may be smaller
    :param head_rows: the heads of the first so many positives are replaced, and the tails of the others; where both
        are, a multiple of ``chunk``
    """

    pools: LongTensor
    chunk: int
    head_rows: int

    def part(self, start: int, rows: int) -> Shared | None:
        """Return what some positives share.

        :param start: the first of them
        :param rows: how many they are
        :returns: their pools; ``None`` if they begin within a chunk
        """
        if start % self.chunk:
            return None
        pools = self.pools[start // self.chunk : -(-(start + rows) // self.chunk)]
        return Shared(pools, self.chunk, min(max(self.head_rows - start, 0), rows))

    def spans(self, rows: int) -> list[tuple[int, int, int]]:
        """Divide the positives into stretches of whole chunks, or of one that is cut, for one end each.

        :param rows: the number of positives
        :returns: how many positives a stretch has, how many pools, and 0 if heads are replaced or 1 for tails
        """
        found = []
        for end, size in ((0, self.head_rows), (1, rows - self.head_rows)):
            whole, rest = divmod(size, self.chunk)
            found += [(whole * self.chunk, whole, end), (rest, 1, end)]
        return [span for span in found if span[0]]


class Sided:
    """Negatives of which each replaces one end of its positive; in each row those that replace the head come first.

    :param entity: shape: ``(b, n)``, int64, the entities that were put in
    :param heads: how many of each row replace the head: one number, or shape ``(b,)``
    :param order: shape: ``(b, n)``, int64, where in its row each negative stood originally; ``None``: as it stands
    :param shared: what the positives share, if they do
    """

    def __init__(
        self,
        entity: LongTensor,
        heads: int | LongTensor,
        order: LongTensor | None = None,
        shared: Shared | None = None,
    ) -> None:
        self.entity, self.heads, self.order = entity, heads, order
        self.shared = shared

    def rows(self, rows: LongTensor) -> Sided:
        """Return some rows, without what they share.

        :param rows: shape: ``(k,)``
        :returns: the rows
        """
        heads = self.heads if isinstance(self.heads, int) else self.heads[rows]
        return Sided(self.entity[rows], heads, None if self.order is None else self.order[rows])

    def __getitem__(self, part: slice) -> Sided:
        heads = self.heads if isinstance(self.heads, int) else self.heads[part]
        order = None if self.order is None else self.order[part]
        entity = self.entity[part]
        shared = None if self.shared is None else self.shared.part(part.start or 0, len(entity))
        return Sided(entity, heads, order, shared)

    @classmethod
    def from_pools(cls, shared: Shared, rows: int) -> Sided:
        """Give the same negatives to each chunk of positives.

        :param shared: the pools
        :param rows: the number of positives
        :returns: the negatives by side
        """
        pools = shared.pools
        entity = pools.repeat_interleave(shared.chunk, dim=0)[:rows]
        at_head = torch.arange(rows, device=pools.device) < shared.head_rows
        return cls(entity, at_head * pools.shape[-1], None, shared)

    @property
    def counts(self) -> LongTensor:
        """How many candidates each query has, shape ``(2 b,)``: of the head, then of the tail of each positive."""
        rows, n = self.entity.shape
        heads = self.heads
        if isinstance(heads, int):
            return torch.tensor([heads, n - heads], device=self.entity.device).repeat(rows)
        return torch.stack([heads, n - heads], dim=-1).view(-1)

    def restore(self, scores: FloatTensor) -> FloatTensor:
        """Put scores back into the order in which the sampler gave the negatives.

        :param scores: shape: ``(b, n)``, in the order of :attr:`entity`
        :returns: shape: ``(b, n)``
        """
        return scores if self.order is None else torch.empty_like(scores).scatter(-1, self.order, scores)

    @classmethod
    def from_negatives(cls, negatives: Negatives) -> Sided:
        """Take over what a corruptor drew.

        :param negatives: the negatives of a batch, shape ``(b, n)``
        :returns: the same, heads first
        """
        if negatives.heads is not None:
            return cls(negatives.entity.long(), negatives.heads)
        if negatives.side.stride(-1) == 0:  # one end in each row
            at_head = negatives.side[:, 0] == HEAD
            return cls(negatives.entity.long(), at_head * negatives.n)
        return cls.from_sides(negatives.entity.long(), negatives.side == HEAD)

    @classmethod
    def from_sides(cls, entity: LongTensor, at_head: BoolTensor) -> Sided:
        """Sort each row by side.

        :param entity: shape: ``(b, n)``
        :param at_head: shape: ``(b, n)``, whether the head was replaced
        :returns: the same, heads first
        """
        heads = at_head.sum(-1)
        if entity.shape[-1] == 1 or not bool((at_head[:, 1:] & ~at_head[:, :-1]).any()):
            return cls(entity, heads)
        order = torch.argsort(at_head, dim=-1, descending=True, stable=True)
        return cls(entity.gather(-1, order), heads, order)

    @classmethod
    def from_triples(cls, positives: LongTensor, negatives: LongTensor) -> Sided | None:
        """Find out which end was replaced.

        :param positives: shape: ``(b, 3)``
        :param negatives: shape: ``(b, n, 3)``
        :returns: the negatives by side; ``None`` if a relation or both ends of a triple were replaced
        """
        differs = negatives != positives.unsqueeze(1)
        at_head = differs[..., HEAD]
        if bool((differs[..., RELATION] | (at_head & differs[..., TAIL])).any()):
            return None
        return cls.from_sides(torch.where(at_head, negatives[..., HEAD], negatives[..., TAIL]), at_head)

    @classmethod
    def from_basic(cls, negatives: LongTensor) -> Sided:
        """Read what PyKEEN's basic sampler gives: the first half of the flattened batch replaces heads, the rest tails.

        :param negatives: shape: ``(b, n, 3)``
        :returns: the negatives by side
        """
        rows, n, _ = negatives.shape
        flat, split = negatives.view(-1, 3), (rows * n + 1) // 2
        entity = torch.cat([flat[:split, HEAD], flat[split:, TAIL]]).view(rows, n)
        heads = (split - n * torch.arange(rows, device=negatives.device)).clamp_(0, n)
        return cls(entity, heads)


class TrainingBatch(Mapping[str, torch.Tensor]):
    """A batch as PyKEEN's callbacks know it; negatives are made into triples when somebody looks at them.

    Its keys are ``positives``, ``negatives`` and, if there are any, ``masks``, ``pos_weights`` and ``neg_weights``.

    :param positives: shape: ``(b, 3)``
    :param sided: the negatives by side; ``None`` if they cannot be put that way
    :param triples: shape: ``(b, n, 3)``, the negatives as triples; ``None`` makes them from ``sided``
    :param mask: shape: ``(b, n)``, which negatives count; ``None``: all
    :param pos_weights: shape: ``(b,)``, weights of the positives
    :param neg_weights: shape: ``(b, n)``, weights of the negatives
    """

    def __init__(
        self,
        positives: LongTensor,
        sided: Sided | None,
        triples: LongTensor | None,
        mask: BoolTensor | None = None,
        pos_weights: FloatTensor | None = None,
        neg_weights: FloatTensor | None = None,
    ) -> None:
        self.positives, self.sided, self._triples = positives, sided, triples
        self.mask, self.pos_weights, self.neg_weights = mask, pos_weights, neg_weights
        #: the share of the batch that this is, when several processes share it
        self.weight = 1.0

    @property
    def triples(self) -> LongTensor:
        """The negatives as triples, shape ``(b, n, 3)``."""
        if self._triples is None:
            if self.sided is None:
                raise ValueError("a batch needs its negatives by side or as triples, got neither")
            self._triples = _triples(self.positives, self.sided)
        return self._triples

    @property
    def num_negatives(self) -> int:
        """The number of negatives per positive."""
        return (self.triples if self.sided is None else self.sided.entity).shape[1]

    def part(self, start: int | None, stop: int | None) -> TrainingBatch:
        """Return some rows.

        :param start: the first row
        :param stop: the row after the last
        :returns: the rows
        """
        if start in (None, 0) and (stop is None or stop >= len(self.positives)):
            return self
        rows = slice(start, stop)

        def cut(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor[rows]

        return TrainingBatch(
            self.positives[rows],
            None if self.sided is None else self.sided[rows],
            cut(self._triples),
            cut(self.mask),
            cut(self.pos_weights),
            cut(self.neg_weights),
        )

    def to(self, device: torch.device) -> TrainingBatch:
        """Return the batch on another device.

        :param device: the device
        :returns: the batch itself if it is there
        """
        if self.positives.device == device:
            return self

        def move(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        sided = self.sided
        if sided is not None:
            heads = sided.heads if isinstance(sided.heads, int) else sided.heads.to(device, non_blocking=True)
            shared = sided.shared
            if shared is not None:
                shared = shared._replace(pools=shared.pools.to(device, non_blocking=True))
            sided = Sided(sided.entity.to(device, non_blocking=True), heads, move(sided.order), shared)
        tensors = map(move, (self._triples, self.mask, self.pos_weights, self.neg_weights))
        return TrainingBatch(self.positives.to(device, non_blocking=True), sided, *tensors)

    def pin_memory(self) -> TrainingBatch:
        """Return the batch itself: it is small, and pinning it would make its triples."""
        return self

    @classmethod
    def from_mapping(cls, batch: Mapping[str, torch.Tensor]) -> TrainingBatch:
        """Take over a batch of PyKEEN's own loader.

        :param batch: with the keys ``positives``, ``negatives`` and perhaps ``masks``, ``pos_weights`` and
            ``neg_weights``; or, as PyKEEN after 1.11 has it, ``corruptions`` by target in the place of ``negatives``
        :returns: the batch
        """
        if isinstance(batch, cls):
            return batch
        if "corruptions" in batch:
            batch = group_triples(batch)
        positives, negatives = batch["positives"], batch["negatives"]
        sided = Sided.from_triples(positives, negatives)
        weights = (batch.get(name) for name in ("masks", "pos_weights", "neg_weights"))
        return cls(positives, sided, negatives, *weights)

    def _fields(self) -> dict[str, torch.Tensor | None]:
        return {"masks": self.mask, "pos_weights": self.pos_weights, "neg_weights": self.neg_weights}

    def __getitem__(self, key: str) -> torch.Tensor:
        if key == "positives":
            return self.positives
        if key == "negatives":
            return self.triples
        value = self._fields()[key]
        if value is None:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        yield from ("positives", "negatives")
        yield from (name for name, value in self._fields().items() if value is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def draw_batch(sampler: NegativeSampler, positives: LongTensor, loss_weighter: object = None) -> TrainingBatch:
    """Draw the negatives of a batch.

    :param sampler: any sampler of PyKEEN
    :param positives: shape: ``(b, 3)``, ids that are known to be in range
    :param loss_weighter: PyKEEN's weighter of triples, if any
    :returns: the batch, on the device of the positives
    """
    sided: Sided | None
    triples = mask = None
    if isinstance(sampler, KgnegNegativeSampler) and sampler.filterer is None:
        sided = Sided.from_negatives(sampler.draw(positives, trusted=True))
    else:
        triples, mask = sampler.sample(positive_batch=positives)
        if triples.device != positives.device:
            triples, mask = triples.to(positives.device), None if mask is None else mask.to(positives.device)
        if type(sampler) is BasicNegativeSampler and sampler._corruption_indices == [HEAD, TAIL]:
            sided = Sided.from_basic(triples)
        else:
            sided = Sided.from_triples(positives, triples)
    batch = TrainingBatch(positives, sided, triples, mask)
    if loss_weighter is not None:
        batch.pos_weights = loss_weighter.weight_triples(positives)  # type: ignore[attr-defined]
        batch.neg_weights = loss_weighter.weight_triples(batch.triples)  # type: ignore[attr-defined]
    return batch


def _triples(positives: LongTensor, sided: Sided) -> LongTensor:
    """Return negatives as triples in their original order."""
    rows, n = sided.entity.shape
    heads = sided.heads if isinstance(sided.heads, int) else sided.heads[:, None]
    at_head = (torch.arange(n, device=positives.device) < heads).expand(rows, n)
    triples = positives[:, None].repeat(1, n, 1)
    triples[..., HEAD] = torch.where(at_head, sided.entity, triples[..., HEAD])
    triples[..., TAIL] = torch.where(at_head, triples[..., TAIL], sided.entity)
    if sided.order is None:
        return triples
    return torch.empty_like(triples).scatter(1, sided.order[..., None].expand(-1, -1, 3), triples)
