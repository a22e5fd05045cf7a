"""Operating points, on graphs where what is true is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor, Proposals
from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility import (
    Planted,
    PlausibilityCeiling,
    TruthPrior,
    budget,
    find_operating_point,
    plant,
    proposal_logits,
    validate_budget,
)
from kgneg.core.queries import Queries
from kgneg.samplers import DynamicCorruptor, TypedCorruptor, UniformCorruptor


@pytest.fixture(autouse=True)
def fewer_positives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be content with less exact rates."""
    monkeypatch.setattr(budget, "_DRAWN", 32_000)


def make_typed(planted: Planted, ceiling: PlausibilityCeiling) -> Corruptor:
    sizes = {"num_entities": planted.index.num_entities, "num_relations": planted.index.num_relations}
    types = CandidateIndex.from_relation_types(planted.known, **sizes)
    return TypedCorruptor(types, index=planted.index, constraints=(ceiling,), seed=0, **sizes)


def make_uniform(planted: Planted, ceiling: PlausibilityCeiling) -> Corruptor:
    sizes = {"num_entities": planted.index.num_entities, "num_relations": planted.index.num_relations}
    return UniformCorruptor(index=planted.index, constraints=(ceiling,), seed=0, **sizes)


def make_dynamic(planted: Planted, ceiling: PlausibilityCeiling) -> Corruptor:
    sizes = {"num_entities": planted.index.num_entities, "num_relations": planted.index.num_relations}
    return DynamicCorruptor(index=planted.index, pool=64, constraints=(ceiling,), seed=0, **sizes)


class Clairvoyant(Corruptor):
    """Proposes hidden triples wherever there are any."""

    def __init__(self, planted: Planted, ceiling: PlausibilityCeiling) -> None:
        index = planted.index
        super().__init__(
            num_entities=index.num_entities, num_relations=index.num_relations, index=index, constraints=(ceiling,)
        )
        self.planted = planted

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        everyone = torch.arange(self.num_entities).repeat(len(queries))
        rows = torch.arange(len(queries)).repeat_interleave(self.num_entities)
        hidden = self.planted.contains(queries[rows], everyone).view(len(queries), -1)
        noise = torch.rand(hidden.shape, generator=generator)
        best = (hidden + noise).argmax(-1, keepdim=True)
        return best.expand(-1, n).clone(), hidden.any(-1, keepdim=True).expand(-1, n)


def test_larger_budgets_let_more_pass(planted: Planted, learned: TruthPrior) -> None:
    points = [find_operating_point(make_typed, planted, learned, number) for number in (1.0, 1.5, 3.0, 1e6)]
    shares = [point.share for point in points]
    assert shares == sorted(shares)
    assert shares[0] < shares[2] < shares[3] == 1
    assert all(point.ratio < point.upper <= number for point, number in zip(points, (1.0, 1.5, 3.0, 1e6), strict=True))
    assert points[3].ratio > 2
    for point in points:
        tried = [share for share, _ in point.tried]
        assert tried == sorted(tried, reverse=True)
        assert (tried[0], tried[-1]) == (1.0, point.share)
        assert point.tried[-1][1] == point.ratio
        assert point.uniform_rate == planted.uniform_rate()


def test_the_same_seed_finds_the_same_point(planted: Planted, learned: TruthPrior) -> None:
    state = torch.get_rng_state()
    first, again, other = (find_operating_point(make_typed, planted, learned, 9.0, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.ratio != other.ratio
    assert torch.equal(torch.get_rng_state(), state)


def test_uniform_negatives_have_the_rate_of_uniform_negatives(planted: Planted, learned: TruthPrior) -> None:
    point = find_operating_point(make_uniform, planted, learned, 1.5)
    assert point.share == 1
    assert point.ratio == pytest.approx(1, abs=0.15)


def test_the_prior_stands_for_the_model(planted: Planted, learned: TruthPrior) -> None:
    wide = find_operating_point(make_dynamic, planted, learned, 1e6)
    narrow = find_operating_point(make_dynamic, planted, learned, 1.5)
    assert wide.ratio > 2 > narrow.ratio
    assert narrow.share < wide.share == 1


def test_what_cannot_keep_a_budget_may_draw_nothing(
    planted: Planted, learned: TruthPrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "_DRAWN", 1920)
    point = find_operating_point(Clairvoyant, planted, learned, 1.0)
    assert (point.share, point.ratio, point.upper) == (0.0, 1.0, 1.0)
    assert point.tried[0][1] > 3
    assert len(point.tried) > 10


def test_nothing_that_could_be_met(caplog: pytest.LogCaptureFixture) -> None:
    chain = torch.tensor([[2 * number, number % 3, 2 * number + 1] for number in range(40)])
    planted = plant(chain, num_entities=80, num_relations=3)
    prior = TruthPrior.fit_planted(planted)
    point = find_operating_point(make_uniform, planted, prior, 1.0)
    assert (point.share, point.ratio, point.upper, point.uniform_rate, point.tried) == (1.0, 0.0, 0.0, 0.0, ())
    assert "no hidden triple can be met" in caplog.text


def test_log_odds_of_proposals_without_what_fell_back(planted: Planted, learned: TruthPrior) -> None:
    ceiling = PlausibilityCeiling(learned)
    corruptor = make_typed(planted, ceiling)
    free = proposal_logits(corruptor, planted.known, learned)
    ceiling.set_limit(float(free.quantile(0.7)))
    bound = proposal_logits(corruptor, planted.known, learned)
    assert bound.max() <= ceiling.limit
    assert 0 < len(bound) < len(free)
    assert corruptor.counts["fallback"] > 0
    ceiling.set_limit(-math.inf)  # nothing but fall-backs
    assert len(proposal_logits(corruptor, planted.known, learned)) >= len(free)


@pytest.mark.parametrize("number", [1, 1.0, 2.5, 100])
def test_budgets(number: float) -> None:
    assert validate_budget(number) == number
    assert isinstance(validate_budget(number), float)


@pytest.mark.parametrize("number", [0.99, 0, -1, math.nan, math.inf, True, "2", None])
def test_what_is_no_budget(number: Any, planted: Planted, learned: TruthPrior) -> None:
    message = "fn_budget must be a finite number of at least 1, the rate of uniform negatives; got"
    with pytest.raises(InvalidInputError, match=message):
        validate_budget(number)
    with pytest.raises(InvalidInputError, match=message):
        find_operating_point(make_typed, planted, learned, number)
