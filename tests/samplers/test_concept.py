"""Concept-constrained negatives: the rule, the score, and what happens when everything is refused."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, TAIL, LongTensor
from kgneg.samplers import ConceptCorruptor, ConceptScore, OwnerProfiles, learn_concepts, signature_features
from kgneg.samplers.concept_vectors import main_components

HEADS, TAILS, RELATIONS, FEATURES = 300, 120, 3, 40
SIZES = {"num_entities": HEADS + TAILS, "num_relations": RELATIONS}


def world(seed: int = 0) -> tuple[LongTensor, CandidateIndex]:
    """Heads with a few features each; tails that heads with like features have, some of them of very many heads."""
    draw = random.Random(seed)  # noqa: S311
    lists = [draw.sample(range(FEATURES), draw.randrange(4)) for _ in range(HEADS)] + [[] for _ in range(TAILS)]
    triples = set()
    for head in range(HEADS):
        for relation in range(RELATIONS):
            for feature in lists[head]:
                triples.add((head, relation, HEADS + (7 * feature + draw.randrange(3)) % TAILS))
            if draw.random() < 0.5:
                triples.add((head, relation, HEADS + draw.randrange(4)))
    return torch.tensor(sorted(triples)), CandidateIndex.from_lists(lists, num_columns=FEATURES)


def sets(triples: LongTensor, features: CandidateIndex) -> tuple[list[set[int]], dict[tuple[int, int, int], set[int]]]:
    """Return the features of each entity, and those of the owners of each (entity, relation, end), by brute force."""
    own = [set(features.members(entity).tolist()) for entity in range(features.num_rows)]
    owned: dict[tuple[int, int, int], set[int]] = defaultdict(set)
    for head, relation, tail in triples.tolist():
        owned[tail, relation, TAIL] |= own[head]
        owned[head, relation, HEAD] |= own[tail]
    return own, owned


def pairs(triples: LongTensor, number: int, side: int, seed: int = 0) -> tuple[Queries, LongTensor]:
    """Return random queries, each with a candidate that is known at that end of the relation."""
    generator = torch.Generator().manual_seed(seed)
    asked = triples[torch.randint(len(triples), (number,), generator=generator)]
    others = triples[torch.randperm(len(triples), generator=generator)]
    found = torch.stack([others[others[:, 1] == one[1]][int(one[0]) % 7, side] for one in asked])
    return Queries.from_triples(asked, torch.full((number,), side)), found[:, None]


@pytest.mark.parametrize("precompute", [True, False])
def test_the_paper_s_rule_is_the_plain_one(precompute: bool) -> None:
    triples, features = world()
    own, owned = sets(triples, features)
    corruptor = ConceptCorruptor.from_triples(triples, features, mode="paper", precompute=precompute, seed=0, **SIZES)
    generator = torch.Generator().manual_seed(3)
    rows = torch.randint(len(triples), (10_000,), generator=generator)
    candidates = triples[torch.randint(len(triples), (10_000,), generator=generator), 2]  # popular ones more often
    queries = Queries.from_triples(triples[rows], torch.full((10_000,), TAIL))
    found = corruptor.refused(queries, candidates[:, None]).squeeze(-1).tolist()
    plain = [
        bool(own[head] & owned.get((tail, relation, TAIL), set()))
        for head, relation, tail in zip(
            queries.kept.tolist(), queries.relation.tolist(), candidates.tolist(), strict=True
        )
    ]
    assert found == plain
    assert 0.1 < sum(plain) / len(plain) < 0.9


@given(st.integers(0, 2**30))
@settings(max_examples=25, deadline=None)
def test_overlaps_are_sums_over_shared_features(seed: int) -> None:
    triples, features = world(seed)
    draw = random.Random(seed)  # noqa: S311
    triples = triples[draw.sample(range(len(triples)), 60)]
    weights = torch.rand(FEATURES, generator=torch.Generator().manual_seed(seed))
    profiles = OwnerProfiles(triples, features, weights=weights, drop_universal=False, **SIZES)
    side = draw.choice([HEAD, TAIL])
    ids = torch.randint(HEADS + TAILS, (len(triples), 5), generator=torch.Generator().manual_seed(seed))
    ids[:, 0] = triples[:, side].roll(1)
    queries = Queries.from_triples(triples, torch.full((len(triples),), side))
    some, mean = profiles.overlap(queries, profiles.places(queries, ids))
    own, _ = sets(triples, features)
    for row, (kept, relation) in enumerate(zip(queries.kept.tolist(), queries.relation.tolist(), strict=True)):
        for column, candidate in enumerate(ids[row].tolist()):
            owners = triples[(triples[:, 1] == relation) & (triples[:, side] == candidate), TAIL - side].tolist()
            shared = {f for owner in owners for f in own[owner] & own[kept]}
            expected = sum(float(weights[f]) for f in shared)
            means = sum(float(weights[f]) for owner in owners for f in own[owner] & own[kept]) / max(len(owners), 1)
            assert float(some[row, column]) == pytest.approx(expected, abs=1e-5)
            assert float(mean[row, column]) == pytest.approx(means, abs=1e-5)


def test_features_of_all_owners_say_nothing() -> None:
    # everybody who has a tail under relation 0 has feature 0
    features = CandidateIndex.from_lists([[0], [0, 1], [0, 2], [], [], []], num_columns=3)
    triples = torch.tensor([[0, 0, 3], [1, 0, 4], [2, 0, 5], [1, 1, 5]])
    queries = Queries.from_triples(triples[:1], torch.tensor([2]))
    ids = torch.tensor([[4, 5]])
    for drop in (True, False):
        profiles = OwnerProfiles(triples, features, drop_universal=drop, num_entities=6, num_relations=2)
        assert profiles.shares_any(queries, profiles.places(queries, ids)).tolist() == [[not drop] * 2]
    corruptor = ConceptCorruptor.from_triples(
        triples, features, mode="paper", drop_universal=True, num_entities=6, num_relations=2, seed=0
    )
    assert corruptor.refused(queries, ids).tolist() == [[False, False]]


def test_draws_have_the_distribution_of_a_rejection_loop() -> None:
    triples, features = world(5)
    own, owned = sets(triples, features)
    index = TripleIndex(triples, **SIZES)
    corruptor = ConceptCorruptor.from_triples(
        triples, features, mode="paper", index=index, sides=SidePolicy("tail"), seed=1, **SIZES
    )
    positive = next(one for one in triples if len(own[int(one[0])]) == 2)
    head, relation = int(positive[0]), int(positive[1])
    tails = defaultdict(list)
    for h, r, t in triples.tolist():
        if r == relation:
            tails[h].append(t)
    expected: dict[int, float] = defaultdict(float)
    for owner, several in tails.items():
        del owner
        for tail in several:
            if tail not in tails[head] and not own[head] & owned[tail, relation, TAIL]:
                expected[tail] += 1 / len(several)
    total = sum(expected.values())
    negatives = corruptor(positive[None], 40_000)
    assert not negatives.fallback.any()
    counts = torch.bincount(negatives.entity.view(-1).long(), minlength=HEADS + TAILS)
    assert set(counts.nonzero().view(-1).tolist()) <= set(expected)
    seen = [int(counts[tail]) for tail in expected]
    assert scipy.stats.chisquare(seen, [40_000 * one / total for one in expected.values()]).pvalue > 1e-4


@pytest.mark.parametrize("proposal", ["triples", "uniform"])
def test_other_proposals(proposal: str) -> None:
    triples, features = world()
    profiles = OwnerProfiles(triples, features, **SIZES)
    pools = profiles.pools(proposal)
    slot = torch.tensor([3])
    places = pools.members(3)
    chance = pools.probability(slot, places[None]).view(-1)
    tails = torch.bincount(triples[triples[:, 1] == 1, 2], minlength=HEADS + TAILS)[profiles.member[places].long()]
    expected = tails.double() if proposal == "triples" else torch.ones(len(tails), dtype=torch.float64)
    torch.testing.assert_close(chance, expected / expected.sum())


@pytest.mark.parametrize("precompute", [True, False])
def test_an_impossible_constraint_ends_and_is_flagged(precompute: bool) -> None:
    lists = [[0, *([1] if head % 2 else [])] for head in range(20)] + [[]] * 20
    features = CandidateIndex.from_lists(lists, num_columns=2)
    triples = torch.tensor([[head, 0, 20 + head] for head in range(20)])
    sizes = {"num_entities": 40, "num_relations": 1}
    corruptor = ConceptCorruptor.from_triples(
        triples,
        features,
        mode="paper",
        precompute=precompute,
        index=TripleIndex(triples, **sizes),
        sides=SidePolicy("tail"),
        seed=0,
        **sizes,
    )
    negatives = corruptor(triples, 6)
    assert negatives.fallback.all()
    assert corruptor.counts["relaxed"] == corruptor.counts["fallback"] == 120
    # odd heads share two features with odd ones: those that share least are taken
    assert (negatives.entity[1::2] % 2 == 0).float().mean() > 0.9
    assert (negatives.entity >= 20).all()


def test_budget() -> None:
    triples, features = world(2)
    index = TripleIndex(triples, **SIZES)
    for budget in (0.0, 0.1, 0.4):
        corruptor = ConceptCorruptor.from_triples(triples, features, budget=budget, index=index, seed=0, **SIZES)
        for side in (HEAD, TAIL):
            queries = Queries.from_triples(triples, torch.full((len(triples),), side))
            generator = torch.Generator().manual_seed(9)
            places, _ = corruptor.pools.sample(corruptor.profiles.slots(queries), 30, generator)
            ids = corruptor.profiles.member[places.long()]
            known = corruptor.forbidden(queries, ids)
            share = float(corruptor.refused(queries, ids)[~known].float().mean())
            assert share == pytest.approx(budget, abs=0.02), (budget, side)


@pytest.mark.parametrize("vectors", [False, True])
def test_verdicts_beforehand_change_nothing(vectors: bool) -> None:
    triples, features = world(4)
    own = torch.randn(HEADS + TAILS, 8, generator=torch.Generator().manual_seed(0)) if vectors else None
    drawn = []
    for precompute in (True, False):
        corruptor = ConceptCorruptor.from_triples(
            triples, features, vectors=own, dim=4, precompute=precompute, seed=3, **SIZES
        )
        drawn.append(corruptor(triples[::5], 6))
    assert torch.equal(drawn[0].entity, drawn[1].entity)
    assert torch.equal(drawn[0].side, drawn[1].side)


def test_verdicts_for_one_end_leave_the_other_to_comparison() -> None:
    triples, features = world(4)
    parts = learn_concepts(triples, features, mode="paper", precompute=True, ends=(1,), **SIZES)
    whole = ConceptCorruptor.from_triples(triples, features, mode="paper", precompute=False, **SIZES)
    half = ConceptCorruptor(parts, **SIZES)
    for side in (HEAD, TAIL):
        queries, ids = pairs(triples, 300, side)
        assert torch.equal(half.refused(queries, ids), whole.refused(queries, ids))


def test_candidates_of_the_same_kind() -> None:
    triples, features = world(6)
    kinds = CandidateIndex.from_lists(
        [[0]] * HEADS + [[1 + one % 3] for one in range(TAILS - 5)] + [[]] * 5, num_columns=4
    )
    corruptor = ConceptCorruptor.from_triples(
        triples, features, require=kinds, sides=SidePolicy("tail"), index=TripleIndex(triples, **SIZES), seed=0, **SIZES
    )
    negatives = corruptor(triples, 8)
    sure = ~negatives.fallback & (triples[:, 2, None] < HEADS + TAILS - 5)
    same = (triples[:, 2, None] - HEADS) % 3 == (negatives.entity - HEADS) % 3
    assert same[sure].all()
    assert sure.float().mean() > 0.9


def test_the_score_finds_hidden_triples_better_than_rule_and_popularity() -> None:
    triples, features = world(8)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(triples), generator=generator)
    hidden, known = triples[order[:250]], triples[order[250:]]
    index = TripleIndex(triples, **SIZES)
    drawn = known[torch.randint(len(known), (3000,), generator=generator)].clone()
    drawn[:, 2] = known[torch.randint(len(known), (3000,), generator=generator), 2]
    drawn = drawn[~index.contains(drawn)]
    score = ConceptScore.fit(known, features, seed=0, **SIZES)
    asked = torch.cat([hidden, drawn])
    queries = Queries.from_triples(asked, torch.full((len(asked),), TAIL))
    known_there = score.profiles.places(queries, asked[:, 2:]).squeeze(-1) >= 0
    label = (torch.arange(len(asked)) < len(hidden))[known_there]
    table = score.table(queries, asked[:, 2:]).squeeze(1)[known_there]
    ours = roc_auc_score(label, score(queries, asked[:, 2:]).squeeze(-1)[known_there])
    assert ours > roc_auc_score(label, (table[:, 1] > 0).float()) + 0.02
    assert ours > roc_auc_score(label, table[:, 0]) + 0.02


def test_features_of_triples_are_made_without_what_is_hidden() -> None:
    triples, _ = world(3)
    seen = []

    def made(known: LongTensor) -> CandidateIndex:
        seen.append(len(known))
        return signature_features(known, **SIZES)

    score = ConceptScore.fit(triples, made, seed=0, **SIZES)
    assert sorted(seen) == [len(triples) - round(len(triples) / 10), len(triples)]
    given = ConceptScore.fit(triples, signature_features(triples, **SIZES), seed=0, **SIZES)
    assert not torch.equal(score.linear, given.linear)


def test_corruptors_of_the_same_parts_go_their_own_ways() -> None:
    triples, features = world(3)
    for mode in ("paper", "weighted"):
        parts = learn_concepts(triples, features, mode=mode, **SIZES)
        first, second = (ConceptCorruptor(parts, seed=0, **SIZES) for _ in range(2))
        first.double()
        assert torch.float64 not in {one.dtype for one in second.profiles.buffers()}
        assert torch.equal(first(triples[:50], 3).entity, second(triples[:50], 3).entity)
        names = [name for name in second.state_dict() if name.endswith("owners")]
        assert len(names) == 1


def test_verdicts_of_known_triples_come_and_go_with_the_state() -> None:
    triples, features = world(3)
    more, half = triples, triples[::2]
    own, other = (
        ConceptCorruptor.from_triples(half, features, mode="paper", index=TripleIndex(known, **SIZES), seed=0, **SIZES)
        for known in (half, more)
    )
    assert bool(own.knows) and not bool(other.knows)
    own.load_state_dict(other.state_dict())
    negatives = own(half, 20)
    assert not TripleIndex(more, **SIZES).contains(negatives.triples.view(-1, 3)).any()


def test_vectors_of_zeros_are_like_nothing() -> None:
    vectors = torch.tensor([[0.0, 0.0], [1e25, 0.0], [-1e25, 1e24], [0.0, 0.0]])
    found = main_components(vectors, 4, 2)
    assert (found[[0, 3]] == 0).all()
    torch.testing.assert_close(found[[1, 2]].norm(dim=-1), torch.ones(2))


def test_too_few_triples_to_learn_from() -> None:
    features = CandidateIndex.from_lists([[0], [1], [0], [], []], num_columns=2)
    triples = torch.tensor([[0, 0, 3], [1, 0, 4]])
    sizes = {"num_entities": 5, "num_relations": 1}
    score = ConceptScore.fit(triples, features, **sizes)
    queries = Queries.from_triples(torch.tensor([[2, 0, 3]]), torch.tensor([2]))
    first, second = score(queries, torch.tensor([[3, 4]]))[0].tolist()
    assert first > second
    one = ConceptCorruptor.from_triples(triples[:1], features, seed=0, **sizes)
    assert one(triples[:1], 3).triples.shape == (1, 3, 3)


def test_signature() -> None:
    triples = torch.tensor([[0, 0, 1], [0, 1, 2]])
    found = signature_features(triples, num_entities=4, num_relations=2)
    assert [found.members(one).tolist() for one in range(4)] == [[0, 2], [1], [3], []]


@pytest.mark.slow
def test_memory_of_a_large_knowledge_base() -> None:
    generator = torch.Generator().manual_seed(0)
    number, tails, width = 24_000, 20_000, 16_000
    head = torch.arange(number).repeat_interleave(12)
    feature = (torch.rand(len(head), generator=generator) ** 3 * width).long()
    features = CandidateIndex.from_pairs(head, feature, num_rows=number + tails, num_columns=width)
    triples = torch.stack(
        [
            torch.randint(number, (80_000,), generator=generator),
            torch.randint(9, (80_000,), generator=generator),
            number + (torch.rand(80_000, generator=generator) ** 2 * tails).long(),
        ],
        dim=-1,
    )
    sizes = {"num_entities": number + tails, "num_relations": 9}
    for mode in ("paper", "weighted"):
        corruptor = ConceptCorruptor.from_triples(
            triples, features, mode=mode, sides=SidePolicy("tail"), seed=0, **sizes
        )
        storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in corruptor.buffers()}
        assert sum(storages.values()) < 200 * 2**20, mode


BAD: list[tuple[dict[str, Any], str]] = [
    ({"mode": "papr"}, "mode must be one of weighted, paper; got 'papr'"),
    ({"proposal": "all"}, "proposal must be one of owners, triples, uniform; got 'all'"),
    ({"budget": 1.0}, "budget=1 refuses every candidate"),
    ({"budget": -0.1}, "budget"),
    ({"precompute": "yes"}, "precompute must be true or false, got 'yes'"),
    ({"drop_universal": 1}, "drop_universal must be true or false"),
    ({"weights": torch.ones(3)}, r"weights of shape \(3,\) do not fit 40 features"),
    ({"weights": torch.full((FEATURES,), torch.nan)}, "the weight of feature 0 is nan"),
    ({"vectors": torch.ones(3, 2)}, r"vectors of shape \(3, 2\) do not fit 420 entities"),
    ({"vectors": torch.full((HEADS + TAILS, 2), torch.inf)}, "the vector of entity 0 is not finite"),
    ({"dim": -1}, "dim"),
    ({"require": CandidateIndex.from_lists([[]] * (HEADS + TAILS), num_columns=1)}, "no entity has a kind"),
    ({"require": CandidateIndex.from_lists([[0]], num_columns=1)}, "kinds of 1 entities do not fit 420"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=[next(iter(one)) + str(n) for n, (one, _) in enumerate(BAD)])
def test_refusals(options: dict[str, Any], message: str) -> None:
    triples, features = world()
    with pytest.raises(InvalidInputError, match=message):
        ConceptCorruptor.from_triples(triples, features, **options, **SIZES)


def test_refusals_of_tables() -> None:
    triples, features = world()
    empty = CandidateIndex.from_lists([[]] * (HEADS + TAILS), num_columns=3)
    with pytest.raises(InvalidInputError, match="no entity has a feature: give concepts"):
        ConceptCorruptor.from_triples(triples, empty, **SIZES)
    with pytest.raises(InvalidInputError, match="features of 420 entities do not fit 421"):
        ConceptCorruptor.from_triples(triples, features, num_entities=421, num_relations=RELATIONS)
    with pytest.raises(InvalidInputError, match="there are no known triples"):
        ConceptCorruptor.from_triples(triples[:0], features, **SIZES)
    parts = learn_concepts(triples, features, mode="paper", **SIZES)
    with pytest.raises(InvalidInputError, match="concepts of 420 entities and 3 relations do not fit"):
        ConceptCorruptor(parts, num_entities=420, num_relations=4)
