"""The prior of nearest neighbours finds what was held out."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility import NeighbourPrior, Planted, PlausibilityCeiling, plant, planted_test
from kgneg.core.queries import Queries
from kgneg.core.typing import HEAD, TAIL
from kgneg.samplers import LemonCorruptor, LemonSettings, TypedCorruptor, UniformCorruptor


@pytest.fixture(scope="module")
def nearest(umls: Any) -> NeighbourPrior:
    return NeighbourPrior.fit(umls.known, **umls.sizes)


def make(kind: str, known: torch.Tensor, sizes: dict[str, int], **options: Any) -> Corruptor:
    if kind == "typed":
        return TypedCorruptor(CandidateIndex.from_relation_types(known, **sizes), seed=1, **sizes, **options)
    if kind == "lemon":
        vectors = torch.randn(sizes["num_entities"], 8, generator=torch.Generator().manual_seed(0))
        return LemonCorruptor.from_vectors(vectors, LemonSettings(), seed=1, **sizes, **options)
    return UniformCorruptor(seed=1, **sizes, **options)


def test_held_out_triples_of_umls(umls: Any, nearest: NeighbourPrior) -> None:
    planted = Planted.of(umls.known, umls.held_out, **umls.sizes)
    for kind, least in (("uniform", 0.97), ("typed", 0.93)):
        found = planted_test(nearest, planted, make(kind, umls.known, umls.sizes, index=planted.index))
        assert found.auc > least, kind
        assert found.flagged_negatives == pytest.approx(0.05, abs=0.01)
        assert found.flagged_planted > 10 * found.flagged_negatives


def test_vectors_of_a_model(umls: Any) -> None:
    """Vectors without any meaning make a worse prior than those of the triples."""
    planted = plant(umls.known, seed=1, **umls.sizes)
    noise = torch.randn(135, 16, generator=torch.Generator().manual_seed(0))
    corruptor = make("uniform", planted.known, umls.sizes)
    worse, better = (
        planted_test(NeighbourPrior.fit(planted.known, vectors, **umls.sizes), planted, corruptor).auc
        for vectors in (noise, None)
    )
    assert worse < better - 0.02


@pytest.mark.parametrize("negatives", ["uniform", "typed"])
def test_what_the_weights_are_learned_against(umls: Any, nearest: NeighbourPrior, negatives: str) -> None:
    other = NeighbourPrior.fit(umls.known, negatives=negatives, **umls.sizes)
    assert not torch.equal(other.linear, nearest.linear)
    by_corruptor = NeighbourPrior.fit(
        umls.known,
        negatives=lambda planted: make(negatives, planted.known, umls.sizes, index=planted.index),
        **umls.sizes,
    )
    planted = Planted.of(umls.known, umls.held_out, **umls.sizes)
    corruptor = make(negatives, umls.known, umls.sizes, index=planted.index)
    figures = [planted_test(prior, planted, corruptor).auc for prior in (other, by_corruptor)]
    assert min(figures) > 0.93
    assert figures[0] == pytest.approx(figures[1], abs=0.02)


def test_probabilities_are_those_of_uniform_candidates(umls: Any) -> None:
    planted = plant(umls.known, seed=1, **umls.sizes)
    prior = NeighbourPrior.fit_planted(planted)
    generator = torch.Generator().manual_seed(0)
    side = TAIL * torch.randint(2, (len(planted.known),), generator=generator)
    queries = Queries.from_triples(planted.known, side)
    ids = planted.index.complement(queries.kept, queries.relation, queries.side, 4, generator=generator)
    assert float(prior(queries, ids.int()).mean()) == pytest.approx(planted.uniform_rate(), rel=0.25)
    assert float(prior.base.sigmoid()) == pytest.approx(planted.uniform_rate(), rel=0.5)


@pytest.mark.parametrize("kind", ["uniform", "typed", "lemon"])
def test_flagged_negatives_are_drawn_again(umls: Any, nearest: NeighbourPrior, kind: str) -> None:
    planted = Planted.of(umls.known, umls.held_out, **umls.sizes)
    ceiling = PlausibilityCeiling(nearest)
    corruptor = make(kind, umls.known, umls.sizes, index=planted.index, constraints=(ceiling,))
    free = corruptor(umls.known, 4)
    before = corruptor.counts["rejected"]
    scores = nearest.of_triples(free.triples.view(-1, 3)).logit()
    ceiling.set_limit(float(scores.quantile(0.8)))
    bound = corruptor(umls.known, 4)
    again = corruptor.counts["rejected"] - before
    assert again > before + 0.05 * free.entity.numel()  # of typed ones most were known anyway
    own = ~bound.fallback
    side = bound.side.reshape(-1).long()
    positives = bound.positives[:, None].expand(*bound.entity.shape, 3).reshape(-1, 3)
    limits = nearest.logits(Queries.from_triples(positives, side), bound.entity.reshape(-1, 1)).view(own.shape)
    above = (limits > float(ceiling.limit) + 1e-3)[own]
    assert float(above.double().mean()) < (0.1 if kind == "uniform" else 1e-9)  # its last draw is not bound
    hits = [float(planted.hidden_index.contains(part.triples).double().mean()) for part in (free, bound)]
    assert hits[1] < 0.75 * hits[0]


def test_a_relation_without_known_triples(umls: Any) -> None:
    prior = NeighbourPrior.fit(umls.known, num_entities=135, num_relations=48)
    found = prior.of_triples(torch.tensor([[0, 47, 1], [5, 46, 9]]))
    assert torch.equal(found, prior.base.sigmoid().expand(2))


def test_an_entity_without_known_triples(umls: Any) -> None:
    prior = NeighbourPrior.fit(umls.known, num_entities=137, num_relations=46)
    foreign = umls.held_out.clone()
    foreign[:, 2] = 136
    found = prior.of_triples(foreign)
    assert torch.isfinite(found).all()
    assert float(found.mean()) < float(prior.of_triples(umls.held_out).mean()) / 4


def test_the_same_seed_makes_the_same(nations: Any) -> None:
    state = torch.get_rng_state()
    first, again, other = (NeighbourPrior.fit(nations.known, seed=seed, **nations.sizes) for seed in (1, 1, 2))
    assert torch.equal(first.of_triples(nations.held_out), again.of_triples(nations.held_out))
    assert not torch.equal(first.linear, other.linear)
    assert torch.equal(torch.get_rng_state(), state)


def test_probabilities_of_triples(umls: Any, nearest: NeighbourPrior) -> None:
    triples = umls.held_out[:40].view(4, 10, 3)
    found = nearest.of_triples(triples)
    assert found.shape == (4, 10)
    both = []
    for side in (HEAD, TAIL):
        queries = Queries.from_triples(triples.view(-1, 3), torch.full((40,), side))
        both.append(nearest(queries, queries.replaced.int()[:, None]).view(4, 10))
    near = torch.minimum((found - both[0]).abs(), (found - both[1]).abs())
    assert float(near.max()) < 1e-5
    assert nearest.of_triples(triples[0, 0]).shape == ()
    assert nearest.of_triples(triples[:0]).shape == (0, 10)


@pytest.mark.parametrize("kind", ["to", "pickle", "state_dict"])
def test_copies(umls: Any, nearest: NeighbourPrior, kind: str) -> None:
    if kind == "state_dict":
        twin = NeighbourPrior.fit(umls.known[:40], dim=3, **umls.sizes)
        twin.load_state_dict(nearest.state_dict())
    else:
        twin = pickle.loads(pickle.dumps(nearest)) if kind == "pickle" else copy.deepcopy(nearest).to("cpu")  # noqa: S301
    assert torch.equal(twin.of_triples(umls.held_out), nearest.of_triples(umls.held_out))


def test_the_least_that_it_can_learn_from() -> None:
    sizes = {"num_entities": 5, "num_relations": 2}
    prior = NeighbourPrior.fit(torch.tensor([[0, 0, 1], [2, 1, 3]]), **sizes)
    found = prior.of_triples(torch.tensor([[0, 0, 2], [2, 1, 4]]))
    assert torch.isfinite(found).all()
    assert float(found.max()) < 0.01


def test_refusals(umls: Any, nearest: NeighbourPrior) -> None:
    vectors = torch.ones(135, 4)
    vectors[9] = float("inf")
    with pytest.raises(InvalidInputError, match="NaN or infinite values, the first in row 9"):
        NeighbourPrior.fit(umls.known, vectors, **umls.sizes)
    with pytest.raises(InvalidInputError, match="there are 3 vectors for 135 entities"):
        NeighbourPrior.fit(umls.known, torch.ones(3, 4), **umls.sizes)
    with pytest.raises(InvalidInputError, match="negatives must be one of mixed, uniform, typed"):
        NeighbourPrior.fit(umls.known, negatives="hard", **umls.sizes)
    with pytest.raises(InvalidInputError, match="there are 12 features"):
        NeighbourPrior(
            nearest.features,
            mean=torch.zeros(3), spread=torch.zeros(3), linear=torch.zeros(3), quadratic=torch.zeros(3, 3),
            bias=0.0, base=0.0,
        )  # fmt: skip
