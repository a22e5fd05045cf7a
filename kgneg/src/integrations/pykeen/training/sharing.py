"""Negatives that are shared by chunks of positives."""

from __future__ import annotations

import torch
from pykeen.sampling import BasicNegativeSampler, NegativeSampler

from kgneg.core.errors import InvalidInputError
from kgneg.core.queries import Queries
from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor
from kgneg.integrations.pykeen.base import KgnegNegativeSampler
from kgneg.integrations.pykeen.training.batch import Sided, TrainingBatch

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

    Half of a pool replaces heads and half tails, unless the sampler replaces one end only, or one in turn. Each entity
    of a pool is drawn as a negative for one positive of the chunk. For the others of the chunk it is masked where it is
    the entity that it replaces or, with a sampler that excludes known triples, where it makes one.

    :param sampler: the sampler; its ``num_negs_per_pos`` is the size of a pool
    :param positives: shape: ``(b, 3)``, ids that are known to be in range
    :param chunk: the number of positives that share a pool
    :param loss_weighter: PyKEEN's weighter of triples, if any
    :returns: the batch
    """
    rows, n, device = len(positives), sampler.num_negs_per_pos, positives.device
    chunks, heads = -(-rows // chunk), _heads(sampler, device)
    first = torch.arange(chunks, device=device)[:, None] * chunk
    length = (rows - first).clamp_(max=chunk)
    side = torch.tensor([HEAD] * heads + [TAIL] * (n - heads), device=device).expand(chunks, n)
    if isinstance(sampler, KgnegNegativeSampler):
        # batches are shuffled, so the first positives of a chunk are as good as any
        owner = first + torch.arange(n, device=device) % length
        drawn = sampler.corruptor.replacements(positives[owner.view(-1)], side.reshape(-1))
        pools = drawn.long().view(chunks, n)
    else:
        pools = torch.randint(sampler.num_entities, (chunks, n), device=device)
    sided = Sided.from_pools(pools, chunk, rows, heads)
    batch = TrainingBatch(positives, sided, None)
    if isinstance(sampler, KgnegNegativeSampler):
        ends = [
            sampler.corruptor.forbidden(_queries(positives, column), sided.entity[:, part])
            for column, part in ((HEAD, slice(None, heads)), (TAIL, slice(heads, None)))
        ]
        wrong = torch.cat(ends, dim=-1)
    else:
        replaced = positives[:, [HEAD, TAIL]].gather(-1, (side[:1] // TAIL).expand(rows, n))
        wrong = sided.entity == replaced
    if bool(wrong.any()):
        batch.mask = ~wrong
    if loss_weighter is not None:
        batch.pos_weights = loss_weighter.weight_triples(positives)  # type: ignore[attr-defined]
        batch.neg_weights = loss_weighter.weight_triples(batch.triples)  # type: ignore[attr-defined]
    return batch


def _heads(sampler: NegativeSampler, device: torch.device) -> int:
    """Return how many entities of a pool replace heads."""
    n, generator = sampler.num_negs_per_pos, None
    if isinstance(sampler, KgnegNegativeSampler):
        sides, generator = sampler.corruptor.sides, sampler.corruptor.generators.get(device)
        if sides.policy != "uniform":
            return int(sides.heads(torch.empty(0, dtype=torch.int64), n))
    coin = int(torch.randint(2, (), generator=generator, device=device)) if n % 2 else 0
    return n // 2 + coin


def _queries(positives: LongTensor, column: int) -> Queries:
    kept, replaced = positives[:, TAIL - column], positives[:, column]
    return Queries(kept, positives[:, RELATION], replaced, torch.full_like(kept, column))
