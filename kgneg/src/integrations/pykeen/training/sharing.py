"""Negatives that are shared by chunks of positives."""

from __future__ import annotations

import torch
from pykeen.sampling import BasicNegativeSampler, NegativeSampler

from kgneg.core.errors import InvalidInputError
from kgneg.core.queries import Queries
from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, LongTensor
from kgneg.integrations.pykeen.base import KgnegNegativeSampler
from kgneg.integrations.pykeen.training.batch import Shared, Sided, TrainingBatch

__all__ = ["check_sharing", "draw_shared_batch"]


def check_sharing(sampler: NegativeSampler) -> None:
    """Check that negatives of a sampler can be shared.

    :param sampler: the sampler
    :raises InvalidInputError: if they cannot
    """
    ours = isinstance(sampler, KgnegNegativeSampler) and sampler.filterer is None
    basic = type(sampler) is BasicNegativeSampler and sampler.filterer is None
    if not ours and not (basic and sampler._corruption_indices == [HEAD, TAIL]):
        raise InvalidInputError(
            "shared negatives need a sampler of kgneg without filterer, or PyKEEN's unfiltered basic one for heads and "
            f"tails, got {type(sampler).__name__}: leave out shared, or take another sampler"
        )
    if isinstance(sampler, KgnegNegativeSampler) and sampler.corruptor.sides.policy == "bernoulli":
        raise InvalidInputError(
            "shared negatives replace heads and tails equally often for all relations, but the sides of "
            f"{type(sampler).__name__} are 'bernoulli': leave out shared, or take other sides"
        )


def draw_shared_batch(
    sampler: NegativeSampler, positives: LongTensor, chunk: int, loss_weighter: object = None
) -> TrainingBatch:
    """Draw one pool of negatives for each chunk of positives.

    A pool replaces one end: heads in the first half of the chunks, tails in the others (side policies ``uniform`` and
    ``single``), or what the side policy of the sampler says. Each entity of a pool is drawn as a negative for one
    positive of the chunk. For the others of the chunk it is masked where it is the entity that it replaces or, with a
    sampler that excludes known triples, where it makes one.

    :param sampler: the sampler; its ``num_negs_per_pos`` is the size of a pool
    :param positives: shape: ``(b, 3)``, ids that are known to be in range
    :param chunk: the number of positives that share a pool
    :param loss_weighter: PyKEEN's weighter of triples, if any
    :returns: the batch
    """
    rows, n, device = len(positives), sampler.num_negs_per_pos, positives.device
    chunks = -(-rows // chunk)
    head_chunks = _head_chunks(sampler, chunks, device)
    head_rows = min(head_chunks * chunk, rows)
    if isinstance(sampler, KgnegNegativeSampler):
        first = torch.arange(chunks, device=device)[:, None] * chunk
        # batches are shuffled, so the first positives of a chunk are as good as any
        owner = (first + torch.arange(n, device=device) % (rows - first).clamp_(max=chunk)).view(-1)
        side = torch.full((chunks, n), TAIL, device=device)
        side[:head_chunks] = HEAD
        pools = sampler.corruptor.replacements(positives[owner], side.view(-1)).long().view(chunks, n)
    else:
        pools = torch.randint(sampler.num_entities, (chunks, n), device=device)
    sided = Sided.from_pools(Shared(pools, chunk, head_rows), rows)
    batch = TrainingBatch(positives, sided, None)
    wrong = torch.cat(
        [
            _forbidden(sampler, positives[:head_rows], sided.entity[:head_rows], HEAD),
            _forbidden(sampler, positives[head_rows:], sided.entity[head_rows:], TAIL),
        ]
    )
    if bool(wrong.any()):
        batch.mask = ~wrong
    if loss_weighter is not None:
        batch.pos_weights = loss_weighter.weight_triples(positives)  # type: ignore[attr-defined]
        batch.neg_weights = loss_weighter.weight_triples(batch.triples)  # type: ignore[attr-defined]
    return batch


def _head_chunks(sampler: NegativeSampler, chunks: int, device: torch.device) -> int:
    """Return how many chunks replace heads."""
    generator = None
    if isinstance(sampler, KgnegNegativeSampler):
        sides, generator = sampler.corruptor.sides, sampler.corruptor.generators.get(device)
        if sides.policy not in ("uniform", "single"):
            return int(sides.heads(torch.empty(0, dtype=torch.int64), chunks))
    coin = int(torch.randint(2, (), generator=generator, device=device)) if chunks % 2 else 0
    return chunks // 2 + coin


def _forbidden(sampler: NegativeSampler, positives: LongTensor, entity: LongTensor, column: int) -> BoolTensor:
    """Return which entities may not replace an end of some positives, shape ``(b, n)``."""
    replaced = positives[:, column]
    if not isinstance(sampler, KgnegNegativeSampler):
        return entity == replaced[:, None]
    kept = positives[:, TAIL - column]
    queries = Queries(kept, positives[:, RELATION], replaced, torch.full_like(kept, column))
    return sampler.corruptor.forbidden(queries, entity)
