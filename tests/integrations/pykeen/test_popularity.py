"""Popularity by its name in PyKEEN."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pykeen.datasets import Nations
from pykeen.pipeline import pipeline
from pykeen.sampling import negative_sampler_resolver

from kgneg.core.errors import InvalidInputError
from kgneg.integrations.pykeen import KgnegNegativeSampler, PopularityNegativeSampler
from kgneg.samplers import PopularityCorruptor, UniformCorruptor


def make(nations: Nations, name: str = "popularity", **options: Any) -> KgnegNegativeSampler:
    sampler = negative_sampler_resolver.make(
        name,
        options,
        mapped_triples=nations.training.mapped_triples,
        num_entities=nations.training.num_entities,
        num_relations=nations.training.num_relations,
    )
    assert isinstance(sampler, KgnegNegativeSampler)
    return sampler


def test_options_arrive(nations: Nations) -> None:
    triples = nations.training.mapped_triples
    tails = torch.bincount(triples[:, 2], minlength=14).double()
    for counts, occurrences in (("end", tails), ("both", tails + torch.bincount(triples[:, 0], minlength=14))):
        sampler = make(nations, alpha=0.5, smoothing=3.0, counts=counts)
        assert isinstance(sampler, PopularityNegativeSampler)
        assert isinstance(sampler.corruptor, PopularityCorruptor)
        weights = (occurrences + 3).sqrt()
        torch.testing.assert_close(
            sampler.corruptor.log_proposal(torch.arange(14)).double().exp(), weights / weights.sum()
        )
    for wrong, message in (({"alpha": -1}, "alpha"), ({"smoothing": -1}, "smoothing"), ({"counts": "x"}, "counts")):
        with pytest.raises(InvalidInputError, match=message):
            make(nations, **wrong)


def test_a_component_of_a_mixture(nations: Nations) -> None:
    own = {"popularity": {"alpha": 1.0}}
    sampler: Any = make(nations, "mixture", components="popularity=1,kgneg-uniform=1", components_kwargs=own)
    assert [type(part) for part in sampler.corruptor.components] == [PopularityCorruptor, UniformCorruptor]


def test_training(nations: Nations) -> None:
    result = pipeline(
        dataset=nations, model="distmult", loss="nssa", negative_sampler="popularity",
        negative_sampler_kwargs={"num_negs_per_pos": 4, "alpha": 1.0},
        model_kwargs={"embedding_dim": 8}, optimizer_kwargs={"lr": 0.05}, random_seed=0, device="cpu",
        training_kwargs={"num_epochs": 5, "batch_size": 256, "use_tqdm": False},
        evaluation_kwargs={"use_tqdm": False, "batch_size": 256},
    )  # fmt: skip
    assert result.losses[-1] < result.losses[0]
