"""SANS by its name in PyKEEN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pykeen.datasets import UMLS, Nations
from pykeen.pipeline import pipeline
from pykeen.sampling import negative_sampler_resolver
from pykeen.triples import CoreTriplesFactory

from kgneg.core.errors import InvalidInputError
from kgneg.integrations.pykeen import KgnegNegativeSampler, SansNegativeSampler
from kgneg.integrations.pykeen import sans as module
from kgneg.samplers import MixtureCorruptor, SansCorruptor, UniformCorruptor


def make(factory: CoreTriplesFactory, **options: Any) -> KgnegNegativeSampler:
    sampler = negative_sampler_resolver.make(
        "sans",
        options,
        mapped_triples=factory.mapped_triples,
        num_entities=factory.num_entities,
        num_relations=factory.num_relations,
    )
    assert isinstance(sampler, SansNegativeSampler)
    return sampler


@pytest.fixture
def chain() -> CoreTriplesFactory:
    """A long path, so that neighbourhoods are small."""
    triples = torch.tensor([[entity, entity % 2, entity + 1] for entity in range(99)])
    return CoreTriplesFactory(triples, num_entities=100, num_relations=2)


@pytest.mark.parametrize("anchor", ["kept", "replaced"])
@pytest.mark.parametrize("options", [{}, {"hops": 4}, {"walks": 3}, {"sides": "single"}], ids=str)
def test_candidates_are_near_the_anchor(chain: CoreTriplesFactory, options: dict[str, Any], anchor: str) -> None:
    sampler = make(chain, num_negs_per_pos=6, seed=0, anchor=anchor, **options)
    positives = chain.mapped_triples[10:90]
    for _ in range(5):
        negatives = sampler.draw(positives)
        at_head = negatives.side == 0
        kept, replaced = positives[:, 2, None], positives[:, 0, None]
        centre = torch.where(at_head == (anchor == "kept"), kept, replaced)
        distance = (negatives.entity - centre).abs()
        assert ((distance >= 1) & (distance <= options.get("hops", 2)))[~negatives.fallback].all()
        assert not negatives.fallback.any() or "walks" in options


def test_shares_of_uniform_negatives(chain: CoreTriplesFactory) -> None:
    assert type(make(chain).corruptor) is SansCorruptor
    assert type(make(chain, uniform_share=1).corruptor) is UniformCorruptor
    sampler = make(chain, uniform_share=0.25, num_negs_per_pos=8, seed=0, hops=3)
    assert type(sampler.corruptor) is MixtureCorruptor
    positives = chain.mapped_triples[20:80]
    negatives = sampler.draw(positives)
    far = (negatives.entity - positives[:, :1]).abs() > 4
    assert far.double().mean() == pytest.approx(0.25 * 0.91, abs=0.05)
    with pytest.raises(InvalidInputError, match="uniform_share must be between 0 and 1"):
        make(chain, uniform_share=1.5)


def test_pools_are_built_once(
    nations: Nations, fresh_memory: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = []
    build = module.build_sans_pools

    def counted(*args: Any, **kwargs: Any) -> Any:
        builds.append(kwargs)
        return build(*args, **kwargs)

    monkeypatch.setattr(module, "build_sans_pools", counted)
    for seed in (1, 2):
        for anchor in ("kept", "replaced"):
            make(nations.training, seed=seed, anchor=anchor)
    assert len(builds) == 1
    make(nations.training, seed=1, hops=1)
    assert len(builds) == 2
    for seed in (1, 2, 1):
        make(nations.training, seed=seed, walks=2)
    assert [options["seed"] for options in builds[2:]] == [1, 2]
    with torch.random.fork_rng():
        torch.manual_seed(2)
        make(nations.training, walks=2)
    assert len(builds) == 4


def test_training_and_errors(nations: Nations, umls: UMLS) -> None:
    result = pipeline(
        dataset=nations, model="distmult", loss="nssa", negative_sampler="sans", training_loop="kgneg",
        negative_sampler_kwargs={"num_negs_per_pos": 4, "sides": "single", "hops": 1},
        model_kwargs={"embedding_dim": 8}, random_seed=0, device="cpu",
        training_kwargs={"num_epochs": 2, "batch_size": 256, "use_tqdm": False},
        evaluation_kwargs={"use_tqdm": False, "batch_size": 256},
    )  # fmt: skip
    assert result.losses[1] < result.losses[0]
    with pytest.raises(InvalidInputError, match="give a number of walks"):
        make(umls.training, max_members=1000)
    corruptor: Any = make(umls.training, max_members=1000, walks=3).corruptor
    assert 1 < corruptor.pools.size(torch.arange(135)).max() <= 6
    with pytest.raises(TypeError, match="colour"):
        make(nations.training, colour="red")


def test_a_component_of_a_mixture() -> None:
    training = Nations().training
    sampler = negative_sampler_resolver.make(
        "mixture",
        {"components": "sans=1,kgneg-uniform=1", "components_kwargs": {"sans": {"hops": 1}}},
        mapped_triples=training.mapped_triples,
        num_entities=training.num_entities,
        num_relations=training.num_relations,
    )
    assert [type(part) for part in sampler.corruptor.components] == [SansCorruptor, UniformCorruptor]
    assert sampler.corruptor.shares == (0.5, 0.5)
