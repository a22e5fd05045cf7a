from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from kgneg.samplers.noise.space import project, with_categories


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("dim", [1, 3, 256])
def test_short_vectors_are_centred_and_scaled(dim: int) -> None:
    vectors = 7 * torch.randn(500, dim, generator=generator()) + 3
    before = vectors.clone()
    projected = project(vectors, generator())
    centred = vectors - vectors.mean(0)
    assert torch.equal(vectors, before)
    assert projected.square().mean() == pytest.approx(1, abs=1e-3)
    assert torch.allclose(projected, centred / centred.square().mean().sqrt(), atol=1e-4)


def test_long_vectors_keep_their_distances() -> None:
    """What lies in 256 dimensions is only turned."""
    inside = torch.randn(400, 200, generator=generator())
    turn = torch.linalg.qr(torch.randn(600, 600, generator=generator())).Q[:200]
    vectors = inside @ turn + 2
    projected = project(vectors, generator())
    assert projected.shape == (400, 256)
    ratio = torch.pdist(projected) / torch.pdist(vectors)
    assert ratio.std() / ratio.mean() < 1e-3
    assert projected.square().mean() == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("dim", [4, 300])
def test_equal_vectors(dim: int) -> None:
    projected = project(torch.full((50, dim), 3.0), generator())
    assert projected.isfinite().all()


@pytest.mark.parametrize("categories", [2, 60, 1000])
def test_categories_keep_apart(categories: int) -> None:
    """Two rows that are alike but for one column have a cosine of about 0.88, whatever the number of categories."""
    row = torch.randn(1, 64, generator=generator())
    projected = (row / row.square().mean().sqrt()).repeat(categories, 1)
    space = with_categories(projected, [torch.arange(categories)], generator())
    cosine = cosine_similarity(space[:1], space[1:])
    assert cosine.mean() == pytest.approx(0.88, abs=0.02)
    assert cosine_similarity(space[0], space[0], dim=0) == pytest.approx(1)
    same = with_categories(projected, [torch.zeros(categories, dtype=torch.long)], generator())
    assert torch.allclose(cosine_similarity(same[:1], same[1:]), torch.ones(categories - 1))


def test_two_columns_count_twice() -> None:
    projected = torch.ones(4, 32)
    columns = [torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])]
    space = with_categories(projected, columns, generator())
    one, two = cosine_similarity(space[0], space[1], dim=0), cosine_similarity(space[0], space[3], dim=0)
    assert 0.7 < two < one - 0.05 < 0.95
    assert torch.equal(with_categories(projected, [], generator()), projected)
