from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare

from kgneg.core.draws import draw_below, draw_union

CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000, 2**24 + 1, 2**31 - 1, 2**31])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 7), (100, 101), (0, 4), (4, 0)])
def test_bounds_and_shape(limit: int, shape: tuple[int, int]) -> None:
    for bound in (limit, torch.full((shape[0], 1), limit)):
        draw = draw_below(bound, shape, generator(), CPU)
        assert draw.shape == shape
        assert draw.dtype == torch.int32
        assert ((draw >= 0) & (draw.long() < limit)).all()


@pytest.mark.parametrize("word", [0, -1, 2**63 - 1, -(2**63), 0x7FFFFFFF, -0x80000000])
@pytest.mark.parametrize("limit", [1, 2, 3, 1000, 2**20 - 1, 2**20])
def test_extreme_words_stay_in_bounds(monkeypatch: pytest.MonkeyPatch, word: int, limit: int) -> None:
    monkeypatch.setattr(torch.Tensor, "random_", lambda self, *_, **__: self.fill_(word))
    draw = draw_below(limit, (2, 3), None, CPU).long()
    assert ((draw >= 0) & (draw < limit)).all()
    if word == -1:
        assert (draw == limit - 1).all()
    if word == 0:
        assert (draw == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("limit", [1003, 2**20 + 1, 2**24 + 3, 2**31 - 1])
def test_a_tensor_of_limits_is_not_rounded(limit: int, dtype: torch.dtype) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        draw = draw_below(torch.tensor([[limit]]), (1, 200_000), generator(3), CPU).long()
    finally:
        torch.set_default_dtype(before)
    assert int(draw.min()) >= 0
    assert limit - max(limit // 5_000, 1) <= int(draw.max()) < limit
    # a third of the values, wherever it lies, gets a third of the draws
    for third in range(3):
        inside = (draw * 3 // limit == third).double().mean()
        assert abs(float(inside) - 1 / 3) < 0.006


def test_large_limits_reach_odd_and_even_values_alike() -> None:
    draw = draw_below(3 * 2**29, (1, 300_000), generator(3), CPU)
    assert torch.bincount(draw.view(-1) % 3, minlength=3).tolist() == pytest.approx([100_000] * 3, rel=0.02)


@pytest.mark.parametrize("limit", [2, 3, 7, 64, 1000])
@pytest.mark.parametrize("shape", [(1000, 97), (997, 101), (1, 100_001)])
def test_uniform(limit: int, shape: tuple[int, int]) -> None:
    draw = draw_below(limit, shape, generator(7), CPU).view(-1)
    assert chisquare(torch.bincount(draw, minlength=limit).numpy()).pvalue > 1e-6


@pytest.mark.parametrize("limit", [2**24 + 1, 2**31 - 1, 2**31])
def test_uniform_in_high_and_low_digits(limit: int) -> None:
    draw = draw_below(limit, (1000, 101), generator(3), CPU).view(-1).long()
    high, low = draw * 50 // limit, draw % 32
    assert chisquare(torch.bincount(high, minlength=50).numpy()).pvalue > 1e-6
    assert chisquare(torch.bincount(low, minlength=32).numpy()).pvalue > 1e-6
    assert len(draw.unique()) > 100_000  # no coarse grid, as 24-bit floats would give


def test_neighbours_are_independent() -> None:
    # both halves of one word are used: pairs of draws must be uniform too
    pairs = draw_below(6, (50_000, 2), generator(4), CPU).long()
    assert chisquare(torch.bincount(pairs[:, 0] * 6 + pairs[:, 1], minlength=36).numpy()).pvalue > 1e-6
    later = draw_below(6, (50_000, 3), generator(4), CPU).view(-1)[1:-1].long().view(-1, 2)
    assert chisquare(torch.bincount(later[:, 0] * 6 + later[:, 1], minlength=36).numpy()).pvalue > 1e-6


def test_a_limit_for_each_row() -> None:
    limits = torch.tensor([0, 1, 2, 5, 2**31 - 1, 3, 0])[:, None]
    draw = draw_below(limits, (7, 20_001), generator(1), CPU)
    assert (draw[[0, 1, 6]] == 0).all()
    assert ((draw >= 0) & (draw < limits.clamp(min=1))).all()
    for row, limit in ((2, 2), (3, 5), (5, 3)):
        assert chisquare(torch.bincount(draw[row], minlength=limit).numpy()).pvalue > 1e-6
    assert chisquare(torch.bincount(draw[4] // (2**31 // 10 + 1), minlength=10).numpy()).pvalue > 1e-6


def test_generator_decides() -> None:
    before = torch.get_rng_state()
    first, second, third = (draw_below(10**6, (3, 5), generator(seed), CPU) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), before)
    shared = generator(1)
    assert not torch.equal(draw_below(10**6, (3, 5), shared, CPU), draw_below(10**6, (3, 5), shared, CPU))


def test_unions() -> None:
    members = torch.tensor([10, 11, 12, 13, 14, 15, 16], dtype=torch.int32)
    # rows: places 1-2 and 4-6; place 0; nothing; nothing, places 3-5, nothing
    stretches = [[(1, 3), (4, 7), (0, 0)], [(0, 1), (0, 0), (0, 0)], [(2, 2), (0, 0), (7, 7)], [(0, 0), (3, 6), (7, 7)]]
    sizes = torch.tensor([[end - begin for begin, end in row] for row in stretches])
    ends = sizes.cumsum(-1)
    begins = torch.tensor([[begin for begin, _ in row] for row in stretches])
    shifts = (begins - ends + sizes).int()
    ids, hit = draw_union(members, ends.int(), shifts, 20_000, generator(6))
    assert ids.shape == hit.shape == (4, 20_000)
    assert torch.isin(ids, members).all()
    assert [set(row) for row in hit.tolist()] == [{True}, {True}, {False}, {True}]
    for row, expected in ((0, [11, 12, 14, 15, 16]), (1, [10]), (3, [13, 14, 15])):
        counts = torch.bincount(ids[row], minlength=20)[expected]
        assert counts.sum() == 20_000
        if len(expected) > 1:
            assert chisquare(counts.numpy()).pvalue > 1e-6
