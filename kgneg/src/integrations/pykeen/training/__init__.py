"""A training loop for PyKEEN that touches only the rows of a batch."""

from __future__ import annotations

import pykeen.training  # noqa: F401 - complete before the loop, which is registered as soon as it is

from kgneg.integrations.pykeen.training.loop import KgnegTrainingLoop

__all__ = ["KgnegTrainingLoop"]
