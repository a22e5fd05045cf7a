"""Kernel ridge regression for several penalties at the price of one, with the scores of left-out rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["RidgePath"]

_JITTER = 1e-8


@dataclass(frozen=True, eq=False)
class RidgePath:
    """One eigendecomposition, from which the answer for each penalty follows.

    :param basis: shape: ``(n, m)``, rows in the space where penalties are plain
    :param spectrum: shape: ``(m,)``
    :param back: shape: ``(m, m)``, from that space to weights of landmarks
    :param truth: shape: ``(n,)``
    :param weight: shape: ``(n,)``
    """

    basis: np.ndarray
    spectrum: np.ndarray
    back: np.ndarray
    truth: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, near: np.ndarray, marks: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> RidgePath:
        """Prepare a fit.

        :param near: shape: ``(n, m)``, the kernel of rows and landmarks
        :param marks: shape: ``(m,)``, which rows are landmarks; all of them, in their order, for an exact fit
        :param truth: shape: ``(n,)``
        :param weight: shape: ``(n,)``, positive
        :returns: the prepared fit
        """
        from scipy.linalg import cholesky, eigh, solve_triangular

        inner = near[marks]
        jitter = _JITTER * float(np.trace(inner)) * np.eye(len(marks))
        lower = cholesky((inner + inner.T) / 2 + jitter, lower=True)
        basis = solve_triangular(lower, near.T, lower=True).T
        spectrum, turn = eigh((basis.T * weight) @ basis)
        return cls(
            basis=basis @ turn,
            spectrum=np.maximum(spectrum, 0.0),
            back=solve_triangular(lower.T, turn, lower=False),
            truth=truth,
            weight=weight,
        )

    def solve(self, penalty: float) -> tuple[float, np.ndarray, np.ndarray]:
        """Fit with a penalty.

        :param penalty: what the squared size of the answer costs
        :returns: the mean squared error on left-out rows, the weights of landmarks of shape ``(m,)``, and the scores
            of left-out rows of shape ``(n,)``
        """
        shrunk = 1 / (self.spectrum + penalty)
        inner = shrunk * (self.basis.T @ (self.weight * self.truth))
        leverage = self.weight * (np.square(self.basis) @ shrunk)
        rest = (self.truth - self.basis @ inner) / np.maximum(1 - leverage, 1e-6)
        error = float(np.average(np.square(rest), weights=self.weight))
        return error, self.back @ inner, self.truth - rest
