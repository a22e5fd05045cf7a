"""Training that touches only the rows of a batch: reading rows, scoring candidates, and optimisers.

A table of a million embeddings is read in a few thousand rows per batch. With dense gradients and dense optimiser steps
the other rows cost as much as these. Here a :class:`RowTable` collects the gradient of the rows that were read, as
factors where possible, and :class:`RowAdam`, :class:`RowAdagrad` and :class:`RowSGD` update only them.
"""

from __future__ import annotations

from kgneg.core.rowwise.adagrad import RowAdagrad
from kgneg.core.rowwise.adam import RowAdam
from kgneg.core.rowwise.candidates import Candidates, Metric, candidate_scores
from kgneg.core.rowwise.optimizer import RowOptimizer
from kgneg.core.rowwise.pool import pool_scores
from kgneg.core.rowwise.queries import Combination, triple_queries
from kgneg.core.rowwise.sgd import RowSGD
from kgneg.core.rowwise.table import RowTable

__all__ = [
    "Candidates",
    "Combination",
    "Metric",
    "RowAdagrad",
    "RowAdam",
    "RowOptimizer",
    "RowSGD",
    "RowTable",
    "candidate_scores",
    "pool_scores",
    "triple_queries",
]
