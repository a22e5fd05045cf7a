from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare

from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, LongTensor
from kgneg.samplers.uniform import UniformCorruptor
from kgneg.testing import CorruptorConformance


class TestUniform(CorruptorConformance):
    policy = "uniform"
    keys = "triple"

    def make(
        self, triples: LongTensor, num_entities: int, num_relations: int, *, filtered: bool, seed: int
    ) -> UniformCorruptor:
        sizes = {"num_entities": num_entities, "num_relations": num_relations}
        return UniformCorruptor(
            index=TripleIndex(triples, keys=self.keys, **sizes) if filtered else None,
            sides=SidePolicy(self.policy, triples=triples, num_relations=num_relations),
            seed=seed,
            **sizes,
        )


class TestUniformBernoulliPairs(TestUniform):
    policy = "bernoulli"
    keys = "pair"


@pytest.mark.parametrize("policy", ["head", "tail", "alternate"])
class TestUniformOneEnd(TestUniform):
    @pytest.fixture(autouse=True)
    def choose_policy(self, policy: str) -> None:
        self.policy = policy


@pytest.mark.parametrize("known_tails", [0, 1, 17, 28])
@pytest.mark.parametrize("n", [1, 3, 8])
def test_exactly_uniform_over_the_complement(known_tails: int, n: int) -> None:
    entities = 30
    triples = torch.tensor([[4, 0, tail] for tail in range(0, known_tails)] + [[5, 0, 29]])
    index = TripleIndex(triples, num_entities=entities, num_relations=1)
    corruptor = UniformCorruptor(num_entities=entities, num_relations=1, index=index, seed=11)
    positive = torch.tensor([4, 0, 28])
    negatives = corruptor(positive.expand(12_000 // n, 3), n)
    for side, forbidden in ((0, {4}), (2, {28, *range(known_tails)})):
        counts = torch.bincount(negatives.entity[negatives.side == side], minlength=entities).tolist()
        allowed = [entity for entity in range(entities) if entity not in forbidden]
        assert sum(counts[entity] for entity in forbidden) == 0
        if len(allowed) > 1:
            assert chisquare([counts[entity] for entity in allowed]).pvalue > 1e-6
    assert not negatives.fallback.any()
    heads = (negatives.side == HEAD).double().mean()
    assert abs(float(heads) - 0.5) < 0.02


def test_unfiltered_is_uniform_over_all_others() -> None:
    corruptor = UniformCorruptor(num_entities=12, num_relations=1, seed=2)
    negatives = corruptor(torch.tensor([3, 0, 7]).expand(3000, 3), 4)
    for side, own in ((0, 3), (2, 7)):
        counts = torch.bincount(negatives.entity[negatives.side == side], minlength=12).tolist()
        assert counts.pop(own) == 0
        assert chisquare(counts).pvalue > 1e-6
