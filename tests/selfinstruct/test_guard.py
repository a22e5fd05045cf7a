from __future__ import annotations

from typing import Any

import numpy as np
import pykeen.datasets  # noqa: F401 - registers the samplers
import pytest
import torch
from pykeen.sampling import negative_sampler_resolver

from kgneg.core.corruption import Corruptor, Queries
from kgneg.core.errors import InvalidInputError, KeyOverflowError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.decisions import Decisions
from kgneg.selfinstruct.guard import FilterRule

ENTITIES = [f"e{number}" for number in range(20)]
RELATIONS = ["likes", "eats"]
TRIPLES = torch.tensor([[h, r, t] for h in range(20) for r in range(2) for t in range(20) if (h + r + t) % 5 == 0])


class Parity:
    """Finds triples likely whose numbers sum to an even number, and cannot say anything about e7."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []

    def fingerprint(self) -> str:
        return "parity"

    def decide(self, candidates: Candidates) -> Decisions:
        self.asked += list(candidates.triples())
        action = []
        for head, _, tail in candidates.triples():
            even = (int(head[1:]) + int(tail[1:])) % 2 == 0
            action.append("review" if "e7" in (head, tail) else "drop" if even else "keep")
        return Decisions(np.array(action), np.full(len(action), 0.5), ("",) * len(action))


def corruptor(name: str = "kgneg-uniform", **options: Any) -> Corruptor:
    sampler = negative_sampler_resolver.make(
        name, options, mapped_triples=TRIPLES, num_entities=20, num_relations=2, seed=0
    )
    made: Corruptor = sampler.corruptor
    return made


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("kgneg-uniform", {}),
        ("kgneg-bernoulli", {}),
        ("typed", {}),
        ("popularity", {}),
        ("mixture", {"components": {"typed": 0.5, "kgneg-uniform": 0.5}}),
    ],
)
def test_no_likely_negative_is_drawn(name: str, options: dict[str, Any]) -> None:
    made, decider = corruptor(name, **options), Parity()
    rule = FilterRule.attach(made, decider, entities=ENTITIES, relations=RELATIONS)
    negatives = made(TRIPLES, 4)
    sums = negatives.triples[..., 0] + negatives.triples[..., 2]
    seven = (negatives.triples[..., 0] == 7) | (negatives.triples[..., 2] == 7)
    fine = (sums % 2 == 1) | seven
    assert int((~fine).sum()) == made.counts["unbound"] < 0.01 * fine.numel()
    assert torch.equal(rule.allowed(negatives), (sums % 2 == 1) | seven)
    assert rule.counts["refused"] > 0
    assert len(decider.asked) == len(set(decider.asked)) == rule.counts["judged"] < rule.counts["asked"]


def test_review_may_be_refused_too() -> None:
    made = corruptor()
    FilterRule.attach(made, Parity(), entities=ENTITIES, relations=RELATIONS, refuse=("drop", "review"))
    negatives = made(TRIPLES[:20], 4).triples
    replaced = (negatives != TRIPLES[:20, None]).nonzero()
    drawn = negatives[replaced[:, 0], replaced[:, 1], replaced[:, 2]]
    assert (drawn == 7).float().mean() < 0.02


def test_both_ends_and_inverse_relations() -> None:
    decider = Parity()
    rule = FilterRule(decider, entities=ENTITIES, relations=RELATIONS, inverse=True)
    queries = Queries(torch.tensor([3, 3]), torch.tensor([2, 3]), torch.tensor([0, 0]), torch.tensor([0, 2]))
    allowed = rule(queries, torch.tensor([[5, 6], [4, 5]], dtype=torch.int32))
    assert allowed.tolist() == [[False, True], [True, False]]
    # (5, 2, 3) is e5 eats e3; (3, 3, 4), an inverse, is e4 eats e3
    assert set(decider.asked) == {("e5", "eats", "e3"), ("e6", "eats", "e3"), ("e4", "eats", "e3")}


def test_memory_is_bounded() -> None:
    decider = Parity()
    rule = FilterRule(decider, entities=ENTITIES, relations=RELATIONS, memory=10)
    queries = Queries(torch.tensor([0]), torch.tensor([0]), torch.tensor([1]), torch.tensor([2]))
    ids = torch.arange(20, dtype=torch.int32)[None]
    first = rule(queries, ids)
    assert torch.equal(rule(queries, ids), first)
    assert len(decider.asked) == 20 + 10
    assert torch.equal(rule(queries, ids[:, :8]), first[:, :8])


def test_refusals() -> None:
    made = corruptor()
    with pytest.raises(InvalidInputError, match="do not fit a corruptor for 20 and 2"):
        FilterRule.attach(made, Parity(), entities=ENTITIES[:5], relations=RELATIONS)
    for refuse in ((), ("no",), ("keep", "drop", "review")):
        with pytest.raises(InvalidInputError, match="refuse must name"):
            FilterRule(Parity(), entities=ENTITIES, relations=RELATIONS, refuse=refuse)
    with pytest.raises(KeyOverflowError, match="shard the graph"):
        FilterRule(Parity(), entities=[""] * 2**21, relations=["r"] * 2**21 + ["s"])
