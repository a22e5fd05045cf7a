"""Adversarial distractors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.sides import SidePolicy
from kgneg.qa import WindowedDistractors
from kgneg.samplers import UniformCorruptor

POSITIVES = torch.tensor([[0, 0, 1], [2, 0, 3]])


def made(**options: Any) -> WindowedDistractors:
    """Return distractors among vectors at angles of 0, 3, 6, ... degrees."""
    base = UniformCorruptor(num_entities=60, num_relations=1, sides=SidePolicy("tail"), seed=0)
    angle = torch.deg2rad(3.0 * torch.arange(60))
    return WindowedDistractors(base, torch.stack([angle.cos(), angle.sin()], dim=-1), **options)


@pytest.mark.parametrize("against", ["answer", "head"])
def test_within_the_window(against: str) -> None:
    method = made(against=against, window=(0.5, 0.8), pool=200)
    found = method(POSITIVES, 4, torch.Generator().manual_seed(0))
    own = POSITIVES[:, 2 if against == "answer" else 0]
    cosine = torch.deg2rad(3.0 * (found.entity - own[:, None])).cos()
    assert ((cosine >= 0.49) & (cosine <= 0.81)).all() and not found.fallback.any()
    assert (found.side == 2).all() and found.entity.shape == (2, 4)
    again = made(against=against, window=(0.5, 0.8), pool=200)(POSITIVES, 4, torch.Generator().manual_seed(0))
    assert torch.equal(again.entity, found.entity)


def test_the_floor_goes_down_and_that_is_flagged() -> None:
    method = made(window=(0.795, 0.8), pool=30, enough=4)
    found = method(POSITIVES.repeat(50, 1), 2, torch.Generator().manual_seed(0))
    cosine = torch.deg2rad(3.0 * (found.entity - POSITIVES.repeat(50, 1)[:, 2, None])).cos()
    assert found.fallback.float().mean() > 0.8 and method.counts["relaxed"] == int(found.fallback.sum())
    assert (cosine[~found.fallback] >= 0.79).all() and (cosine <= 0.81).all() and (cosine >= 0.3).all()


def test_there_is_always_something() -> None:
    found = made(window=(-1.0, -0.999), pool=10)(POSITIVES, 5)
    assert found.entity.shape == (2, 5) and found.fallback.all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": (0.4, 0.3)}, "two cosines in ascending order"),
        ({"window": (0.4, 1.3)}, "two cosines in ascending order"),
        ({"against": "tail"}, "against must be one of answer, head"),
        ({"step": 0.0}, "step must be above 0"),
        ({"pool": 0}, "pool must be at least 1"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        made(**options)
