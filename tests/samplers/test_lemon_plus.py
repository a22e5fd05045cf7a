"""lemon+ against a plain search for the best of some candidates."""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor, Proposals
from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility import PlausibilityCeiling, TruthPrior
from kgneg.core.queries import Queries
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import BoolTensor, IntTensor, LongTensor
from kgneg.samplers import (
    LemonCorruptor,
    LemonPlusCorruptor,
    LemonSettings,
    MixtureCorruptor,
    TypedCorruptor,
    UniformCorruptor,
)

ENTITIES, RELATIONS = 40, 2
SIZES = {"num_entities": ENTITIES, "num_relations": RELATIONS}


@pytest.fixture(scope="module")
def triples() -> LongTensor:
    generator = torch.Generator().manual_seed(5)
    rows = torch.randint(ENTITIES - 10, (160, 3), generator=generator)
    rows[:, 1] %= RELATIONS
    return rows.unique(dim=0)


@pytest.fixture(scope="module")
def prior(triples: LongTensor) -> TruthPrior:
    return TruthPrior.fit(triples, rank=4, **SIZES)


@pytest.fixture
def index(triples: LongTensor) -> TripleIndex:
    return TripleIndex(triples, **SIZES)


class Recorder(Corruptor):
    """Proposes random entities, some without conviction, and remembers them."""

    def __init__(self, hits: bool = True) -> None:
        super().__init__(**SIZES)
        self.hits = hits
        self.seen: list[tuple[IntTensor, BoolTensor | None]] = []

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        ids = torch.randint(ENTITIES, (len(queries), n), generator=generator)
        hit = torch.rand(ids.shape, generator=generator) < 0.7 if self.hits else None
        self.seen.append((ids.clone(), hit))
        return ids, hit


def odd(queries: Queries, ids: IntTensor) -> BoolTensor:
    return ids % 2 == 1


def typed_pool(triples: LongTensor) -> Corruptor:
    return TypedCorruptor(CandidateIndex.from_relation_types(triples, **SIZES), **SIZES)


def clustered_pool(triples: LongTensor, clusters: int = 8, nearest: int = 8) -> LemonCorruptor:
    vectors = torch.randn(ENTITIES, 6, generator=torch.Generator().manual_seed(0))
    settings = LemonSettings(dim=None, n_clusters=clusters, n_nearest=nearest)
    types = CandidateIndex.from_relation_types(triples, **SIZES)
    return LemonCorruptor.from_vectors(vectors, settings, types=types, **SIZES)


@pytest.mark.parametrize("best_of", [1, 2, 7])
@pytest.mark.parametrize("hits", [True, False])
@pytest.mark.parametrize("quantile", [1.0, 0.4])
def test_the_most_plausible_one_that_is_allowed(
    triples: LongTensor, prior: TruthPrior, index: TripleIndex, best_of: int, hits: bool, quantile: float
) -> None:
    pool = Recorder(hits)
    everyone = torch.arange(ENTITIES, dtype=torch.int32).expand(len(triples), -1).contiguous()
    queries = Queries.from_triples(triples, torch.arange(len(triples)) % 2 * 2)
    table = prior.logits(queries, everyone)
    limit = float(table.quantile(quantile))
    corruptor = LemonPlusCorruptor(
        pool, PlausibilityCeiling(prior, limit), best_of=best_of, index=index, constraints=(odd,), **SIZES
    )
    ids, hit = corruptor.propose(queries, 3, torch.Generator().manual_seed(0))
    [(candidates, own)] = pool.seen
    assert candidates.shape == (len(triples), 3 * best_of)
    known = {tuple(row) for row in triples.tolist()}
    found = 0
    for row, triple in enumerate(triples.tolist()):
        side = int(queries.side[row])
        for slot in range(3):
            places = range(slot * best_of, (slot + 1) * best_of)
            good = []
            for place in places:
                entity = int(candidates[row, place])
                other = (*triple[:side], entity, *triple[side + 1 :])
                allowed = other not in known and entity % 2 == 1 and float(table[row, entity]) <= limit
                if allowed and (own is None or bool(own[row, place])):
                    good.append(entity)
            assert bool(hit[row, slot]) == bool(good)
            if good:
                found += 1
                assert table[row, ids[row, slot]] == max(table[row, entity] for entity in good)
                assert int(ids[row, slot]) in good
    assert found


def test_more_candidates_give_more_plausible_negatives(
    triples: LongTensor, prior: TruthPrior, index: TripleIndex
) -> None:
    means = []
    for best_of in (1, 2, 6):
        corruptor = LemonPlusCorruptor(
            typed_pool(triples), PlausibilityCeiling(prior), best_of=best_of, index=index, seed=0, **SIZES
        )
        negatives = corruptor(triples, 8)
        own = ~negatives.fallback
        means.append(float(prior.of_triples(negatives.triples)[own].mean()))
    assert means[0] < means[1] < means[2]


def test_a_ceiling_that_nothing_passes(triples: LongTensor, prior: TruthPrior, index: TripleIndex) -> None:
    ceiling = PlausibilityCeiling(prior, -math.inf)
    corruptor = LemonPlusCorruptor(typed_pool(triples), ceiling, index=index, seed=0, **SIZES)
    negatives = corruptor(triples, 4)
    assert negatives.fallback.all()
    assert not index.contains(negatives.triples).any()
    mixture = MixtureCorruptor([(corruptor, 0.5), (UniformCorruptor(**SIZES), 0.5)], index=index, seed=0, **SIZES)
    assert 0.3 < float(mixture(triples, 4).fallback.double().mean()) < 0.7


# Curriculum


def curriculum_of(triples: LongTensor, prior: TruthPrior, **options: Any) -> LemonPlusCorruptor:
    settings = {"curriculum": 2000, "width": 2, "seed": 0, **options}
    return LemonPlusCorruptor(clustered_pool(triples), PlausibilityCeiling(prior), **settings, **SIZES)


def test_pools_narrow_down(triples: LongTensor, prior: TruthPrior) -> None:
    corruptor = curriculum_of(triples, prior)
    pool: Any = corruptor.pool
    widths = []
    for _ in range(40):
        seen = int(corruptor.seen)
        corruptor(triples[:50], 2)
        # redraws narrow the pools as well: the width is between what it was before and what it is after the call
        bounds = [max(2, math.ceil(2 + 6 * (1 - min(slots / 2000, 1)))) for slots in (seen, int(corruptor.seen))]
        assert bounds[1] <= pool.width <= bounds[0]
        widths.append(pool.width)
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == 8
    assert widths[-1] == 2
    assert set(widths) == set(range(2, 9))
    assert int(corruptor.seen) >= 40 * 100


def test_narrow_pools_hold_what_is_near(triples: LongTensor, prior: TruthPrior) -> None:
    corruptor = curriculum_of(triples, prior, curriculum=1)
    corruptor(triples, 1)
    queries = Queries.from_triples(triples, torch.full((len(triples),), 2))
    generator = torch.Generator().manual_seed(0)
    drawn, hit = corruptor.propose(queries, 30, generator)
    near = clustered_pool(triples, 8, 2)
    reach, real = near.propose(queries, 2000, generator)
    for row in range(len(triples)):
        assert set(drawn[row][hit[row]].tolist()) <= set(reach[row][real[row]].tolist())


def test_a_copy_goes_on_where_the_original_stood(triples: LongTensor, prior: TruthPrior) -> None:
    original, twin = (curriculum_of(triples, prior) for _ in range(2))
    for _ in range(6):
        original(triples[:50], 2)
    assert 0 < int(original.seen) < 2000
    twin.load_state_dict(original.state_dict())
    assert int(twin.seen) == int(original.seen)
    for other in (twin, copy.deepcopy(original)):
        generators = [torch.Generator().manual_seed(3) for _ in range(2)]
        reference = copy.deepcopy(original)
        mine, its = (
            part(triples, 3, generator) for part, generator in zip((reference, other), generators, strict=True)
        )
        assert torch.equal(mine.triples, its.triples)
        assert reference.pool.width == other.pool.width < 8
    assert "seen" in original.state_dict()


def test_without_a_curriculum_nothing_is_counted(triples: LongTensor, prior: TruthPrior) -> None:
    corruptor = curriculum_of(triples, prior, curriculum=0)
    corruptor(triples, 3)
    assert int(corruptor.seen) == 0
    assert corruptor.pool.width is None


def test_the_width_of_a_typed_pool(triples: LongTensor) -> None:
    """All clusters are the whole domain or range, and fewer of them are a part of it."""
    pool = clustered_pool(triples)
    queries = Queries.from_triples(triples, torch.full((len(triples),), 2))
    found = []
    for width in (None, 8, 3, 1):
        pool.width = width
        ids, hit = pool.propose(queries, 500, torch.Generator().manual_seed(0))
        found.append([set(ids[row][hit[row]].tolist()) for row in range(len(triples))])
    assert found[0] == found[1]
    ranges = {r: set(triples[triples[:, 1] == r, 2].tolist()) for r in range(RELATIONS)}
    assert all(members == ranges[r] for members, r in zip(found[0], triples[:, 1].tolist(), strict=True))
    for wide, narrow in pairwise(found):
        assert all(inner <= outer for inner, outer in zip(narrow, wide, strict=True))
    assert sum(map(len, found[3])) < sum(map(len, found[2])) < sum(map(len, found[1]))


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"best_of": 0}, "best_of must be at least 1"),
        ({"best_of": 1.5}, "best_of must be an integer"),
        ({"curriculum": -1}, "curriculum must be at least 0"),
        ({"width": 0}, "width must be at least 1"),
        ({"num_entities": 41}, "the pool is for 40 entities and 2 relations, the corruptor for 41 and 2"),
    ],
)
def test_wrong_options(triples: LongTensor, prior: TruthPrior, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        LemonPlusCorruptor(typed_pool(triples), PlausibilityCeiling(prior), **(SIZES | options))


def test_parts_that_do_not_fit(triples: LongTensor, prior: TruthPrior) -> None:
    other = TruthPrior.fit(triples, num_entities=ENTITIES, num_relations=3)
    with pytest.raises(InvalidInputError, match="the prior is for 40 entities and 3 relations"):
        LemonPlusCorruptor(typed_pool(triples), PlausibilityCeiling(other), **SIZES)
    for pool in (typed_pool(triples), clustered_pool(triples, 4, 1)):
        with pytest.raises(InvalidInputError, match="a curriculum narrows pools made of several clusters"):
            LemonPlusCorruptor(pool, PlausibilityCeiling(prior), curriculum=10, **SIZES)
