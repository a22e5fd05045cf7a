"""Rows that share a head are not independent: how many independent ones they are worth."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from kgneg.core.errors import InvalidInputError

__all__ = ["head_numbers", "independent_rows", "likeness"]


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


def likeness(groups: np.ndarray, values: np.ndarray) -> float:
    """Estimate the correlation of rows within a group, by an analysis of variance.

    :param groups: shape: ``(n,)``, numbers or names
    :param values: shape: ``(n,)``, what was found about each row
    :returns: the intraclass correlation, in [0, 1]; 0 if no group has two rows, 1 for a single group
    :raises InvalidInputError: if the shapes differ

    >>> likeness(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    1.0
    """
    groups, values = np.asarray(groups), np.asarray(values, dtype=np.float64)
    if groups.shape != values.shape or groups.ndim != 1:
        raise InvalidInputError(f"one group per row is needed, got {groups.shape} for {values.shape}")
    place = np.unique(groups, return_inverse=True)[1]
    size = np.bincount(place)
    number, rows = len(size), len(place)
    if number == rows or number == 1:
        return 0.0 if number == rows else 1.0
    means = np.bincount(place, values) / size
    inside = float(np.square(values - means[place]).sum()) / (rows - number)
    between = float((size * np.square(means - values.mean())).sum()) / (number - 1)
    usual = (rows - np.square(size).sum() / rows) / (number - 1)
    whole = between + (usual - 1) * inside
    return float(np.clip((between - inside) / whole, 0.0, 1.0)) if whole > 0 else 0.0


def independent_rows(groups: np.ndarray, wrong: np.ndarray, level: float = 0.95) -> int:
    """Return how many independent rows those of groups are worth, in a bound on the share of wrong ones.

    The design effect of Kish (1965), ``1 + (m - 1) * alike``, is by how much fewer they are, with ``m`` the mean size
    of the group of a row and ``alike`` the likeness of its rows. Korn and Graubard (1998) put the number that is left
    into the bound of Clopper and Pearson, after a correction for few groups. Where few rows or none are wrong, nothing
    is seen of how they cluster; so the likeness is estimated with one more group of mean size, all of whose rows are
    wrong.

    :param groups: shape: ``(n,)``, numbers or names
    :param wrong: shape: ``(n,)``, bool
    :param level: the confidence of the bound
    :returns: at most ``n``; 1 for a single group

    >>> independent_rows(np.arange(100), np.arange(100) < 5), independent_rows(np.zeros(100), np.arange(100) < 5)
    (100, 1)
    """
    from scipy.stats import t

    place = np.unique(groups, return_inverse=True)[1]
    size = np.bincount(place)
    number, rows = len(size), len(place)
    if number == rows or number == 1:
        return number
    mean = float(np.square(size).sum()) / rows
    more = np.full(round(mean), number)
    alike = likeness(np.append(place, more), np.append(wrong, np.ones(len(more))))
    few = float(t.ppf(level, rows - 1) / t.ppf(level, number - 1))
    return max(1, int(rows * min(few * few / (1 + (mean - 1) * alike), 1.0) + 1e-9))
