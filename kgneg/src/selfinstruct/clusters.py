"""Rows that share a head are not independent: how many independent ones they are worth."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kgneg.core.errors import InvalidInputError

__all__ = ["Clusters", "head_numbers"]


def head_numbers(heads: Sequence[str]) -> np.ndarray:
    """Give each head a number; how a letter is composed and white space around it make no difference.

    :param heads: the head of each of ``n`` rows
    :returns: shape: ``(n,)``, from 0, equal for equal heads

    >>> head_numbers(["cat", "dog", " cat"]).tolist()
    [0, 1, 0]
    """
    plain = [unicodedata.normalize("NFC", head).strip() for head in heads]
    if not plain:
        return np.empty(0, dtype=np.int64)
    return np.unique(np.asarray(plain, dtype=object).astype(str), return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True, eq=False)
class Clusters:
    """Rows in groups, and how alike the rows of a group are.

    The design effect of Kish (1965), ``1 + (m - 1) * alike``, is by how much fewer independent rows there are, with
    ``m`` the mean size of the group of a row; Korn and Graubard (1998) put the number that is left into the bound of
    Clopper and Pearson, after a correction for few groups.

    :param place: shape: ``(n,)``, the group of each row, from 0
    :param alike: the correlation of rows within a group, in [0, 1]

    >>> Clusters.of(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])).alike
    1.0
    """

    place: np.ndarray
    alike: float

    @classmethod
    def of(cls, groups: np.ndarray, values: np.ndarray) -> Clusters:
        """Estimate how alike rows of a group are, by an analysis of variance.

        :param groups: shape: ``(n,)``, numbers or names
        :param values: shape: ``(n,)``, what was found about each row
        :returns: the clusters; rows of a single group count as fully alike
        :raises InvalidInputError: if the shapes differ
        """
        groups, values = np.asarray(groups), np.asarray(values, dtype=np.float64)
        if groups.shape != values.shape or groups.ndim != 1:
            raise InvalidInputError(f"one group per row is needed, got {groups.shape} for {values.shape}")
        place = np.unique(groups, return_inverse=True)[1].astype(np.int64)
        size = np.bincount(place)
        number, rows = len(size), len(place)
        if number == rows:
            return cls(place, 0.0)
        if number == 1:
            return cls(place, 1.0)
        means = np.bincount(place, values) / size
        inside = float(np.square(values - means[place]).sum()) / (rows - number)
        between = float((size * np.square(means - values.mean())).sum()) / (number - 1)
        usual = (rows - np.square(size).sum() / rows) / (number - 1)
        whole = between + (usual - 1) * inside
        return cls(place, float(np.clip((between - inside) / whole, 0.0, 1.0)) if whole > 0 else 0.0)

    def worth(self, chosen: np.ndarray, level: float = 0.95) -> np.ndarray:
        """Return what part of some rows counts.

        :param chosen: shape: ``(n, k)``, ``k`` choices of rows
        :param level: the confidence of the bound that it is for
        :returns: shape: ``(k,)``, independent rows per chosen one, in (0, 1]
        """
        from scipy.stats import t

        size = np.stack([np.bincount(self.place, one, int(self.place.max(initial=-1)) + 1) for one in chosen.T])
        rows, groups = size.sum(axis=1), (size > 0).sum(axis=1)
        mean = np.square(size).sum(axis=1) / np.maximum(rows, 1)
        part = 1 / (1 + np.maximum(mean - 1, 0) * self.alike)
        few = t.ppf(level, np.maximum(rows - 1, 1)) / t.ppf(level, np.maximum(groups - 1, 1))
        part = np.where(groups < rows, part * np.square(few), 1.0)
        return np.asarray(np.where(groups == 1, 1 / np.maximum(rows, 1), np.minimum(part, 1.0)))
