from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.decisions import ACTIONS, Decisions


def test_values_are_kept() -> None:
    decisions = Decisions(["keep", "drop", "review"], [0.0, 1.0, np.nan], ("a", "", "b"))  # type: ignore[arg-type]
    assert decisions.action.tolist() == list(ACTIONS)
    assert decisions.score.dtype == np.float64
    assert len(decisions) == 3
    assert decisions.counts() == {"keep": 1, "drop": 1, "review": 1}


def test_nothing() -> None:
    empty = Decisions(np.array([]), np.array([]), ())
    assert len(empty) == 0
    assert empty.counts() == {"keep": 0, "drop": 0, "review": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["keep"], [0.1, 0.2], ("",)), "one action, score and reason per row"),
        ((["keep"], [0.1], ()), "0 reasons"),
        ((["keep", "kept"], [0.1, 0.2], ("", "")), "row 1: got the action 'kept'"),
        ((["keep"], [1.1], ("",)), r"row 0: got the score 1\.1"),
        ((["keep"], [-0.1], ("",)), "probability"),
    ],
)
def test_refusals(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Decisions(*arguments)
