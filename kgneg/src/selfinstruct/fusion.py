"""One opinion from several judges and the critic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_count, validate_number
from kgneg.selfinstruct.confusion import Confusion
from kgneg.selfinstruct.lines import logistic

__all__ = ["JudgeFusion"]

_CERTAIN = 0.9  # a judge that says "yes" without a number is taken for no surer than this
_MIN_EACH = 10


class JudgeFusion:
    """Adds up the log odds of judges and of the critic.

    With labels, each judge has a table of how often it says yes to true and to false triples, per relation and drawn
    to the table over all relations; a logistic regression then gives judges and critic weights near 1, less where two
    say the same. Without labels the tables are found by Dawid and Skene (1979). With fewer than ``minimum`` labels the
    verdicts, and the critic if there is one, are simply added.

    :param shrinkage: rows of a relation at which its own table counts as much as the one over all relations
    :param minimum: labels from which on tables and weights are learned
    :param penalty: how strongly weights are drawn to 1
    :raises InvalidInputError: if an argument is out of range

    >>> said = np.array([[0.9, 0.8], [0.1, 0.3], [np.nan, 0.6]])
    >>> fusion = JudgeFusion().fit(said, ["r"] * 3, np.array([1, 0, 1]))
    >>> fusion.mode, (fusion.log_odds(said, ["r"] * 3) > 0).tolist()
    ('sum', [True, False, True])
    """

    def __init__(self, *, shrinkage: float = 300.0, minimum: int = 200, penalty: float = 10.0) -> None:
        self.shrinkage = validate_number("shrinkage", shrinkage, above=True)
        self.minimum = validate_count("minimum", minimum, 2)
        self.penalty = validate_number("penalty", penalty, above=True)
        #: how judges are combined: ``"calibrated"``, ``"dawid-skene"`` or ``"sum"``; empty before a fit
        self.mode = ""
        self._confusion: Confusion | None = None
        self._weights = np.empty(0)
        self._judges = 0
        self._with_critic = False

    def fit(
        self,
        verdicts: np.ndarray,
        relations: Sequence[str],
        truth: np.ndarray | None = None,
        critic: np.ndarray | None = None,
    ) -> JudgeFusion:
        """Learn whom to believe.

        :param verdicts: shape: ``(n, judges)``, P(true) by each judge, NaN where it has none
        :param relations: the relation of each row
        :param truth: shape: ``(n,)``, whether each is true; ``None`` if nobody knows
        :param critic: shape: ``(n,)``, log odds by the critic, for each row made without it
        :returns: itself
        :raises InvalidInputError: if shapes differ, or all labelled triples are of one kind
        """
        verdicts, odds = _table(verdicts, relations, critic)
        self._judges, self._with_critic = verdicts.shape[1], odds is not None
        if truth is None:
            self.mode = "dawid-skene"
            self._confusion = Confusion.unsupervised(verdicts, relations, shrinkage=self.shrinkage)
            self._weights = np.append(np.ones(self._judges + self._with_critic), 0.0)
            return self
        truth = np.asarray(truth).astype(bool)
        if truth.shape != (len(verdicts),):
            raise InvalidInputError(f"one truth per row is needed, got {truth.shape} for {len(verdicts)} rows")
        if len(truth) < self.minimum or min(int(truth.sum()), int((~truth).sum())) < _MIN_EACH:
            self.mode, self._confusion = "sum", None
            self._weights = np.append(np.ones(self._judges + self._with_critic), 0.0)
            return self
        self.mode = "calibrated"
        self._confusion = Confusion.supervised(verdicts, relations, truth, shrinkage=self.shrinkage)
        table = self._features(verdicts, relations, odds)
        size = table.shape[1]
        self._weights = logistic(table, truth, centre=np.ones(size), penalty=np.full(size, self.penalty))
        return self

    def log_odds(self, verdicts: np.ndarray, relations: Sequence[str], critic: np.ndarray | None = None) -> np.ndarray:
        """Combine what judges and critic say.

        :param verdicts: shape: ``(n, judges)``, NaN where a judge has none, which counts for nothing
        :param relations: the relation of each row
        :param critic: shape: ``(n,)``, log odds by the critic, if there was one in the fit
        :returns: shape: ``(n,)``, log odds that each triple is true
        :raises InvalidInputError: if there was no fit, or the shapes are not those of the fit
        """
        if not self.mode:
            raise InvalidInputError("this fusion has learned nothing yet: call fit first")
        verdicts, odds = _table(verdicts, relations, critic)
        if verdicts.shape[1] != self._judges or (odds is not None) != self._with_critic:
            raise InvalidInputError(
                f"the fit had {self._judges} judges and {'a' if self._with_critic else 'no'} critic, "
                f"got {verdicts.shape[1]} judges and {'no' if odds is None else 'a'} critic"
            )
        table = self._features(verdicts, relations, odds)
        found = table @ self._weights[:-1] + self._weights[-1]
        if self.mode == "dawid-skene" and self._confusion is not None and odds is None:
            found += self._confusion.prior(relations)  # a critic knows it already
        return np.asarray(found)

    def state(self) -> dict[str, Any]:
        """Return everything as JSON has it.

        :returns: names and plain values
        """
        return {
            "shrinkage": self.shrinkage,
            "minimum": self.minimum,
            "penalty": self.penalty,
            "mode": self.mode,
            "judges": self._judges,
            "critic": self._with_critic,
            "weights": self._weights.tolist(),
            "confusion": None if self._confusion is None else self._confusion.state(),
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> JudgeFusion:
        """Undo :meth:`state`.

        :param state: names and plain values
        :returns: the fusion
        """
        made = cls(shrinkage=state["shrinkage"], minimum=state["minimum"], penalty=state["penalty"])
        made.mode, made._judges, made._with_critic = state["mode"], state["judges"], state["critic"]
        made._weights = np.array(state["weights"], dtype=np.float64)
        made._confusion = None if state["confusion"] is None else Confusion.restore(state["confusion"])
        return made

    def _features(self, verdicts: np.ndarray, relations: Sequence[str], odds: np.ndarray | None) -> np.ndarray:
        if self._confusion is None:
            sure = np.clip(np.nan_to_num(verdicts, nan=0.5), 1 - _CERTAIN, _CERTAIN)
            told = np.log(sure) - np.log1p(-sure)
        else:
            told = self._confusion.evidence(verdicts, relations)
        return told if odds is None else np.column_stack([told, odds])


def _table(
    verdicts: np.ndarray, relations: Sequence[str], critic: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    verdicts = np.asarray(verdicts, dtype=np.float64)
    if verdicts.ndim != 2 or len(relations) != len(verdicts):
        raise InvalidInputError(
            f"verdicts must have shape (rows, judges) with a relation per row, got {verdicts.shape} and "
            f"{len(relations)} relations"
        )
    if ((verdicts < 0) | (verdicts > 1)).any():
        raise InvalidInputError("verdicts must be probabilities in [0, 1], or NaN where there is none")
    if critic is None:
        return verdicts, None
    odds = np.asarray(critic, dtype=np.float64)
    if odds.shape != (len(verdicts),) or not np.isfinite(odds).all():
        raise InvalidInputError(f"the critic must give one finite number per row, got shape {odds.shape}")
    return verdicts, odds
