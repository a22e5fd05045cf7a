"""What happened in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["History"]


@dataclass
class History:
    """One entry per epoch, and why training ended.

    :param epochs: each with ``epoch`` (from 1), ``loss``, ``seconds``, and after a look at the validation pairs
        ``value`` (the metric) and ``health`` (see
        :class:`~kgneg.recsys.collapse.CollapseReport`)
    :param metric: what was looked at; empty without validation
    :param best_epoch: the epoch that was kept
    :param best_value: its metric
    :param stopped: why it ended: ``"epochs"``, ``"patience"`` or ``""`` while it goes on
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    metric: str = ""
    best_epoch: int | None = None
    best_value: float | None = None
    stopped: str = ""

    @property
    def seconds(self) -> float:
        """How long the epochs took, without the looks at validation."""
        return float(sum(one["seconds"] for one in self.epochs))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {**vars(self), "epochs": [dict(one) for one in self.epochs]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> History:
        """Return what was written with :meth:`to_dict`.

        :param values: what was written
        :returns: the history
        """
        return cls(**values)
