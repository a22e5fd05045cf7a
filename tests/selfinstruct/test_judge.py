"""What judges say."""

from __future__ import annotations

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.judge import Judge, Judgements
from kgneg.selfinstruct.rules import RuleJudge


def test_judgements() -> None:
    said = Judgements.of([0, 1, np.nan])
    assert said.probability.dtype == np.float64
    assert said.reasons == ("", "", "")
    assert said.given.tolist() == [True, True, False]
    assert len(said) == 3
    assert len(Judgements.of([])) == 0


@pytest.mark.parametrize("values", [[1.1], [-0.1], [np.inf]])
def test_what_is_no_probability(values: list[float]) -> None:
    with pytest.raises(InvalidInputError, match="row 0"):
        Judgements.of(values)


def test_lengths() -> None:
    with pytest.raises(InvalidInputError, match="one reason per row"):
        Judgements.of([0.5], ["a", "b"])


def test_the_protocol() -> None:
    assert isinstance(RuleJudge(), Judge)
    assert not isinstance(object(), Judge)
