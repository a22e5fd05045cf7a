from __future__ import annotations

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError, MissingTextError
from kgneg.selfinstruct.vectors import VectorTable


def test_lookup() -> None:
    table = VectorTable(["a", "b"], np.arange(6).reshape(2, 3))
    found = table.encode(["b", "a", "b"])
    assert found.tolist() == [[3, 4, 5], [0, 1, 2], [3, 4, 5]]
    assert found.dtype == np.float32
    assert table.identity() != VectorTable(["a"], np.zeros((1, 3))).identity()


def test_refusals() -> None:
    with pytest.raises(MissingTextError, match="no vector of 'c'"):
        VectorTable(["a"], np.zeros((1, 3))).encode(["a", "c"])
    with pytest.raises(InvalidInputError, match=r"shape \(2, d\)"):
        VectorTable(["a", "b"], np.zeros((1, 3)))
    with pytest.raises(InvalidInputError, match="twice"):
        VectorTable(["a", "a"], np.zeros((2, 3)))
