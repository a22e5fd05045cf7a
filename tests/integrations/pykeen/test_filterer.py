"""The exact filterer, for PyKEEN's own samplers."""

from __future__ import annotations

import pytest
import torch
from pykeen.datasets import UMLS, Nations
from pykeen.pipeline import pipeline
from pykeen.sampling import BasicNegativeSampler, PseudoTypedNegativeSampler
from pykeen.sampling.filtering import PythonSetFilterer, filterer_resolver

from kgneg.integrations.pykeen import ExactFilterer


@pytest.mark.parametrize("shape", [(500,), (1,), (0,), (20, 30), (3, 4, 50)], ids=str)
@pytest.mark.parametrize("sizes", [(6, 2), (40, 5), (1000, 30)], ids=str)
def test_agrees_with_a_set(shape: tuple[int, ...], sizes: tuple[int, int]) -> None:
    entities, relations = sizes
    generator = torch.Generator().manual_seed(entities)

    def draw(*where: int, beyond: int = 0) -> torch.Tensor:
        limits = torch.tensor([entities + beyond, relations + beyond, entities + beyond])
        return (torch.rand((*where, 3), generator=generator, dtype=torch.float64) * limits).long()

    known = draw(60)
    batch = draw(*shape, beyond=7)
    flat = batch.view(-1, 3)
    rows = torch.rand(len(flat), generator=generator) < 0.4
    flat[rows] = known[torch.randint(60, (int(rows.sum()),), generator=generator)]
    ours, theirs = ExactFilterer(mapped_triples=known), PythonSetFilterer(mapped_triples=known)
    expected = theirs.contains(batch)
    assert torch.equal(ours.contains(batch), expected)
    assert torch.equal(ours(batch), ~expected)
    assert ours(batch).dtype == torch.bool
    if flat.numel() > 1000:
        assert 0 < int(expected.sum()) < expected.numel()


@pytest.mark.parametrize("sampler", [BasicNegativeSampler, PseudoTypedNegativeSampler])
def test_masks_of_pykeens_samplers(umls: UMLS, sampler: type) -> None:
    triples = umls.training.mapped_triples
    torch.manual_seed(0)
    built = sampler(mapped_triples=triples, num_negs_per_pos=10, filtered=True, filterer="exact")
    assert type(built.filterer) is ExactFilterer
    negatives, mask = built.sample(triples)
    expected = PythonSetFilterer(mapped_triples=triples)(negatives)
    assert torch.equal(mask, expected)
    assert 0.1 < float(mask.float().mean()) < 1


def test_by_name_in_a_pipeline(nations: Nations) -> None:
    assert filterer_resolver.lookup("exact") is ExactFilterer
    losses = {
        name: pipeline(
            dataset=nations,
            model="TransE",
            model_kwargs={"embedding_dim": 4},
            negative_sampler="basic",
            negative_sampler_kwargs={"filtered": True, "filterer": name},
            training_kwargs={"num_epochs": 2, "batch_size": 512, "use_tqdm": False},
            evaluation_kwargs={"batch_size": 256, "use_tqdm": False},
            random_seed=1,
            device="cpu",
        ).losses
        for name in ("exact", "python-set", "bloom")
    }
    assert losses["exact"] == losses["python-set"]


def test_negative_ids_and_copies() -> None:
    filterer = ExactFilterer(mapped_triples=torch.tensor([[0, 0, 1]]))
    assert filterer(torch.tensor([[0, 0, 1], [-1, 0, 1], [0, 0, 2], [0, 9, 1]])).tolist() == [False, True, True, True]
    assert filterer(torch.tensor([[0, 0, 1]], dtype=torch.int32)).tolist() == [False]
