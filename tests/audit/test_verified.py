from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kgneg.audit import AuditData
from kgneg.audit.sources import as_source, make_drawer
from kgneg.audit.verified import plan_verified
from kgneg.core.typing import HEAD, TAIL

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(nations: AuditData) -> AuditData:
    """Nations with 60 false triples, one of which shares no pair with training."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([14, 55, 14])
    triples = (torch.rand((4000, 3), generator=generator) * sizes).long()
    pairs = {(h, r) for h, r, _ in nations.train.tolist()} | {(-t - 1, r) for _, r, t in nations.train.tolist()}
    shared = torch.tensor([(h, r) in pairs or (-t - 1, r) in pairs for h, r, t in triples.tolist()])
    false = ~nations.known["train"].contains(triples)
    lonely = triples[false & ~shared][:1]
    assert len(lonely) == 1
    return replace(nations, verified=torch.cat([triples[false & shared][:59].unique(dim=0), lonely]))


def test_the_plan(data: AuditData) -> None:
    plan = plan_verified(data, negatives=4, draws=100_000, seed=0)
    assert plan.without_pair == 1
    assert len(plan.targets) == len(data.verified) - 1
    assert data.known["train"].contains(plan.positives).all()
    same = plan.positives == plan.targets[plan.owner]
    assert (same[:, 1] & (same[:, HEAD] | same[:, TAIL])).all()
    for positive, owner, chance in zip(plan.positives, plan.owner, plan.chance.tolist(), strict=True):
        kept = HEAD if positive[HEAD] == plan.targets[owner, HEAD] else TAIL
        known = (data.train[:, [kept, 1]] == positive[[kept, 1]]).all(dim=-1).sum()
        assert chance == pytest.approx(0.5 / (14 - int(known)))
    assert (plan.owner.bincount(minlength=len(plan.targets)) >= 1).all()
    assert (plan.owner.bincount() <= 2).all()
    again = plan_verified(data, negatives=4, draws=100_000, seed=0)
    assert torch.equal(plan.positives, again.positives)


def test_few_draws_leave_some_out(data: AuditData) -> None:
    plan = plan_verified(data, negatives=4, draws=80, seed=0)
    assert (len(plan.targets), plan.rounds) == (10, 1)
    assert len(plan.positives) * 4 <= 80


@pytest.mark.parametrize("sampler", ["kgneg-uniform", "basic"])
def test_uniform_draws_have_no_lift(sampler: str, data: AuditData) -> None:
    plan = replace(plan_verified(data, negatives=4, draws=100_000, seed=0), rounds=200)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draw, _ = make_drawer(as_source(sampler), data, 4, handle=None, device=CPU)
        found = plan.measure(draw, CPU)
    low, high = (0.9, 1.1) if sampler == "kgneg-uniform" else (0.4, 1.0)  # basic also draws what is known
    assert low < found["lift"] < high
    assert found["low"] < found["lift"] < found["high"]
    assert found["reached"]["share"] == 1.0


def test_a_sampler_that_draws_nothing_else(data: AuditData) -> None:
    plan = plan_verified(data, negatives=4, draws=100_000, seed=0)
    queue = list(torch.split(torch.arange(len(plan.positives)).repeat(plan.rounds), plan.batch))

    def clairvoyant(positives: torch.Tensor, n: int) -> torch.Tensor:
        return plan.targets[plan.owner[queue.pop(0)]][:, None].repeat(1, n, 1)

    draw, _ = make_drawer(as_source(clairvoyant), data, 4, handle=None, device=CPU)
    found = plan.measure(draw, CPU)
    assert found["hits"] == len(plan.positives) * plan.rounds * 4
    assert found["reached"]["share"] == 1.0
    assert found["lift"] == pytest.approx(found["hits"] / found["expected"], rel=1e-5)

    def blind(positives: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        return positives[:, None].repeat(1, n, 1), torch.zeros((len(positives), n), dtype=torch.bool)

    draw, _ = make_drawer(as_source(blind), data, 4, handle=None, device=CPU)
    none = plan.measure(draw, CPU)
    assert (none["hits"], none["lift"], none["reached"]["share"]) == (0, 0.0, 0.0)
