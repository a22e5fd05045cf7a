"""How many negatives are true: known training triples, and triples that were held out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch

from kgneg.compare.data import CompareData
from kgneg.compare.samplers import SamplerChoice
from kgneg.core.seeding import mix_seeds
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import LongTensor

__all__ = ["count_true", "make_sampler", "positive_order"]

_MAX_DRAW = 200_000  # negatives at once
_PURPOSE = 0x6E6567  # keeps this stream apart from that of the training


class HasTraining(Protocol):
    """Anything with training triples in PyKEEN's form."""

    @property
    def training(self) -> Any:
        """PyKEEN's triples factory."""
        ...


def make_sampler(choice: SamplerChoice, data: HasTraining, negatives: int) -> Any:
    """Construct a sampler for the training triples.

    :param choice: the sampler
    :param data: the triples
    :param negatives: negatives per positive
    :returns: an instance of PyKEEN's ``NegativeSampler``
    """
    from pykeen.sampling import negative_sampler_resolver

    return negative_sampler_resolver.make(
        choice.name,
        dict(choice.options),
        mapped_triples=data.training.mapped_triples,
        num_entities=data.training.num_entities,
        num_relations=data.training.num_relations,
        num_negs_per_pos=negatives,
    )


def count_true(
    choice: SamplerChoice, data: CompareData, *, negatives: int, at_least: int, seed: int, sampler: Any = None
) -> dict[str, Any]:
    """Draw negatives of training triples afresh and count the true ones among those that the sampler keeps.

    Runs on the CPU; the global random stream is as before afterwards.

    :param choice: the sampler
    :param data: the triples
    :param negatives: negatives per positive
    :param at_least: how many negatives to draw; each positive gets all of its negatives
    :param seed: the seed of positives and negatives
    :param sampler: the sampler as training left it, for methods that depend on the training; it is moved to the CPU,
        and its draws go on where they stand. ``None`` constructs one
    :returns: ``drawn``; ``kept``, those that the mask of the sampler keeps; ``known`` and ``held_out``, the training
        triples and the validation and test triples among the kept ones; ``known_per_10000`` and ``held_out_per_10000``,
        the same per 10,000 kept ones (``None`` if none is kept); ``incomplete_rows``, positives that lost negatives to
        the mask; ``fallback_share``, the share of negatives that are uniform because the method had nothing to offer
        (``None`` if the sampler does not tell)
    """
    sizes = {"num_entities": data.training.num_entities, "num_relations": data.training.num_relations}
    known = TripleIndex(data.training.mapped_triples, keys="auto", **sizes)
    held_out = TripleIndex(data.held_out, keys="auto", **sizes)
    counts = dict.fromkeys(("drawn", "kept", "known", "held_out", "incomplete_rows"), 0)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(mix_seeds(seed, _PURPOSE))
        sampler = make_sampler(choice, data, negatives) if sampler is None else sampler.cpu()
        before = _report(sampler)
        for positives in _positives(data.training.mapped_triples, -(-at_least // negatives), negatives, seed):
            triples, mask = sampler.sample(positive_batch=positives)
            kept = torch.ones(triples.shape[:-1], dtype=torch.bool) if mask is None else mask
            true = known.contains(triples) & kept
            counts["drawn"] += kept.numel()
            counts["kept"] += int(kept.sum())
            counts["known"] += int(true.sum())
            counts["held_out"] += int((held_out.contains(triples) & kept & ~true).sum())
            counts["incomplete_rows"] += int((~kept.all(dim=-1)).sum())
    return {
        **counts,
        "known_per_10000": _per_10000(counts["known"], counts["kept"]),
        "held_out_per_10000": _per_10000(counts["held_out"], counts["kept"]),
        "fallback_share": _fallback_share(before, _report(sampler)),
    }


def positive_order(total: int, number: int, seed: int) -> LongTensor:
    """Return which training triples get negatives, in random order; all of them before any comes again.

    :param total: the number of training triples
    :param number: how many positives are wanted
    :param seed: the seed
    :returns: shape: ``(number,)``, positions of training triples
    """
    generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE, 1))
    rounds = -(-number // total)
    return torch.cat([torch.randperm(total, generator=generator) for _ in range(rounds)])[:number]


def _positives(triples: LongTensor, number: int, negatives: int, seed: int) -> list[LongTensor]:
    """Return batches of training triples in random order."""
    return list(torch.split(triples[positive_order(len(triples), number, seed)], max(1, _MAX_DRAW // negatives)))


def _per_10000(count: int, total: int) -> float | None:
    return round(10_000 * count / total, 4) if total else None


def _report(sampler: Any) -> Mapping[str, int]:
    """Return what the sampler counted so far, where it keeps count."""
    report = getattr(sampler, "report", None)
    return report() if callable(report) else {}


def _fallback_share(before: Mapping[str, int], after: Mapping[str, int]) -> float | None:
    """Return the share of fall-backs between two reports."""
    if "fallback" not in after or after.get("drawn", 0) == before.get("drawn", 0):
        return None
    drawn, fallback = (after[name] - before[name] for name in ("drawn", "fallback"))
    return round(fallback / drawn, 6)
