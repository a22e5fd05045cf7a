from __future__ import annotations

import pytest
import torch

from kgneg.core.rowwise.storing import store_rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64])
def test_rows_are_overwritten(dtype: torch.dtype) -> None:
    table = torch.nn.Parameter(torch.zeros(5, 3, dtype=dtype))
    values = torch.arange(6).view(2, 3).to(dtype)
    version = table._version
    store_rows(table, torch.tensor([4, 1]), values)
    torch.testing.assert_close(table.detach()[[4, 1]], values)
    assert table.detach()[[0, 2, 3]].abs().sum() == 0
    assert table._version > version


def test_autograd_notices() -> None:
    table = torch.nn.Parameter(torch.ones(3, 2))
    loss = (table * table).sum()
    store_rows(table, torch.tensor([0]), torch.zeros(1, 2))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_rows_out_of_range() -> None:
    with pytest.raises(IndexError):
        store_rows(torch.zeros(3, 2), torch.tensor([3]), torch.zeros(1, 2))
