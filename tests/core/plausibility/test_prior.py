"""The prior finds what was held out, and says how often."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score

from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility import Planted, PlausibilityFeatures, TruthPrior, plant
from kgneg.core.queries import Queries
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, TAIL, LongTensor


def uniform_candidates(triples: LongTensor, known: LongTensor, sizes: dict[str, int]) -> tuple[Queries, torch.Tensor]:
    """Replace an end of each triple by an entity that makes no known one."""
    generator = torch.Generator().manual_seed(0)
    queries = Queries.from_triples(triples, TAIL * torch.randint(2, (len(triples),), generator=generator))
    index = TripleIndex(known, **sizes)
    ids = index.complement(queries.kept, queries.relation, queries.side, 1, generator=generator)
    return queries, ids.int()


def test_held_out_triples_rank_above_random_ones(umls: Any) -> None:
    prior = TruthPrior.fit(umls.known, rank=16, **umls.sizes)
    true = umls.held_out
    for side in (HEAD, TAIL):
        queries = Queries.from_triples(true, torch.full_like(true[:, 0], side))
        index = TripleIndex(umls.known, **umls.sizes)
        generator = torch.Generator().manual_seed(0)
        others = index.complement(queries.kept, queries.relation, queries.side, 20, generator=generator)
        scores = prior(queries, torch.cat([queries.replaced[:, None], others], dim=-1).int())
        assert ((scores >= 0) & (scores <= 1)).all()
        labels = torch.zeros_like(scores)
        labels[:, 0] = 1
        assert roc_auc_score(labels.view(-1), scores.view(-1)) > 0.85


def test_probabilities_are_calibrated_to_a_hidden_tenth(umls: Any, planted: Planted) -> None:
    """What it learned on other hidden triples holds for these, which it does not know."""
    prior = TruthPrior.fit(planted.known, rank=16, **umls.sizes)
    queries, ids = uniform_candidates(planted.known.repeat(4, 1), planted.known, umls.sizes)
    expected, rate = float(prior(queries, ids).mean()), planted.uniform_rate()
    assert 0.6 * rate < expected < 1.6 * rate
    likely = prior(queries, ids).squeeze(-1)
    hits = planted.contains(queries, ids.squeeze(-1))
    top = likely >= likely.quantile(0.9)
    assert float(hits[top].double().mean()) > 4 * float(hits[~top].double().mean())


def test_it_fits_the_triples_that_it_was_shown(planted: Planted, learned: TruthPrior, umls: Any) -> None:
    queries, ids = uniform_candidates(planted.known.repeat(4, 1), planted.known, umls.sizes)
    assert float(learned(queries, ids).mean()) == pytest.approx(planted.uniform_rate(), rel=0.15)


def test_features_of_other_triples_keep_the_weights(learned: TruthPrior, umls: Any) -> None:
    more = learned.with_triples(umls.known)
    assert torch.equal(more.weights, learned.weights)
    assert torch.equal(more.bias, learned.bias)
    assert more.features.entity_factors.shape == learned.features.entity_factors.shape
    assert float(more.features.size.sum()) > float(learned.features.size.sum())


def test_probabilities_of_triples_are_the_larger_of_both_ends(learned: TruthPrior, umls: Any) -> None:
    triples = umls.held_out[:30].view(5, 6, 3)
    found = learned.of_triples(triples)
    assert found.shape == (5, 6)
    both = []
    for side in (HEAD, TAIL):
        queries = Queries.from_triples(triples.view(-1, 3), torch.full((30,), side))
        both.append(learned(queries, queries.replaced.int()[:, None]).view(5, 6))
        torch.testing.assert_close(
            both[-1].logit(), learned.logits(queries, queries.replaced.int()[:, None]).view(5, 6)
        )
    assert torch.equal(found, torch.maximum(*both))
    assert not torch.equal(*both)
    assert learned.of_triples(triples[0, 0]).shape == ()
    assert learned.of_triples(triples[:0]).shape == (0, 6)


def test_it_depends_on_nothing_but_its_arguments(nations: Any) -> None:
    state = torch.get_rng_state()
    first, again, other = (TruthPrior.fit(nations.known, rank=4, seed=seed, **nations.sizes) for seed in (1, 1, 2))
    assert torch.equal(first.weights, again.weights)
    assert float(first.bias) == float(again.bias)
    assert not torch.equal(first.weights, other.weights)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", ["to", "pickle", "deepcopy", "state_dict"])
def test_copies(learned: TruthPrior, umls: Any, kind: str) -> None:
    expected = learned.of_triples(umls.held_out)
    if kind == "state_dict":
        features = PlausibilityFeatures(umls.known[:9], rank=2, **umls.sizes)
        twin = TruthPrior(features, torch.zeros(6), 1.0)
        twin.load_state_dict(learned.state_dict())
    elif kind == "to":
        twin = copy.deepcopy(learned).to("cpu")
    else:
        twin = pickle.loads(pickle.dumps(learned)) if kind == "pickle" else copy.deepcopy(learned)  # noqa: S301
    assert torch.equal(twin.of_triples(umls.held_out), expected)


def test_the_least_that_it_can_learn_from() -> None:
    """Nothing that is hidden can be met: then it says that nothing is likely, and is finite."""
    prior = TruthPrior.fit(torch.tensor([[0, 0, 1], [2, 1, 3]]), num_entities=5, num_relations=2)
    found = prior.of_triples(torch.tensor([[0, 0, 2], [2, 1, 4]]))
    assert torch.isfinite(found).all()
    assert float(found.max()) < 0.01
    sizes = {"num_entities": 5, "num_relations": 2}
    with pytest.raises(InvalidInputError, match="at least two distinct ones, got 1"):
        TruthPrior.fit(torch.tensor([[0, 0, 1], [0, 0, 1]]), **sizes)
    with pytest.raises(InvalidInputError, match="out of range"):
        TruthPrior.fit(torch.tensor([[0, 0, 1], [0, 0, 9]]), **sizes)
    planted = plant(torch.tensor([[0, 0, 1], [2, 1, 3]]), **sizes)
    with pytest.raises(InvalidInputError, match=r"6 features, got \(5,\)"):
        TruthPrior(TruthPrior.fit_planted(planted).features, torch.zeros(5), 0.0)


def test_pairs_that_everything_completes() -> None:
    """They have no candidate that could be false, and are left out."""
    full = torch.cartesian_prod(torch.arange(2), torch.zeros(1, dtype=torch.long), torch.arange(8))
    others = torch.tensor([[head, 1, tail] for head in range(8) for tail in range(head % 3, 5)])
    prior = TruthPrior.fit(torch.cat([full, others]), num_entities=8, num_relations=2, rank=2)
    likely, unlikely = prior.of_triples(torch.tensor([[2, 1, 1], [2, 1, 7]])).tolist()
    assert 0 <= unlikely < likely <= 1
