"""The hardest of a pool, compared with a search by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.handles import attach_scorer
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.samplers import DynamicCorruptor, MixtureCorruptor, TypedCorruptor, UniformCorruptor
from kgneg.samplers.screening import choose_highest, without_repeats

ENTITIES, RELATIONS = 30, 3
TABLE = torch.randn(ENTITIES, RELATIONS, ENTITIES, generator=torch.Generator().manual_seed(2))
TRIPLES = torch.stack(
    [torch.randint(high, (300,), generator=torch.Generator().manual_seed(high)) for high in (ENTITIES, RELATIONS)]
    + [torch.randint(ENTITIES, (300,), generator=torch.Generator().manual_seed(4))],
    dim=-1,
)
KNOWN = {tuple(row) for row in TRIPLES.tolist()}


def score(queries: Queries, ids: torch.Tensor) -> torch.Tensor:
    kept, relation, ids = queries.kept[:, None], queries.relation[:, None], ids.long()
    at_head = queries.side[:, None] == 0
    return torch.where(at_head, TABLE[ids, relation, kept], TABLE[kept, relation, ids])


def make(*, policy: str = "uniform", filtered: bool = True, **options: Any) -> DynamicCorruptor:
    sizes = {"num_entities": ENTITIES, "num_relations": RELATIONS}
    corruptor = DynamicCorruptor(
        index=TripleIndex(TRIPLES, **sizes) if filtered else None,
        sides=SidePolicy(policy, triples=TRIPLES, num_relations=RELATIONS),
        **{"pool": ENTITIES, "seed": 0, **sizes, **options},
    )
    corruptor.attach(score)
    return corruptor


def ranked(positive: list[int], side: int, *, filtered: bool = True) -> list[tuple[float, int]]:
    """Return the unknown candidates for an end of a positive, the most plausible first."""
    found = []
    for entity in range(ENTITIES):
        triple = list(positive)
        triple[side] = entity
        if entity != positive[side] and not (filtered and tuple(triple) in KNOWN):
            found.append((float(TABLE[tuple(triple)]), entity))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize(("policy", "n"), [("uniform", 6), ("uniform", 5), ("bernoulli", 6), ("tail", 3), ("head", 1)])
@pytest.mark.parametrize("skip_top", [0, 3])
def test_the_hardest_unknown_candidates_are_taken(policy: str, n: int, filtered: bool, skip_top: int) -> None:
    corruptor = make(policy=policy, filtered=filtered, skip_top=skip_top)
    positives = TRIPLES[:80]
    negatives = corruptor(positives, n)
    for positive, entities, sides in zip(
        positives.tolist(), negatives.entity.tolist(), negatives.side.tolist(), strict=True
    ):
        for side in set(sides):
            best = [entity for _, entity in ranked(positive, side, filtered=filtered)[skip_top:]]
            mine = [entity for entity, other in zip(entities, sides, strict=True) if other == side]
            assert mine == best[: len(mine)]
    assert not corruptor.counts["rejected"]


def allowed_by(positive: list[int], side: int, margin: float, skip: int = 0) -> list[int]:
    """Return the candidates that a ceiling leaves, the most plausible first."""
    limit = float(TABLE[tuple(positive)]) + margin
    return [entity for value, entity in ranked(positive, side)[skip:] if value <= limit]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("skip_top", [0, 2])
def test_where_a_ceiling_leaves_few_candidates_they_are_repeated(skip_top: int, temperature: float) -> None:
    positives = TRIPLES[:100]
    corruptor = make(ceiling=0.25, skip_top=skip_top, temperature=temperature)
    negatives = corruptor(positives, 16)
    repeated = empty = 0
    for row, positive in enumerate(positives.tolist()):
        for side, slots in ((0, slice(0, 8)), (2, slice(8, 16))):
            allowed = allowed_by(positive, side, 0.25, skip_top)
            mine, flags = negatives.entity[row, slots].tolist(), negatives.fallback[row, slots].tolist()
            assert flags == [not allowed] * 8
            if not allowed:
                empty += 1
                continue
            first = mine[: len(allowed)]
            assert sorted(first) == sorted(allowed) if len(allowed) < 8 else set(first) <= set(allowed)
            assert temperature or first == allowed[:8]
            assert set(mine) <= set(allowed)
            repeated += len(allowed) < 8
    assert repeated > 20
    assert empty
    counts = corruptor.tally.read()
    assert counts["empty_slots"] == corruptor.counts["rejected"] == corruptor.counts["fallback"] == 8 * empty


def test_repeats_are_uniform() -> None:
    positive = next(row for row in TRIPLES.tolist() if len(allowed_by(row, 2, 0.0)) == 4)
    allowed = allowed_by(positive, 2, 0.0)
    entities = make(policy="tail", ceiling=0.0)(torch.tensor(positive), 4004).entity
    assert entities[:4].tolist() == allowed
    count = torch.tensor([int((entities[4:] == entity).sum()) for entity in allowed]).double()
    assert count.sum() == 4000
    assert float(((count - 1000) ** 2 / 1000).sum()) < 25  # 3 degrees of freedom


def test_an_empty_pool_is_drawn_again_and_only_then_is_the_draw_uniform() -> None:
    corruptor = make(pool=2, ceiling=0.0, policy="tail")
    negatives = corruptor(TRIPLES, 3)
    reached = 0
    for positive, entities, flags in zip(
        TRIPLES.tolist(), negatives.entity.tolist(), negatives.fallback.tolist(), strict=True
    ):
        allowed = allowed_by(positive, 2, 0.0)
        for entity, flag in zip(entities, flags, strict=True):
            assert flag or entity in allowed
            reached += flag and bool(allowed)
    first, last = corruptor.counts["rejected"], corruptor.counts["fallback"]
    assert last == int(negatives.fallback.sum())
    assert first == corruptor.tally.read()["empty_slots"] > 100
    assert reached < 0.3 * first


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_where_nothing_is_left_the_draw_is_uniform_and_says_so(share: float) -> None:
    corruptor = make(ceiling=-1e6, share=share)
    negatives = corruptor(TRIPLES, 8)
    by_scores = torch.tensor([True, share == 1.0]).repeat_interleave(2).repeat(2)
    assert torch.equal(negatives.fallback, by_scores.expand(300, 8))
    assert not any(tuple(row) in KNOWN for row in negatives.triples.view(-1, 3).tolist())
    assert len(negatives.entity.unique()) == ENTITIES
    assert corruptor.tally.read()["empty_slots"] == corruptor.counts["fallback"] == int(by_scores.sum()) * 300


def only_even(queries: Queries, ids: torch.Tensor) -> torch.Tensor:
    return ids % 2 == 0


def test_what_was_left_out_is_counted_by_reason() -> None:
    corruptor = make(ceiling=0.25, skip_top=2, policy="tail", constraints=[only_even])
    positives = TRIPLES[:60]
    expected = dict.fromkeys(corruptor.tally.read(), 0)
    assert set(corruptor.tally.read().values()) == {0}
    corruptor._propose_signed(Queries.from_triples(positives, torch.full((60,), 2)), 3, torch.Generator())
    for positive in positives.tolist():
        unknown = ranked(positive, 2)
        even = [entry for entry in unknown if entry[1] % 2 == 0]
        left = [value for value, _ in even[2:] if value <= float(TABLE[tuple(positive)]) + 0.25]
        expected["scored"] += ENTITIES
        expected["known"] += ENTITIES - len(unknown)
        expected["constrained"] += len(unknown) - len(even)
        expected["skipped"] += 2
        expected["above_ceiling"] += len(even) - 2 - len(left)
        expected["empty_slots"] += 0 if left else 3
        expected["repeated_slots"] += max(3 - len(left), 0) if left else 0
    assert corruptor.tally.read() == expected
    assert min(value for name, value in expected.items() if name not in ("repeated", "not_finite")) > 0
    corruptor.tally.clear()
    assert set(corruptor.tally.read().values()) == {0}


def test_only_candidates_are_skipped() -> None:
    corruptor = make(skip_top=ENTITIES, policy="tail")
    corruptor._propose_signed(Queries.from_triples(TRIPLES[:20], torch.full((20,), 2)), 1, torch.Generator())
    counts = corruptor.tally.read()
    assert counts["skipped"] == sum(len(ranked(positive, 2)) for positive in TRIPLES[:20].tolist())
    assert counts["skipped"] + counts["known"] == 20 * ENTITIES


def test_repeated_candidates_are_counted() -> None:
    seen: list[torch.Tensor] = []
    corruptor = make(pool=20, filtered=False, policy="tail")
    corruptor.attach(lambda queries, ids: (seen.append(ids), score(queries, ids))[1])
    corruptor(TRIPLES[:50], 2)
    distinct = sum(len(set(row)) for row in seen[0].tolist())
    assert corruptor.tally.read()["repeated"] == 50 * 20 - distinct > 0


@pytest.mark.parametrize("policy", ["tail", "bernoulli"])
def test_a_share_of_less_than_a_slot_is_kept_on_average(policy: str) -> None:
    positives = TRIPLES[:60].repeat(100, 1)
    negatives = make(policy=policy, share=0.3)(positives, 1)
    hardest = expected = 0.0
    choices = {(i, side): ranked(positive, side) for i, positive in enumerate(TRIPLES[:60].tolist()) for side in (0, 2)}
    rows = zip(negatives.entity.view(-1).tolist(), negatives.side.view(-1).tolist(), strict=True)
    for number, (entity, side) in enumerate(rows):
        candidates = choices[number % 60, side]
        hardest += entity == candidates[0][1]
        expected += 0.3 + 0.7 / len(candidates)
    assert abs(hardest - expected) < 4.5 * (6000 * 0.33 * 0.67) ** 0.5


def test_a_share_is_kept_exactly() -> None:
    corruptor = make(share=0.5, pool=ENTITIES)
    negatives = corruptor(TRIPLES[:100], 8)
    for positive, entities in zip(TRIPLES[:100].tolist(), negatives.entity.tolist(), strict=True):
        assert entities[:2] == [entity for _, entity in ranked(positive, 0)[:2]]
        assert entities[4:6] == [entity for _, entity in ranked(positive, 2)[:2]]
    third = {tuple(entities[2:4]) for entities in negatives.entity.tolist()}
    assert len(third) > 60


def test_the_pool_is_random_and_distinct() -> None:
    seen: list[torch.Tensor] = []

    def record(queries: Queries, ids: torch.Tensor) -> torch.Tensor:
        seen.append(ids.clone())
        return score(queries, ids)

    corruptor = make(pool=5, filtered=False)
    corruptor.attach(record)
    for _ in range(40):
        corruptor(TRIPLES[:100], 4)
    assert len(seen) == 40  # once per batch
    ids = torch.cat(seen)
    assert ids.shape == (8000, 5)
    count = torch.bincount(ids.view(-1).long(), minlength=ENTITIES).double()
    expected = count.mean()
    assert float(((count - expected) ** 2 / expected).sum()) < 75  # a chi-square of 29 degrees exceeds it once in 10^5


def test_gumbel_draws_follow_the_scores() -> None:
    scores = torch.tensor([0.0, 1.0, 2.0, -torch.inf, 0.5]).expand(40_000, -1)
    chosen, good = choose_highest(scores, 2, 2.0, torch.Generator().manual_seed(0))
    assert bool(good.all())
    weight = (scores[0] / 2).exp().double()
    for first in range(5):
        for second in range(5):
            seen = int(((chosen[:, 0] == first) & (chosen[:, 1] == second)).sum())
            rest = weight.sum() - weight[first]
            chance = 0.0 if first == second else float(weight[first] / weight.sum() * weight[second] / rest)
            spread = (40_000 * chance * (1 - chance)) ** 0.5
            assert abs(seen - 40_000 * chance) <= 4.5 * spread, (first, second)


def test_more_slots_than_candidates() -> None:
    chosen, good = choose_highest(torch.tensor([[1.0, -torch.inf]]), 5, 0.0, torch.Generator())
    assert chosen.shape == good.shape == (1, 2)
    assert good.tolist() == [[True, False]]
    negatives = make(pool=1)(TRIPLES[:50], 80)
    assert not any(tuple(row) in KNOWN for row in negatives.triples.view(-1, 3).tolist())


def test_scores_that_are_no_numbers_are_not_chosen_but_counted() -> None:
    corruptor = make(filtered=False, policy="tail")
    corruptor.attach(lambda queries, ids: torch.where(ids % 2 == 0, torch.nan, score(queries, ids)))
    assert not (corruptor(TRIPLES[:50], 2).entity % 2 == 0).any()
    odd = int((TRIPLES[:50, 2] % 2 == 1).sum())
    assert corruptor.tally.read()["not_finite"] == 50 * 15 - (50 - odd)  # a positive counts as known


def test_no_candidate_is_below_a_positive_whose_score_is_no_number() -> None:
    corruptor = make(ceiling=1e9, policy="tail")
    corruptor.attach(lambda queries, ids: torch.where(ids == queries.replaced[:, None], torch.nan, score(queries, ids)))
    assert bool(corruptor(TRIPLES[:50], 2).fallback.all())


# Other sources


def typed() -> TypedCorruptor:
    lists = [list(range(row, ENTITIES, 2 * RELATIONS)) for row in range(2 * RELATIONS)]
    return TypedCorruptor(
        CandidateIndex.from_lists(lists, num_columns=ENTITIES), num_entities=ENTITIES, num_relations=RELATIONS
    )


def test_the_pool_comes_from_another_method() -> None:
    negatives = make(source=typed(), pool=200)(TRIPLES[:80], 6)
    for positive, entities in zip(TRIPLES[:80].tolist(), negatives.entity.tolist(), strict=True):
        for side, mine in ((0, entities[:3]), (2, entities[3:])):
            row = 2 * positive[1] + side // 2
            best = [entity for _, entity in ranked(positive, side) if entity % (2 * RELATIONS) == row]
            assert mine[: len(best)] == best[:3]
            assert set(mine) <= set(best)


class Half(Corruptor):
    """Proposes one entity, and nothing every other time."""

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        ids = torch.arange(n).expand(len(queries), n) % 2 * 7
        return ids, ids == 7


def test_what_a_source_does_not_propose_is_not_taken() -> None:
    half = Half(num_entities=ENTITIES, num_relations=RELATIONS)
    corruptor = make(source=half, pool=10, filtered=False, policy="tail")
    assert corruptor(torch.tensor([[3, 0, 5]]), 4).entity.tolist() == [[7] * 4]
    counts = corruptor.tally.read()
    assert (counts["scored"], counts["repeated"], counts["repeated_slots"]) == (10, 9, 3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("typed", "source must be a corruptor or None, got str"),
        (Half(num_entities=ENTITIES, num_relations=9), "a source for 30 entities and 9 relations does not fit"),
    ],
)
def test_sources_that_do_not_fit(source: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make(source=source)


def test_in_a_mixture() -> None:
    sizes: dict[str, Any] = {"num_entities": ENTITIES, "num_relations": RELATIONS}
    inner = DynamicCorruptor(pool=ENTITIES, **sizes)
    mixture = MixtureCorruptor([(inner, 0.5), (UniformCorruptor(**sizes), 0.5)], sides=SidePolicy("tail"), **sizes)
    with pytest.raises(InvalidInputError, match="has none"):
        mixture(TRIPLES[:50], 4)
    attach_scorer(mixture, score)
    negatives = mixture(TRIPLES[:50], 4)
    for positive, entities in zip(TRIPLES[:50].tolist(), negatives.entity.tolist(), strict=True):
        assert entities[:2] == [entity for _, entity in ranked(positive, 2, filtered=False)[:2]]


def test_repeats() -> None:
    ids, repeated = without_repeats(torch.tensor([[4, 1, 4, 4], [3, 2, 1, 0]], dtype=torch.int32))
    assert ids.tolist() == [[1, 4, 4, 4], [0, 1, 2, 3]]
    assert repeated.tolist() == [[False, False, True, True], [False] * 4]


def test_without_a_model() -> None:
    corruptor = make()
    corruptor.detach_model()
    with pytest.raises(InvalidInputError, match="DynamicCorruptor reads the scores of a model"):
        corruptor(TRIPLES[:2], 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pool", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("skip_top", -1),
        ("ceiling", float("inf")),
        ("ceiling", "high"),
        ("share", 1.1),
    ],
)
def test_refusals(name: str, value: object) -> None:
    with pytest.raises(InvalidInputError, match=name):
        make(**{name: value})
