"""A training loop for PyKEEN that touches only the rows of a batch."""

from __future__ import annotations

from kgneg.integrations.pykeen.training.loop import KgnegTrainingLoop

__all__ = ["KgnegTrainingLoop"]
