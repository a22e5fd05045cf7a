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
    :param together: rows that are left out together, two or more each; the other rows are left out one by one
    """

    basis: np.ndarray
    spectrum: np.ndarray
    back: np.ndarray
    truth: np.ndarray
    weight: np.ndarray
    together: tuple[np.ndarray, ...] = ()

    @classmethod
    def of(
        cls,
        near: np.ndarray,
        marks: np.ndarray,
        truth: np.ndarray,
        weight: np.ndarray,
        groups: np.ndarray | None = None,
    ) -> RidgePath:
        """Prepare a fit.

        :param near: shape: ``(n, m)``, the kernel of rows and landmarks
        :param marks: shape: ``(m,)``, which rows are landmarks; all of them, in their order, for an exact fit
        :param truth: shape: ``(n,)``
        :param weight: shape: ``(n,)``, positive
        :param groups: shape: ``(n,)``, numbers from 0; the rows of a group are left out together
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
            together=() if groups is None else _together(groups),
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
        missed = self.truth - self.basis @ inner
        rest = missed / np.maximum(1 - leverage, 1e-6)
        for rows in self.together:
            rest[rows] = self._without(rows, missed[rows], shrunk)
        error = float(np.average(np.square(rest), weights=self.weight))
        return error, self.back @ inner, self.truth - rest

    def _without(self, rows: np.ndarray, missed: np.ndarray, shrunk: np.ndarray) -> np.ndarray:
        """Return what a fit without some rows misses on them, of what the fit with them misses."""
        basis, weight = self.basis[rows], self.weight[rows, None]
        if len(rows) <= basis.shape[1]:
            kept = np.eye(len(rows)) - (basis * shrunk) @ (basis * weight).T
            return np.asarray(np.linalg.solve(kept, missed))
        # by Woodbury, with a system of the size of the basis
        inner = np.diag(1 / shrunk) - (basis.T * weight.T) @ basis
        return np.asarray(missed + basis @ np.linalg.solve(inner, (basis * weight).T @ missed))


def _together(groups: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the rows of each group of two or more."""
    order = np.argsort(groups, kind="stable")
    ends = np.cumsum(np.bincount(groups))
    return tuple(part for part in np.split(order, ends[:-1]) if len(part) > 1) if len(order) else ()
