"""The noise filter, with PyKEEN's own samplers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pykeen.datasets import UMLS, Nations
from pykeen.pipeline import pipeline
from pykeen.sampling import BasicNegativeSampler
from pykeen.sampling.filtering import PythonSetFilterer, filterer_resolver
from safetensors.torch import save_file

from kgneg.core.errors import InvalidInputError
from kgneg.integrations.pykeen import ConfidenceWeighter, KnnNoiseFilterer, TypedNegativeSampler
from kgneg.integrations.pykeen.noise import neighbour_prior
from kgneg.integrations.pykeen.setup import Setup


@pytest.fixture
def filterer(umls: UMLS) -> KnnNoiseFilterer:
    return KnnNoiseFilterer(umls.training.mapped_triples, share=0.1)


@pytest.mark.parametrize("name", ["knn-noise", "KnnNoise", "KnnNoiseFilterer"])
def test_names(name: str) -> None:
    assert filterer_resolver.lookup(name) is KnnNoiseFilterer


def test_known_triples_and_likely_ones_are_masked(umls: UMLS, filterer: KnnNoiseFilterer) -> None:
    known = umls.training.mapped_triples
    assert filterer.contains(known).all()
    held_out = filterer.contains(umls.testing.mapped_triples)
    sampler = TypedNegativeSampler(mapped_triples=known, num_negs_per_pos=3, seed=1)
    typed = filterer.contains(sampler.corrupt_batch(known))
    assert typed.shape == (len(known), 3)
    assert float(typed.double().mean()) == pytest.approx(0.1, abs=0.03)
    assert float(held_out.double().mean()) > 2 * float(typed.double().mean())
    assert filterer(known[:7]).tolist() == [False] * 7


def test_no_share_leaves_the_known_ones(umls: UMLS) -> None:
    known = umls.training.mapped_triples
    plain = KnnNoiseFilterer(known, share=0)
    torch.manual_seed(0)
    batch = BasicNegativeSampler(mapped_triples=known, num_negs_per_pos=5).corrupt_batch(known)
    assert torch.equal(plain.contains(batch), PythonSetFilterer(mapped_triples=known).contains(batch))
    everything = KnnNoiseFilterer(known, level=0.0)
    assert everything.contains(batch).all()
    foreign = torch.tensor([[0, 0, 135], [-1, 0, 1], [0, 46, 1]])
    assert not everything.contains(foreign).any()
    assert not everything.contains(foreign.int()).any()


def test_the_level_flags_what_the_prior_finds_likelier(umls: UMLS) -> None:
    known = umls.training.mapped_triples
    filterer = KnnNoiseFilterer(known, level=0.3)
    prior = neighbour_prior(Setup(known, 135, 46), None)
    triples = umls.validation.mapped_triples
    assert torch.equal(filterer.contains(triples), prior.of_triples(triples) > 0.3)


def test_its_own_test(filterer: KnnNoiseFilterer) -> None:
    found = filterer.self_test()
    assert found == filterer.self_test()
    assert found.auc > 0.8
    assert found.flagged_negatives == pytest.approx(0.1, abs=0.01)
    assert found.flagged_planted > 2 * found.flagged_negatives


@pytest.mark.parametrize("kind", ["tensor", "array", "npy", "safetensors"])
def test_vectors(nations: Nations, tmp_path: Path, kind: str) -> None:
    vectors = torch.randn(14, 5, generator=torch.Generator().manual_seed(0))
    source: Any = {"tensor": vectors, "array": vectors.numpy()}.get(kind, str(tmp_path / f"vectors.{kind}"))
    if kind == "npy":
        np.save(source, vectors.numpy())
    elif kind == "safetensors":
        save_file({"vectors": vectors}, source)
    known = nations.training.mapped_triples
    given, expected, own = (KnnNoiseFilterer(known, entity_vectors=part) for part in (source, vectors, None))
    assert given.level == expected.level != own.level
    assert torch.equal(given.prior.features.vectors, expected.prior.features.vectors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 1}, "share must be smaller than 1"),
        ({"share": -0.1}, "share must be between 0 and 1"),
        ({"level": 1.5}, "level must be a probability"),
        ({"level": float("nan")}, "level must be a probability"),
        ({"level": True}, "level must be a probability"),
        ({"k": 0}, "k must be at least 1"),
        ({"num_entities": 3}, "num_entities=3, but there are triples of entity 13"),
        ({"entity_vectors": torch.ones(5, 2)}, "there are 5 vectors, but triples of entity 13"),
        ({"entity_vectors": torch.ones(5, 2), "num_entities": 14}, "there are 5 vectors for 14 entities"),
        ({"entity_vectors": torch.full((14, 2), float("nan"))}, "NaN or infinite values, the first in row 0"),
        ({"entity_vectors": "vectors.txt"}, r"give a \.npy or \.safetensors file"),
    ],
)
def test_refusals(nations: Nations, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        KnnNoiseFilterer(nations.training.mapped_triples, **options)


@pytest.mark.parametrize("sampler", ["basic", "typed"])
def test_by_name_in_a_pipeline(nations: Nations, sampler: str) -> None:
    runs = [
        pipeline(
            dataset=nations,
            model="TransE",
            model_kwargs={"embedding_dim": 4},
            negative_sampler=sampler,
            negative_sampler_kwargs={"filtered": True, "filterer": name, "filterer_kwargs": own},
            training_kwargs={"num_epochs": 2, "batch_size": 512, "use_tqdm": False},
            evaluation_kwargs={"batch_size": 256, "use_tqdm": False},
            random_seed=1,
            device="cpu",
        ).losses
        for name, own in (("exact", None), ("knn-noise", {"share": 0}), ("knn-noise", None), ("knn-noise", None))
    ]
    assert runs[0] == runs[1] != runs[2] == runs[3]


def test_weights_by_nearest_neighbours(umls: UMLS) -> None:
    weighter = ConfidenceWeighter.from_factory(umls.training, prior="knn")
    triples = umls.testing.mapped_triples
    prior = neighbour_prior(Setup(umls.training.mapped_triples, 135, 46), None)
    torch.testing.assert_close(weighter.weight_triples(triples), 1 - prior.of_triples(triples), atol=1e-5, rtol=1e-4)
    assert (weighter.weight_triples(umls.training.mapped_triples) == 1).all()
    other = ConfidenceWeighter.from_factory(umls.training)
    assert not torch.allclose(weighter.weight_triples(triples), other.weight_triples(triples), atol=0.01)
    vectors = torch.randn(135, 4, generator=torch.Generator().manual_seed(0))
    given = ConfidenceWeighter.from_factory(umls.training, prior="knn", entity_vectors=vectors)
    assert not torch.equal(given.weight_triples(triples), weighter.weight_triples(triples))
    with pytest.raises(InvalidInputError, match="prior must be one of truth, knn; got 'svd'"):
        ConfidenceWeighter.from_factory(umls.training, prior="svd")
    with pytest.raises(InvalidInputError, match="entity_vectors are for prior='knn'"):
        ConfidenceWeighter.from_factory(umls.training, entity_vectors=vectors)
