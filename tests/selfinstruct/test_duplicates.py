from __future__ import annotations

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.duplicates import REASONS, Duplicates


def test_reasons_and_counts() -> None:
    found = Duplicates(np.arange(5), np.array([0, 0, 0, 0, 0]))
    assert found.reason == REASONS
    assert found.keep.tolist() == [True, False, False, False, False]
    assert found.counts() == {"kept": 1, "exact": 1, "rouge_l": 1, "cosine": 1, "minhash": 1}
    assert len(found) == 5


def test_shapes() -> None:
    with pytest.raises(InvalidInputError, match="one shape"):
        Duplicates(np.zeros(2), np.zeros(3))
