"""A ceiling binds whatever proposes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.negatives import Negatives
from kgneg.core.plausibility import Planted, PlausibilityCeiling, TruthPrior
from kgneg.core.queries import Queries
from kgneg.samplers import DynamicCorruptor, LemonCorruptor, LemonSettings, TypedCorruptor, UniformCorruptor

Make = Callable[..., Corruptor]


def typed(planted: Planted, sizes: dict[str, int], **options: Any) -> Corruptor:
    return TypedCorruptor(CandidateIndex.from_relation_types(planted.known, **sizes), **sizes, **options)


def lemon(planted: Planted, sizes: dict[str, int], **options: Any) -> Corruptor:
    vectors = torch.randn(sizes["num_entities"], 8, generator=torch.Generator().manual_seed(0))
    return LemonCorruptor.from_vectors(vectors, LemonSettings(), **sizes, **options)


def uniform(planted: Planted, sizes: dict[str, int], **options: Any) -> Corruptor:
    return UniformCorruptor(**sizes, **options)


def dynamic(planted: Planted, sizes: dict[str, int], **options: Any) -> Corruptor:
    corruptor = DynamicCorruptor(pool=24, **sizes, **options)
    corruptor.attach(options["constraints"][0].prior.logits if options["constraints"] else no_opinion)
    return corruptor


def no_opinion(queries: Queries, ids: torch.Tensor) -> torch.Tensor:
    return torch.zeros(ids.shape)


every_kind = pytest.mark.parametrize("make", [typed, lemon, uniform, dynamic])


def logits_of(negatives: Negatives, prior: TruthPrior) -> torch.Tensor:
    side = negatives.side.reshape(-1).long()
    positives = negatives.positives[:, None].expand(*negatives.entity.shape, 3).reshape(-1, 3)
    found = prior.logits(Queries.from_triples(positives, side), negatives.entity.reshape(-1, 1))
    return found.view(negatives.entity.shape)


def draw(make: Make, planted: Planted, sizes: dict[str, int], ceiling: PlausibilityCeiling | None) -> Negatives:
    constraints = () if ceiling is None else (ceiling,)
    return make(planted, sizes, constraints=constraints, index=planted.index, seed=5)(planted.known[::5], 6)


@every_kind
def test_no_negative_lies_above(make: Make, planted: Planted, learned: TruthPrior, umls: Any) -> None:
    free = draw(make, planted, umls.sizes, PlausibilityCeiling(learned))
    limit = float(logits_of(free, learned).quantile(0.5))
    bound = draw(make, planted, umls.sizes, PlausibilityCeiling(learned, limit))
    above = logits_of(bound, learned) > limit + 1e-4
    assert not above[~bound.fallback].any() or make is uniform
    assert float(above.double().mean()) < 0.25  # what fell back, and uniform negatives that found nothing else
    assert float(bound.fallback.double().mean()) < 0.5
    if make is uniform:  # where something may be drawn, it is
        side = bound.side.reshape(-1).long()
        positives = bound.positives[:, None].expand(*bound.entity.shape, 3).reshape(-1, 3)
        queries = Queries.from_triples(positives, side)
        everyone = torch.arange(umls.sizes["num_entities"], dtype=torch.int32).expand(len(side), -1).contiguous()
        allowed = (learned.logits(queries, everyone) <= limit).double().mean(-1).view(above.shape)
        assert float(above[allowed > 0.2].double().mean()) < 0.01


@pytest.mark.parametrize("make", [typed, lemon, uniform])
def test_infinity_forbids_nothing(make: Make, planted: Planted, learned: TruthPrior, umls: Any) -> None:
    free, bound = (draw(make, planted, umls.sizes, ceiling) for ceiling in (None, PlausibilityCeiling(learned)))
    assert torch.equal(free.triples, bound.triples)
    assert torch.equal(free.fallback, bound.fallback)


@pytest.mark.parametrize("make", [typed, lemon, dynamic])
def test_minus_infinity_leaves_uniform_draws(make: Make, planted: Planted, learned: TruthPrior, umls: Any) -> None:
    negatives = draw(make, planted, umls.sizes, PlausibilityCeiling(learned, -math.inf))
    assert negatives.fallback.all()
    assert not planted.index.contains(negatives.triples).any()


def test_the_limit_itself_is_allowed(planted: Planted, learned: TruthPrior) -> None:
    queries = Queries.from_triples(planted.known[:4], torch.full((4,), 2))
    ids = torch.arange(12, dtype=torch.int32).view(4, 3)
    logits = learned.logits(queries, ids)
    ceiling = PlausibilityCeiling(learned)
    assert ceiling(queries, ids).all()
    ceiling.set_limit(float(logits[1, 2]))
    assert torch.equal(ceiling(queries, ids), logits <= logits[1, 2])


def test_the_limit_is_state(learned: TruthPrior) -> None:
    ceiling = PlausibilityCeiling(learned, -3)
    twin = PlausibilityCeiling(learned)
    twin.load_state_dict(ceiling.state_dict())
    assert float(twin.limit) == -3
    assert float(copy.deepcopy(ceiling).limit) == -3
    shared = UniformCorruptor(num_entities=135, num_relations=46, constraints=(ceiling,))
    ceiling.set_limit(1.5)
    assert float(shared.state_dict()["constraint_modules.0.limit"]) == 1.5


@pytest.mark.parametrize("limit", [math.nan, True, "high", None])
def test_limits_that_are_none(learned: TruthPrior, limit: Any) -> None:
    with pytest.raises(InvalidInputError, match="limit must be a number, the log odds of being true"):
        PlausibilityCeiling(learned, limit)
    ceiling = PlausibilityCeiling(learned, 1.0)
    with pytest.raises(InvalidInputError, match="limit"):
        ceiling.set_limit(limit)
    assert float(ceiling.limit) == 1.0
