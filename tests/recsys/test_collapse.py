from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.recsys.collapse import CollapseMonitor, alignment, bias_share, embedding_health


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def low_rank(rank: int, noise: float, number: int = 400, dim: int = 32) -> torch.Tensor:
    return draw(number, rank) @ draw(rank, dim, seed=1) + noise * draw(number, dim, seed=2)


@settings(deadline=None, max_examples=30)
@given(
    number=st.integers(2, 30), dim=st.integers(1, 8), seed=st.integers(0, 100), scale=st.sampled_from([1e-4, 1.0, 1e4])
)
def test_figures_are_those_of_the_definitions(number: int, dim: int, seed: int, scale: float) -> None:
    vectors = draw(number, dim, seed=seed) * scale + 0.5 * scale
    found = embedding_health(vectors)
    rows = vectors.double().numpy()
    norms = np.linalg.norm(rows, axis=1)
    rows = rows / norms[:, None]
    pairs = [(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
    assert found.mean_norm == pytest.approx(norms.mean())
    assert found.mean_cosine == pytest.approx(np.mean([a @ b for a, b in pairs]), abs=1e-9)
    assert found.spread == pytest.approx(rows.std(axis=0).mean() * math.sqrt(dim), abs=1e-7)
    potential = np.mean([math.exp(-2 * float(((a - b) ** 2).sum())) for a, b in pairs])
    assert found.uniformity == pytest.approx(math.log(potential), abs=1e-6)
    shares = np.linalg.svd(rows, compute_uv=False)
    shares = shares[shares > 1e-7] / shares[shares > 1e-7].sum()
    assert found.effective_rank == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-3)
    assert found.relative_rank == pytest.approx(found.effective_rank / dim)


def test_constant() -> None:
    found = embedding_health(torch.full((50, 8), 3.0))
    assert found.mean_cosine == pytest.approx(1.0)
    assert found.spread == pytest.approx(0.0, abs=1e-7)
    assert found.effective_rank == pytest.approx(1.0, abs=1e-5)
    assert found.uniformity == pytest.approx(0.0, abs=1e-9)


def test_gaussian() -> None:
    found = embedding_health(draw(2000, 16))
    assert abs(found.mean_cosine) < 0.01
    assert found.spread == pytest.approx(1.0, abs=0.01)
    assert found.relative_rank > 0.99
    assert found.uniformity < -3


def test_line_through_the_origin_is_seen_by_the_rank_alone() -> None:
    cloud = draw(300, 1) @ draw(1, 16, seed=1)
    found = embedding_health(cloud)
    assert found.spread > 0.5
    assert found.effective_rank == pytest.approx(1.0, abs=1e-5)
    report = CollapseMonitor().check(cloud, draw(300, 16))
    assert report.collapsed and len(report.why) == 1 and "effective rank of users is 1.00" in report.why[0]


def test_low_rank_with_noise() -> None:
    ranks = [embedding_health(low_rank(rank, 1e-4)).effective_rank for rank in (1, 2, 4, 8)]
    assert ranks == sorted(ranks)
    assert all(rank * 0.7 < found < rank * 1.4 for rank, found in zip((1, 2, 4, 8), ranks, strict=True))
    assert embedding_health(low_rank(4, 3.0)).effective_rank > 20


def test_zero_rows() -> None:
    vectors = draw(10, 4)
    vectors[3:] = 0
    found, alone = embedding_health(vectors), embedding_health(vectors[:3])
    assert found.rows == 3
    assert (found.spread, found.mean_cosine) == (alone.spread, alone.mean_cosine)
    nothing = embedding_health(torch.zeros(5, 4))
    assert (nothing.rows, nothing.spread, nothing.mean_cosine, nothing.effective_rank) == (0, 0.0, 1.0, 1.0)


def test_sample() -> None:
    vectors = draw(1000, 8)
    found = embedding_health(vectors, sample=100, generator=torch.Generator().manual_seed(0))
    assert found.rows == 100
    assert found == embedding_health(vectors, sample=100, generator=torch.Generator().manual_seed(0))
    assert found != embedding_health(vectors, sample=100, generator=torch.Generator().manual_seed(1))
    state = torch.get_rng_state()
    embedding_health(vectors, sample=1000)
    embedding_health(vectors, sample=100, generator=torch.Generator())
    assert torch.equal(state, torch.get_rng_state())


def test_alignment() -> None:
    left, right = draw(20, 5), draw(20, 5, seed=1)
    assert alignment(left, 3 * left) == pytest.approx(0.0, abs=1e-9)
    assert alignment(left, -left) == pytest.approx(4.0)
    cosines = F.cosine_similarity(left, right).double().mean()
    assert alignment(left, right) == pytest.approx(float(2 - 2 * cosines), rel=1e-5)
    with pytest.raises(InvalidInputError, match=r"got \(20, 5\) and \(19, 5\)"):
        alignment(left, right[:-1])


def test_bias_share() -> None:
    layer, inputs = torch.nn.Linear(4, 4), draw(30, 4)
    with torch.no_grad():
        layer.bias.zero_()
        assert bias_share(layer, inputs) == 0.0
        layer.bias.fill_(1000.0)
        assert bias_share(layer, inputs) > 0.99
        layer.weight.copy_(torch.eye(4))
        layer.bias.copy_(torch.tensor([2.0, 0, 0, 0]))
    wanted = 2 / (2 + float(inputs.norm(dim=1).mean()))
    assert bias_share(layer, inputs) == pytest.approx(wanted)
    assert bias_share(torch.nn.Linear(4, 4, bias=False), inputs) == 0.0


def test_report_of_healthy_embeddings() -> None:
    users, items = draw(50, 8), draw(60, 8, seed=1)
    report = CollapseMonitor().check(
        users, items, pairs=(users, items[:50]), bias=0.1, distinct_items=0.5, loss=0.01, validation=0.2, floor=0.1
    )
    assert not report.collapsed and report.why == ()
    assert report.alignment == alignment(users, items[:50])
    found = json.loads(json.dumps(report.to_dict()))
    assert found["users"]["rows"] == 50 and found["bias_share"] == 0.1 and found["distinct_items"] == 0.5


@pytest.mark.parametrize(
    ("loss", "validation", "floor", "collapsed"),
    [
        (0.05, 0.1, 0.1, True),
        (0.05, 0.11, 0.1, False),
        (0.2, 0.1, 0.1, False),
        (None, 0.1, 0.1, False),
        (0.05, None, 0.1, False),
        (0.05, 0.1, None, False),
    ],
)
def test_low_loss_without_better_lists(
    loss: float | None, validation: float | None, floor: float | None, collapsed: bool
) -> None:
    report = CollapseMonitor().check(draw(50, 8), draw(60, 8), loss=loss, validation=validation, floor=floor)
    assert report.collapsed is collapsed
    if collapsed:
        assert "the loss is 0.050, below 0.1, and yet" in report.why[0]


def test_limits() -> None:
    near = torch.ones(50, 8) + 0.3 * draw(50, 8)
    spread = embedding_health(near).spread
    assert CollapseMonitor(spread=spread + 0.01, rank=0).check(near, near).collapsed
    assert not CollapseMonitor(spread=spread - 0.01, rank=0).check(near, near).collapsed
    line = torch.tensor([[1.0], [-1.0], [2.0]])
    assert not CollapseMonitor().check(line, line).collapsed  # one coordinate has no other rank than 1


def test_pulling_pairs_together_and_nothing_else_is_a_collapse() -> None:
    """Alignment alone, with gradients on both sides and no predictor, ends in one point."""
    generator = torch.Generator().manual_seed(0)
    table = torch.nn.Parameter(torch.randn(60, 8, generator=generator))
    users, items = torch.randint(30, (400,), generator=generator), torch.randint(30, 60, (400,), generator=generator)
    optimizer = torch.optim.Adam([table], lr=0.05)
    monitor = CollapseMonitor()
    assert not monitor.check(table[:30], table[30:]).collapsed
    for _ in range(150):
        loss = (2 - 2 * F.cosine_similarity(table[users], table[items])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    report = monitor.check(table[:30], table[30:])
    assert report.collapsed
    assert any("spread of users" in one for one in report.why) and any("spread of items" in one for one in report.why)


def test_refusals() -> None:
    with pytest.raises(InvalidInputError, match=r"at least 2 rows, got \(1, 4\)"):
        embedding_health(draw(1, 4))
    with pytest.raises(InvalidInputError, match="not finite"):
        embedding_health(torch.tensor([[1.0], [math.nan]]))
    with pytest.raises(InvalidInputError, match="sample must be at least 2"):
        embedding_health(draw(3, 4), sample=1)
    with pytest.raises(InvalidInputError, match="spread must be a number of at least 0, got -1"):
        CollapseMonitor(spread=-1)
