"""The hardest of a pool, compared with a search by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kgneg.core.corruption import Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.samplers import DynamicCorruptor
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


def test_ceiling() -> None:
    positives = TRIPLES[:100]
    free, bounded = (make(ceiling=ceiling)(positives, 8) for ceiling in (None, 0.25))
    above = 0
    for row, positive in enumerate(positives.tolist()):
        limit = float(TABLE[tuple(positive)]) + 0.25
        for side in (0, 2):
            allowed = [entity for value, entity in ranked(positive, side) if value <= limit][:4]
            slots = slice(0, 4) if side == 0 else slice(4, 8)
            assert bounded.entity[row, slots].tolist()[: len(allowed)] == allowed
            above += len(allowed) < 4
    assert above
    assert not torch.equal(free.entity, bounded.entity)


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

    corruptor = make(pool=5)
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


def test_scores_that_are_no_numbers_are_not_chosen() -> None:
    corruptor = make(pool=ENTITIES)
    corruptor.attach(lambda queries, ids: torch.where(ids % 2 == 0, torch.nan, score(queries, ids)))
    assert not (corruptor(TRIPLES[:50], 2).entity % 2 == 0).any()


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
