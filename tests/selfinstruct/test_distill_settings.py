"""How much of a graph is asked for."""

from __future__ import annotations

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.distill_settings import DistillSettings


def test_no_negatives_are_fine() -> None:
    assert DistillSettings(negatives=0).negatives == 0


@pytest.mark.parametrize("name", ["heads", "heads_at_once", "tails", "max_characters"])
def test_numbers_below_one(name: str) -> None:
    with pytest.raises(InvalidInputError, match=name):
        DistillSettings(**{name: 0})  # type: ignore[arg-type]


def test_fewer_than_no_negatives() -> None:
    with pytest.raises(InvalidInputError, match="negatives"):
        DistillSettings(negatives=-1)


@pytest.mark.parametrize("name", ["kinds", "relations"])
@pytest.mark.parametrize("value", [(), "object"])
def test_names_are_several(name: str, value: object) -> None:
    with pytest.raises(InvalidInputError, match=f"{name} must be names"):
        DistillSettings(**{name: value})  # type: ignore[arg-type]
