"""Caches: what gets in, what stays out, and when they change."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kgneg.core.corruption import Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.samplers import NSCachingCorruptor

ENTITIES, RELATIONS = 40, 2
TRIPLES = torch.stack(
    [
        torch.randint(high, (160,), generator=torch.Generator().manual_seed(seed))
        for seed, high in ((1, ENTITIES), (2, RELATIONS), (3, ENTITIES))
    ],
    dim=-1,
)
KNOWN = {tuple(row) for row in TRIPLES.tolist()}


def by_id(queries: Queries, ids: torch.Tensor) -> torch.Tensor:
    """Larger ids are more plausible, by far: the draw by importance is all but certain."""
    return 1000.0 * ids.float()


def make(*, filtered: bool = True, policy: str = "tail", **options: Any) -> NSCachingCorruptor:
    sizes = {"num_entities": ENTITIES, "num_relations": RELATIONS}
    corruptor = NSCachingCorruptor(
        TRIPLES,
        index=TripleIndex(TRIPLES, **sizes) if filtered else None,
        sides=SidePolicy(policy, triples=TRIPLES, num_relations=RELATIONS),
        **{"cache": 4, "candidates": 2000, "seed": 0, **sizes, **options},
    )
    corruptor.attach(by_id)
    return corruptor


def best(head: int, relation: int, without: set[int], *, skip: int = 0, limit: int = ENTITIES) -> set[int]:
    """Return the four tails that belong into a cache."""
    known = {t for h, r, t in KNOWN if (h, r) == (head, relation)}
    order = [entity for entity in range(ENTITIES - 1, -1, -1) if entity not in known | without][skip:]
    return set([entity for entity in order if entity <= limit][:4])


@pytest.mark.parametrize("skip_top", [0, 5])
def test_the_most_plausible_unknown_entities_get_in(skip_top: int) -> None:
    negatives = make(skip_top=skip_top)(TRIPLES, 60)
    for positive, entities in zip(TRIPLES.tolist(), negatives.entity.tolist(), strict=True):
        assert set(entities) == best(positive[0], positive[1], set(), skip=skip_top)


def test_heads_have_caches_of_their_own() -> None:
    corruptor = make(policy="uniform")
    pairs = {(0, t, r) for _, r, t in KNOWN} | {(2, h, r) for h, r, _ in KNOWN}
    assert corruptor.members.shape == (len(pairs), 4)
    negatives = corruptor(TRIPLES, 80)
    heads = negatives.entity[:, :40]
    for (_, relation, tail), entities in zip(TRIPLES.tolist(), heads.tolist(), strict=True):
        known = {h for h, r, t in KNOWN if (r, t) == (relation, tail)}
        assert set(entities) == set([entity for entity in range(39, -1, -1) if entity not in known][:4])


def test_ceiling_is_that_of_the_lowest_positive() -> None:
    corruptor = make(ceiling=2500.0)
    negatives = corruptor(TRIPLES, 60)
    lowest: dict[tuple[int, int], int] = {}
    for h, r, t in TRIPLES.tolist():
        lowest[h, r] = min(t, lowest.get((h, r), t))
    checked = 0
    for (h, r, _), entities in zip(TRIPLES.tolist(), negatives.entity.tolist(), strict=True):
        expected = best(h, r, set(), limit=lowest[h, r] + 2)
        if expected:
            assert set(entities) == expected
            checked += 1
    assert checked > 100


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_caches_without_members_give_uniform_entities_and_say_so(share: float) -> None:
    corruptor = make(ceiling=-1e6, share=share)
    negatives = corruptor(TRIPLES, 30)
    rows = corruptor._rows(Queries.from_triples(TRIPLES, torch.full((160,), 2)))[0]
    assert bool((corruptor.members[rows] == -1).all())
    by_cache = torch.arange(30) < 30 * share
    assert torch.equal(negatives.fallback, by_cache.expand(160, 30))
    assert corruptor.tally.read()["empty_slots"] == corruptor.counts["fallback"] == int(by_cache.sum()) * 160
    assert len(negatives.entity.unique()) == ENTITIES
    assert not any(tuple(row) in KNOWN for row in negatives.triples.view(-1, 3).tolist())


def test_an_empty_cache_is_refreshed_again_at_once() -> None:
    corruptor = make(candidates=2, ceiling=0.0, refresh=50)
    corruptor.members.fill_(-1)
    lowest: dict[tuple[int, int], int] = {}
    for h, r, t in TRIPLES.tolist():
        lowest[h, r] = min(t, lowest.get((h, r), t))
    negatives = corruptor(TRIPLES, 3)
    for (h, r, _), entities, flags in zip(
        TRIPLES.tolist(), negatives.entity.tolist(), negatives.fallback.tolist(), strict=True
    ):
        assert all(flag or entity < lowest[h, r] for entity, flag in zip(entities, flags, strict=True))
    empty = corruptor.tally.read()["empty_slots"]
    assert empty == corruptor.counts["rejected"] > 100
    assert corruptor.counts["fallback"] < 0.7 * empty


def test_what_a_cache_holds_for_another_positive_is_drawn_again_from_the_cache() -> None:
    head, relation = TRIPLES[0, :2].tolist()
    corruptor = make(filtered=False, refresh=1000)
    corruptor(torch.tensor([[head, relation, 0]]), 1)
    members = [39, 38, 37, 36]
    row = corruptor._rows(Queries.from_triples(TRIPLES[:1], torch.tensor([2])))[0]
    assert sorted(corruptor.members[row].view(-1).tolist(), reverse=True) == members
    negatives = corruptor(torch.tensor([[head, relation, 39]]), 200)
    assert not negatives.fallback.any()
    assert set(negatives.entity.view(-1).tolist()) == set(members[1:])


def test_what_was_left_out_is_counted_by_reason() -> None:
    corruptor = make(skip_top=1, candidates=2000)
    corruptor(TRIPLES, 6)  # more than a cache has: they are drawn with replacement in any case
    caches = {(h, r) for h, r, _ in KNOWN}
    counts = corruptor.tally.read()
    assert counts["scored"] == len(caches) * 2004
    assert counts["known"] == len(KNOWN)
    assert counts["skipped"] == len(caches)
    assert counts["repeated"] == len(caches) * (2004 - ENTITIES)
    assert counts["empty_slots"] == counts["repeated_slots"] == counts["above_ceiling"] == counts["not_finite"] == 0
    corruptor.attach(lambda queries, ids: torch.full(ids.shape, torch.nan))
    corruptor(TRIPLES, 2)
    assert corruptor.tally.read()["not_finite"] > len(caches)
    assert corruptor.counts["fallback"] == 2 * len(TRIPLES)


def test_unknown_pairs_are_uniform() -> None:
    pairs = {(h, r) for h, r, _ in KNOWN}
    missing = next((h, r) for h in range(ENTITIES) for r in range(RELATIONS) if (h, r) not in pairs)
    corruptor = make()
    before = corruptor.members.clone()
    negatives = corruptor(torch.tensor([[*missing, 0]]), 4000)
    count = torch.bincount(negatives.entity.view(-1).long(), minlength=ENTITIES)[1:].double()
    assert torch.equal(corruptor.members, before)
    expected = count.mean()
    assert float(((count - expected) ** 2 / expected).sum()) < 90  # 38 degrees of freedom


def test_only_the_rows_of_a_batch_are_refreshed_and_only_when_due() -> None:
    corruptor = make(refresh=3)
    positives = TRIPLES[:10]
    rows = corruptor._rows(Queries.from_triples(positives, torch.full((10,), 2)))[0].unique()
    states = [corruptor.members.clone()]
    for _ in range(4):
        corruptor(positives, 2)
        states.append(corruptor.members.clone())
    changed = [bool((states[i] != states[i + 1]).any()) for i in range(4)]
    assert changed[:3] == [True, False, False]
    others = torch.ones(len(corruptor.pairs), dtype=torch.bool)
    others[rows] = False
    assert torch.equal(states[0][others], states[4][others])


def test_members_stay_while_nothing_better_comes() -> None:
    corruptor = make(candidates=3)
    means = []
    for _ in range(30):
        corruptor(TRIPLES, 2)
        rows = corruptor._rows(Queries.from_triples(TRIPLES, torch.full((160,), 2)))[0]
        means.append(float(corruptor.members[rows].float().mean()))
    assert means == sorted(means)
    assert means[-1] > 30 > means[0]


@pytest.mark.parametrize("temperature", [1.0, 0.5, 4.0])
def test_members_are_drawn_by_importance(temperature: float) -> None:
    weights = torch.linspace(0, 2, ENTITIES)
    options = {} if temperature == 1.0 else {"temperature": temperature}
    corruptor = make(cache=1, candidates=500, filtered=False, **options)
    corruptor.attach(lambda queries, ids: weights[ids.long()])
    counts = torch.zeros(ENTITIES, dtype=torch.double)
    positive = TRIPLES[:1]
    for _ in range(800):
        corruptor.members.fill_(-1)
        counts[int(corruptor(positive, 1).entity)] += 1
    chance = (weights / temperature).exp().double()
    chance[int(positive[0, 2])] = 0
    expected = 800 * chance / chance.sum()
    used = expected > 0
    assert float(((counts - expected)[used] ** 2 / expected[used]).sum()) < 90  # 38 degrees of freedom
    assert counts[~used] == 0


def test_at_temperature_zero_the_best_get_in() -> None:
    corruptor = make(temperature=0.0)
    corruptor.attach(lambda queries, ids: 1e-3 * ids.float())
    negatives = corruptor(TRIPLES, 60)
    for (h, r, _), entities in zip(TRIPLES.tolist(), negatives.entity.tolist(), strict=True):
        assert set(entities) == best(h, r, set())


def test_members_are_distinct() -> None:
    corruptor = make(cache=20, candidates=20)
    corruptor(TRIPLES, 2)
    for row in corruptor.members.tolist()[-40:]:
        members = [entity for entity in row if entity >= 0]
        assert len(members) == len(set(members))


def test_share() -> None:
    negatives = make(share=0.25)(TRIPLES, 8)
    for (h, r, _), entities in zip(TRIPLES.tolist(), negatives.entity.tolist(), strict=True):
        assert set(entities[:2]) <= best(h, r, set())
    assert len({entity for row in negatives.entity.tolist() for entity in row[2:]}) == ENTITIES


def test_too_much_memory_is_refused_with_the_number() -> None:
    with pytest.raises(InvalidInputError, match=r"caches of 4 entities take [\d,]+ bytes, more than max_bytes=1,000"):
        make(max_bytes=1000)


def test_without_a_model() -> None:
    corruptor = make()
    corruptor.detach_model()
    with pytest.raises(InvalidInputError, match="NSCachingCorruptor reads the scores of a model"):
        corruptor(TRIPLES[:2], 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cache", 0),
        ("candidates", 0),
        ("refresh", 0),
        ("temperature", -1),
        ("skip_top", -1),
        ("share", -0.5),
        ("max_bytes", 0),
    ],
)
def test_refusals(name: str, value: object) -> None:
    with pytest.raises(InvalidInputError, match=name):
        make(**{name: value})
