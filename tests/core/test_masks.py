from __future__ import annotations

import pytest
import torch

from kgneg.core.masks import equal_ids, flat_nonzero


@pytest.mark.parametrize("shape", [(), (0,), (1,), (17,), (5, 7), (3, 0, 2), (2, 3, 4)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.9, 1.0])
def test_flat_nonzero_agrees_with_torch(shape: tuple[int, ...], share: float) -> None:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < share
    places = flat_nonzero(mask)
    assert places.dtype == torch.int64
    assert torch.equal(places, mask.view(-1).nonzero().squeeze(-1))


def test_flat_nonzero_does_not_guess_about_strided_masks() -> None:
    with pytest.raises(RuntimeError, match="view"):
        flat_nonzero(torch.ones(3, 4, dtype=torch.bool).t())


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64])
@pytest.mark.parametrize("shapes", [((4, 5), (4, 5)), ((4, 5), (4, 1)), ((4, 5), (5,)), ((0, 3), (0, 1)), ((), ())])
def test_equal_ids_agrees_with_torch(shapes: tuple[tuple[int, ...], tuple[int, ...]], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.randint(-2, 3, shape, generator=generator, dtype=dtype) for shape in shapes)
    before = left.clone(), right.clone()
    assert torch.equal(equal_ids(left, right), left == right)
    assert torch.equal(left, before[0])
    assert torch.equal(right, before[1])


def test_equal_ids_at_the_ends_of_the_range() -> None:
    for dtype in (torch.int32, torch.int64):
        limits = torch.iinfo(dtype)
        values = torch.tensor([limits.min, -1, 0, 1, limits.max], dtype=dtype)
        assert torch.equal(equal_ids(values[:, None], values), torch.eye(5, dtype=torch.bool))
