"""Which concepts are near which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError

if TYPE_CHECKING:
    from kgneg.datasets.taxonomy import Taxonomy

__all__ = ["closure", "cousins", "matrix_of", "together"]

_MOST = 1 << 28  # members of a neighbourhood


def matrix_of(index: CandidateIndex) -> scipy.sparse.csr_array:
    """Return ones where there are members.

    :param index: the lists
    :returns: a sparse matrix
    """
    shape = (index.num_rows, index.num_columns)
    data = np.ones(len(index.indices), dtype=np.float64)
    return scipy.sparse.csr_array((data, index.indices.numpy(), index.indptr.numpy()), shape=shape)


def together(contexts: CandidateIndex, *, weighted: bool, what: str) -> CandidateIndex:
    """Return which rows share a column.

    :param contexts: n x c
    :param weighted: whether to weight a pair by the sum, over the shared columns, of one over the number of others
    :param what: what to call it in a message
    :returns: n x n, without the rows themselves
    """
    return _shared(matrix_of(contexts), None, weighted=weighted, what=what)


def _shared(
    matrix: scipy.sparse.csr_array, without: scipy.sparse.csr_array | None, *, weighted: bool, what: str
) -> CandidateIndex:
    sizes = _sizes(matrix, what)
    scale = scipy.sparse.diags_array(1 / np.maximum(sizes - 1, 1))
    pairs = scipy.sparse.csr_array(matrix @ scale @ matrix.T)
    pairs.setdiag(0)
    if without is not None:
        pairs = pairs - pairs.multiply(without > 0)
    return CandidateIndex.from_scipy(pairs, weighted=weighted)


def cousins(taxonomy: Taxonomy, depth: int, *, weighted: bool) -> CandidateIndex:
    """See :meth:`kgneg.datasets.Taxonomy.cousins`.

    :param taxonomy: the taxonomy
    :param depth: steps to the shared ancestor
    :param weighted: whether to give weights
    :returns: n x n
    """
    above = matrix_of(taxonomy.ancestors())
    steps, weights = above.copy(), taxonomy.ancestors().weights
    if weights is not None:
        steps.data = weights.numpy().astype(np.float64)
    what = f"cousins(depth={depth})"
    at, within = (_where(steps, steps.data == depth), _where(steps, steps.data < depth))
    _sizes(within, what)
    return _shared(at, within @ within.T + above + above.T, weighted=weighted, what=what)


def _where(matrix: scipy.sparse.csr_array, kept: Any) -> scipy.sparse.csr_array:
    """Return ones where entries are kept."""
    chosen = matrix.copy()
    chosen.data = kept.astype(np.float64)
    chosen.eliminate_zeros()
    return chosen


def _sizes(matrix: scipy.sparse.csr_array, what: str) -> Any:
    """Return how many rows have each column, if their pairs are not too many."""
    sizes = np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.float64)
    if (sizes**2).sum() > _MOST:
        raise InvalidInputError(
            f"{what} would have up to {int((sizes**2).sum()):,} pairs, more than the limit of {_MOST:,}: the largest "
            f"context alone has {int(sizes.max()):,} concepts. Take a narrower neighbourhood."
        )
    return sizes


def _pattern(matrix: Any) -> scipy.sparse.csr_array:
    made = scipy.sparse.csr_array(matrix)
    made.data[:] = 1.0
    return made


def closure(parents: CandidateIndex) -> CandidateIndex:
    """Return all ancestors, with the steps of the shortest way as weights.

    :param parents: n x n, without cycles
    :returns: n x n
    """
    step = matrix_of(parents)
    steps, front, distance = scipy.sparse.csr_array(step), step, 1
    while front.nnz:
        distance += 1
        front = _pattern(front @ step)
        front = scipy.sparse.csr_array(front - front.multiply(steps > 0))
        front.eliminate_zeros()
        steps = scipy.sparse.csr_array(steps + front * distance)
        if steps.nnz > _MOST:
            raise InvalidInputError(f"the concepts have more than {_MOST:,} ancestors, which is too many")
    return CandidateIndex.from_scipy(steps, weighted=True)
