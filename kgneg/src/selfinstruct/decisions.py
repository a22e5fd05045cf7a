"""What a filter says about candidate negatives: keep, drop or review, with a score and a reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates

__all__ = ["ACTIONS", "Decider", "Decisions"]

#: What may become of a candidate negative: it is clearly false, likely true, or undecided.
ACTIONS = ("keep", "drop", "review")


@dataclass(frozen=True, eq=False)
class Decisions:
    """What becomes of candidate negatives, row by row.

    :param action: shape: ``(n,)``, ``"keep"`` (clearly false), ``"drop"`` (likely true) or ``"review"`` (undecided)
    :param score: shape: ``(n,)``, float64, the probability that the triple is true, in ``[0, 1]``; NaN where none is
        known
    :param reason: ``n`` texts, what decided; ``""`` where there is nothing to say
    :raises InvalidInputError: if lengths differ, an action is none of the three, or a score is out of range

    >>> Decisions(np.array(["keep", "drop"]), np.array([0.1, 0.9]), ("", "known triple")).counts()
    {'keep': 1, 'drop': 1, 'review': 0}
    """

    action: npt.NDArray[Any]
    score: npt.NDArray[np.float64]
    reason: tuple[str, ...]

    def __post_init__(self) -> None:
        action = np.asarray(self.action)
        if action.ndim == 1 and not action.size:
            action = action.astype("U6")
        score = np.asarray(self.score, dtype=np.float64)
        reason = tuple(self.reason)
        if action.ndim != 1 or score.shape != action.shape or len(reason) != len(action):
            raise InvalidInputError(
                f"decisions need one action, score and reason per row, got shapes {action.shape} and {score.shape} and "
                f"{len(reason)} reasons"
            )
        wrong = np.flatnonzero(~np.isin(action, ACTIONS))
        if len(wrong):
            raise InvalidInputError(
                f"row {wrong[0]}: got the action {str(action[wrong[0]])!r}, expected one of {', '.join(ACTIONS)}"
            )
        wrong = np.flatnonzero((score < 0) | (score > 1))  # NaN is neither
        if len(wrong):
            raise InvalidInputError(
                f"row {wrong[0]}: got the score {score[wrong[0]]}, expected a probability in [0, 1], or NaN for none"
            )
        object.__setattr__(self, "action", action.astype("U6"))
        object.__setattr__(self, "score", score)
        object.__setattr__(self, "reason", reason)

    def __len__(self) -> int:
        return len(self.reason)

    def counts(self) -> dict[str, int]:
        """Return how many rows have each action.

        :returns: the three actions and their counts
        """
        found = Counter(self.action.tolist())
        return {name: found[name] for name in ACTIONS}


class Decider(Protocol):
    """Whatever decides about candidate negatives; :class:`~kgneg.selfinstruct.filter.SelfInstructFilter` does.

    A decider that is given to processes must pickle, and its answer about a row must not depend on other rows.
    """

    def fingerprint(self) -> str:
        """Return a hash of everything that decisions depend on; never a secret.

        :returns: a text, equal for equal deciders in every process
        """

    def decide(self, candidates: Candidates) -> Decisions:
        """Decide about candidates.

        :param candidates: ``n`` triples
        :returns: ``n`` decisions
        """
