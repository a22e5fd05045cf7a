"""Losses for the trainer of sentence-transformers, against plain loops."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch.nn.functional import normalize

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.integrations.sentence_transformers import AllEntitiesLoss, SampledEntitiesLoss
from kgneg.samplers import TaxonomyCorruptor, UniformCorruptor
from kgneg.samplers.pairs import pair_options, pair_triples

SKILLS = ["weld metal", "cut metal", "bend metal", "cook soup", "bake bread", "paint walls"]
SENTENCES = ["you weld and cut steel", "we cook", "the king bakes bread"]
QUERIES, ENTITIES = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 3, 4])
NEAR = CandidateIndex.from_lists([[2], [], [0], [], [], []], num_columns=6)
TEMPERATURE = 0.1


@pytest.fixture
def model(tiny_encoder: str) -> SentenceTransformer:
    return SentenceTransformer(tiny_encoder, device="cpu").eval()


def tokens_of(model: Any, texts: list[str]) -> Any:
    """Return what the model takes; the method has another name since version 6 of sentence-transformers."""
    return (getattr(model, "preprocess", None) or model.tokenize)(texts)


def vectors(model: Any, texts: list[str]) -> torch.Tensor:
    with torch.no_grad():
        return normalize(model(tokens_of(model, texts))["sentence_embedding"], dim=-1)


def options() -> dict[str, Any]:
    return pair_options(QUERIES, ENTITIES, num_queries=3, num_entities=6)


def batch(model: Any) -> tuple[list[Any], torch.Tensor]:
    """Return the rows of the pairs 0, 2 and 3."""
    rows = torch.tensor([0, 2, 3])
    texts = [SENTENCES[one] for one in QUERIES[rows].tolist()]
    return [tokens_of(model, texts)], torch.stack([QUERIES[rows], ENTITIES[rows]], dim=-1)


def plain(cosine: list[list[float]], right: list[int], left_out: list[set[int]], allowed: list[list[int]]) -> float:
    """Return the mean loss: of rows the right column, those that do not count, and those that may, as often."""
    total = 0.0
    for row, own, out, some in zip(cosine, right, left_out, allowed, strict=True):
        weights = [math.exp(row[one] / TEMPERATURE) for one in some if one not in out | {own}]
        total -= row[own] / TEMPERATURE - math.log(sum(weights) + math.exp(row[own] / TEMPERATURE))
    return total / len(cosine)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("in_batch", [False, True])
def test_sampled(model: SentenceTransformer, in_batch: bool, fixed: bool) -> None:
    corruptor = UniformCorruptor(seed=0, **options())
    given = torch.randn(6, 32, generator=torch.Generator().manual_seed(1)) if fixed else None
    loss = SampledEntitiesLoss(
        model, SKILLS, corruptor, QUERIES, ENTITIES, n=2, near=NEAR, in_batch=in_batch, temperature=TEMPERATURE,
        seed=5, vectors=given,
    )  # fmt: skip
    loss.step = 7
    drawn: list[torch.Tensor] = []
    original = corruptor.forward
    corruptor.forward = lambda *args, **kwargs: drawn.append(original(*args, **kwargs)) or drawn[-1]  # type: ignore
    features, labels = batch(model)
    found = float(loss(features, labels).detach())
    negatives = drawn[0].entity.tolist()
    table = vectors(model, SKILLS) if given is None else normalize(given, dim=-1)
    cosine = (vectors(model, [SENTENCES[0], SENTENCES[1], SENTENCES[2]]) @ table.T).tolist()
    used = sorted({one for row in negatives for one in row} | {0, 3, 4})
    allowed = [used] * 3 if in_batch else negatives
    left_out = [{1, 2}, set(), set()] if in_batch else [set(), set(), set()]  # right as well, and near the right one
    assert found == pytest.approx(plain(cosine, [0, 3, 4], left_out, allowed), rel=1e-4)
    assert not {0, 1} & set(negatives[0])


def test_draws_depend_on_seed_and_step(model: SentenceTransformer) -> None:
    features, labels = batch(model)

    def value(seed: int, step: int) -> float:
        corruptor = TaxonomyCorruptor({"random": None}, seed=0, **options())
        loss = SampledEntitiesLoss(model, SKILLS, corruptor, QUERIES, ENTITIES, n=1, in_batch=False, seed=seed)
        loss.step = step
        return float(loss(features, labels).detach())

    assert value(0, 0) == value(0, 0)
    assert len({round(value(seed, step), 6) for seed in range(4) for step in range(4)}) > 4


def test_all(model: SentenceTransformer) -> None:
    table = torch.randn(6, 32, generator=torch.Generator().manual_seed(1))
    loss = AllEntitiesLoss(model, table, QUERIES, ENTITIES, temperature=TEMPERATURE)
    features, labels = batch(model)
    value = loss(features, labels)
    cosine = (vectors(model, SENTENCES) @ normalize(table, dim=-1).T).tolist()
    everything = [list(range(6))] * 3
    assert float(value.detach()) == pytest.approx(plain(cosine, [0, 3, 4], [{1}, set(), set()], everything), rel=1e-4)
    value.backward()
    assert any(one.grad is not None and one.grad.abs().sum() > 0 for one in model.parameters())


def test_refusals(model: SentenceTransformer) -> None:
    corruptor = UniformCorruptor(seed=0, **options())
    with pytest.raises(InvalidInputError, match="a corruptor for 6 entities"):
        SampledEntitiesLoss(model, SKILLS[:5], corruptor, QUERIES, ENTITIES)
    with pytest.raises(InvalidInputError, match="text 2 is blank"):
        SampledEntitiesLoss(model, [*SKILLS[:2], " ", *SKILLS[3:]], corruptor, QUERIES, ENTITIES)
    with pytest.raises(InvalidInputError, match="pair_options"):
        SampledEntitiesLoss(model, SKILLS, UniformCorruptor(num_entities=6, num_relations=3, seed=0), QUERIES, ENTITIES)
    with pytest.raises(InvalidInputError, match="temperature"):
        AllEntitiesLoss(model, torch.randn(6, 32), QUERIES, ENTITIES, temperature=0.0)
    with pytest.raises(InvalidInputError, match="vectors of one length, and some"):
        AllEntitiesLoss(model, torch.randn(6, 32), QUERIES[:0], ENTITIES[:0])


def test_right_pairs(model: SentenceTransformer) -> None:
    loss = AllEntitiesLoss(model, torch.randn(6, 32), QUERIES, ENTITIES)
    expected = torch.zeros(3, 6, dtype=torch.bool)
    expected[QUERIES, ENTITIES] = True
    assert torch.equal(loss.right(torch.arange(3)), expected)
    assert torch.equal(loss.right(torch.tensor([2, 0, 2])), expected[[2, 0, 2]])
    assert pair_triples(QUERIES, ENTITIES).shape == (4, 3)


def test_corrected(model: SentenceTransformer) -> None:
    """The sum over corrected negatives has the sum over all entities that are none of the text as its mean."""
    lists = CandidateIndex.from_lists([[1, 2], [0, 2], [0, 1], [4], [3, 5], []], num_columns=6)
    table = torch.randn(6, 32, generator=torch.Generator().manual_seed(1))
    queries, entities = torch.tensor([0]), torch.tensor([3])
    pairs = pair_options(queries, entities, num_queries=1, num_entities=6)
    corruptor = TaxonomyCorruptor({"sibling": lists, "random": None}, seed=0, **pairs)
    loss = SampledEntitiesLoss(
        model, SKILLS, corruptor, queries, entities, n=4000, vectors=table, corrected=True, temperature=0.5
    )
    whole = AllEntitiesLoss(model, table, queries, entities, temperature=0.5)
    features, labels = [tokens_of(model, ["we cook"])], torch.tensor([[0, 3]])
    assert float(loss(features, labels).detach()) == pytest.approx(float(whole(features, labels).detach()), abs=0.03)
    with pytest.raises(InvalidInputError, match="needs a TaxonomyCorruptor"):
        SampledEntitiesLoss(model, SKILLS, UniformCorruptor(seed=0, **pairs), queries, entities, corrected=True)


def test_draws_that_stand_in_are_not_corrected(model: SentenceTransformer) -> None:
    """The first text has both siblings, so that its slots are filled by others, of unknown probability."""
    lists = CandidateIndex.from_lists([[1], [0], [3], [2], [5], [4]], num_columns=6)
    corruptor = TaxonomyCorruptor({"sibling": lists}, seed=0, **options())
    loss = SampledEntitiesLoss(model, SKILLS, corruptor, QUERIES, ENTITIES, n=2, corrected=True)
    features, labels = [tokens_of(model, SENTENCES[:1])], torch.tensor([[0, 0]])
    assert float(loss(features, labels).detach()) == pytest.approx(0, abs=1e-6)


def test_every_step_draws_anew(model: SentenceTransformer) -> None:
    corruptor = TaxonomyCorruptor({"random": None}, seed=0, **options())
    loss = SampledEntitiesLoss(model, SKILLS, corruptor, QUERIES, ENTITIES, n=1, in_batch=False).train()
    features, labels = batch(model.eval())
    loss.training = True
    assert len({float(loss(features, labels).detach()) for _ in range(6)}) > 1 and loss.step == 6
