"""What a judge is, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates

__all__ = ["Judge", "Judgements"]


@dataclass(frozen=True, eq=False)
class Judgements:
    """What a judge says about candidates, in their order.

    :param probability: shape: ``(n,)``, P(the triple is true) in [0, 1]; NaN where there is no verdict
    :param reasons: shape: ``(n,)``, what decided, or why there is no verdict; may be empty
    :raises InvalidInputError: if the lengths differ or a probability is out of range

    >>> said = Judgements(probability=np.array([0.9, np.nan]), reasons=("", "contradiction"))
    >>> said.given.tolist()
    [True, False]
    """

    probability: np.ndarray
    reasons: tuple[str, ...]

    def __post_init__(self) -> None:
        probability = np.asarray(self.probability, dtype=np.float64)
        object.__setattr__(self, "probability", probability)
        object.__setattr__(self, "reasons", tuple(self.reasons))
        if probability.shape != (len(self.reasons),):
            raise InvalidInputError(
                f"one probability and one reason per row are needed, got probabilities of shape {probability.shape} "
                f"and {len(self.reasons)} reasons. Use an empty reason where there is none."
            )
        wrong = np.flatnonzero((probability < 0) | (probability > 1))
        if len(wrong):
            raise InvalidInputError(
                f"row {wrong[0]} has the probability {probability[wrong[0]]}, expected 0 to 1, or NaN for no verdict. "
                "Turn scores into probabilities first."
            )

    def __len__(self) -> int:
        return len(self.reasons)

    @property
    def given(self) -> np.ndarray:
        """shape: ``(n,)``, whether there is a verdict."""
        return np.asarray(~np.isnan(self.probability))

    @classmethod
    def of(cls, probability: Sequence[float] | np.ndarray, reasons: Sequence[str] | None = None) -> Judgements:
        """Return judgements, with empty reasons if there are none.

        :param probability: shape: ``(n,)``, in [0, 1], NaN where there is no verdict
        :param reasons: shape: ``(n,)``
        :returns: the judgements
        """
        values = np.asarray(probability, dtype=np.float64)
        return cls(probability=values, reasons=tuple(reasons) if reasons is not None else ("",) * len(values))


@runtime_checkable
class Judge(Protocol):
    """Anything that says how likely triples are true.

    Rows are judged one by one: the verdict on a triple does not depend on the others in the same call.
    """

    @property
    def name(self) -> str:
        """A short name for tables and columns."""

    def fingerprint(self) -> str:
        """Return a hash of everything on which the verdicts depend, but of no secret.

        :returns: the hash, in hexadecimal
        """

    def judge(self, candidates: Candidates) -> Judgements:
        """Judge triples.

        :param candidates: the triples, ``n`` of them
        :returns: P(true) of each, or NaN, and reasons
        """
