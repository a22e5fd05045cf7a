"""From log odds to probabilities that mean what they say, for every relation."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose, validate_number

__all__ = ["Calibrator"]

_METHODS = ("platt", "isotonic")
_LIMIT = 1e-6


class Calibrator:
    """Maps log odds to probabilities: one line or step function for all, bent for each relation as far as it has rows.

    ``"platt"`` (Platt 1999) fits a slope and an offset, and per relation a deviation of both that is shrunk to zero.
    ``"isotonic"`` fits a monotone step function to all rows and one to each relation, and mixes both with the weight
    ``n / (n + shrinkage)``.

    :param method: ``"platt"`` or ``"isotonic"``; the latter needs some hundred rows
    :param shrinkage: rows at which a relation counts as much as all together
    :raises InvalidInputError: if an argument is out of range

    >>> odds = np.linspace(-3, 3, 100)
    >>> half = Calibrator().fit(odds, ["r"] * 100, odds > 0).probability(np.zeros(1), ["other"])
    >>> bool(abs(half[0] - 0.5) < 0.05)
    True
    """

    def __init__(self, *, method: str = "platt", shrinkage: float = 500.0) -> None:
        self.method = choose("method", method, _METHODS)
        self.shrinkage = validate_number("shrinkage", shrinkage, above=True)
        self._state: dict[str, Any] | None = None

    def fit(self, log_odds: np.ndarray, relations: list[str], truth: np.ndarray) -> Calibrator:
        """Learn from rows whose truth is known and whose log odds were made without it.

        :param log_odds: shape: ``(n,)``
        :param relations: the relation of each row
        :param truth: shape: ``(n,)``, whether each triple is true
        :returns: itself
        :raises InvalidInputError: if shapes differ, or only one kind of triple is there
        """
        odds, truth = np.asarray(log_odds, dtype=np.float64), np.asarray(truth).astype(bool)
        if odds.ndim != 1 or truth.shape != odds.shape or len(relations) != len(odds):
            raise InvalidInputError(
                f"one relation and truth per row are needed, got {odds.shape}, {len(relations)} and {truth.shape}"
            )
        if not truth.any() or truth.all():
            raise InvalidInputError(
                f"calibration needs true and false triples, got {int(truth.sum())} true ones of {len(truth)}"
            )
        if not np.isfinite(odds).all():
            raise InvalidInputError("log odds must be finite: clip them first")
        if self.method == "platt":
            self._state = self._fit_lines(odds, relations, truth)
        else:
            self._state = self._fit_steps(odds, relations, truth)
        return self

    def probability(self, log_odds: np.ndarray, relations: list[str]) -> np.ndarray:
        """Return P(the triple is true).

        :param log_odds: shape: ``(n,)``; NaN stays NaN
        :param relations: the relation of each row; an unknown one is treated like all together
        :returns: shape: ``(n,)``
        :raises InvalidInputError: if there was no fit
        """
        if self._state is None:
            raise InvalidInputError("this calibrator has learned nothing yet: call fit first")
        odds, names = np.asarray(log_odds, dtype=np.float64), np.asarray(relations, dtype=object)
        found = np.empty(len(odds))
        for name in dict.fromkeys(relations):
            own = names == name
            found[own] = self._line(odds[own], name) if self.method == "platt" else self._steps(odds[own], name)
        return found

    def state(self) -> dict[str, Any]:
        """Return everything as JSON has it.

        :returns: names and plain values
        """
        return {"method": self.method, "shrinkage": self.shrinkage, "fit": self._state}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Calibrator:
        """Undo :meth:`state`.

        :param state: names and plain values
        :returns: the calibrator
        """
        made = cls(method=state["method"], shrinkage=state["shrinkage"])
        made._state = state["fit"]
        return made

    def _fit_lines(self, odds: np.ndarray, relations: list[str], truth: np.ndarray) -> dict[str, Any]:
        from scipy.optimize import minimize
        from scipy.special import expit

        known = sorted(set(relations))
        place = np.array([known.index(one) for one in relations])
        count = len(known)
        # a relation of `shrinkage` rows, each worth p(1 - p) < 1/4, moves half the way
        penalty = self.shrinkage * max(float(truth.mean() * (1 - truth.mean())), 0.02) / 2
        scale = float(np.square(odds).mean()) or 1.0

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            slope, offset = flat[0] + flat[2 : 2 + count], flat[1] + flat[2 + count :]
            line = slope[place] * odds + offset[place]
            error = expit(line) - truth
            bent = np.concatenate([flat[2 : 2 + count] * scale, flat[2 + count :]])
            value = np.logaddexp(0, line).sum() - line[truth].sum() + penalty * (flat[2:] * bent).sum()
            value += 0.5 * (flat[0] - 1) ** 2
            slopes, offsets = (np.bincount(place, part, count) for part in (error * odds, error))
            gradient = np.concatenate([[slopes.sum() + flat[0] - 1, offsets.sum()], slopes, offsets])
            gradient[2:] += 2 * penalty * bent
            return float(value), gradient

        start = np.zeros(2 + 2 * count)
        start[0] = 1.0
        flat = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
        lines = {
            name: [max(float(flat[0] + flat[2 + at]), 0.0), float(flat[1] + flat[2 + count + at])]
            for at, name in enumerate(known)
        }
        return {"all": [max(float(flat[0]), 0.0), float(flat[1])], "relations": lines}

    def _line(self, odds: np.ndarray, name: str) -> np.ndarray:
        from scipy.special import expit

        state = self._state or {}
        slope, offset = state["relations"].get(name, state["all"])
        return np.asarray(expit(slope * odds + offset))

    def _fit_steps(self, odds: np.ndarray, relations: list[str], truth: np.ndarray) -> dict[str, Any]:
        names = np.asarray(relations, dtype=object)
        curves = {}
        for name in sorted(set(relations)):
            own = names == name
            curves[name] = {"rows": int(own.sum()), "curve": _monotone(odds[own], truth[own])}
        return {"all": _monotone(odds, truth), "relations": curves}

    def _steps(self, odds: np.ndarray, name: str) -> np.ndarray:
        state = self._state or {}
        found = np.interp(odds, *state["all"])
        if name in state["relations"]:
            own = state["relations"][name]
            weight = own["rows"] / (own["rows"] + self.shrinkage)
            found = (1 - weight) * found + weight * np.interp(odds, *own["curve"])
        # a tiny slope, so that rows of one step keep their order
        return np.asarray(np.clip(found * (1 - _LIMIT) + _LIMIT / (1 + np.exp(-np.clip(odds, -30, 30))), 0, 1))


def _monotone(odds: np.ndarray, truth: np.ndarray) -> list[list[float]]:
    """Return the knots of the best monotone function, at the ends of its steps."""
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(out_of_bounds="clip").fit(odds, truth.astype(np.float64))
    return [model.X_thresholds_.astype(float).tolist(), model.y_thresholds_.astype(float).tolist()]
