"""Interactions from what is in memory: pandas frames, sparse matrices, triples of a knowledge graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose
from kgneg.recsys._assemble import Columns, assemble
from kgneg.recsys._names import find_columns
from kgneg.recsys.interaction_report import InteractionReport
from kgneg.recsys.interactions import Interactions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["interactions_from_frame", "interactions_from_scipy", "interactions_from_triples"]


def interactions_from_frame(
    frame: pd.DataFrame,
    columns: Mapping[str, str | int | Literal[False] | None],
    *,
    min_rating: float | None,
    like: Interactions | None,
    unknown: str,
) -> Interactions:
    """Take the rows of a frame, see :meth:`~kgneg.recsys.interactions.Interactions.from_frame`.

    :param frame: one row per interaction
    :param columns: ``user``, ``item``, ``rating`` and ``time`` -> name, position, ``None`` or ``False``
    :param min_rating: leave out rows with a lower rating
    :param like: take over the tables of these interactions
    :param unknown: drop or error
    :returns: the interactions
    :raises InvalidInputError: if it is no frame
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise InvalidInputError(f"frame must be a pandas DataFrame, got {type(frame).__name__}")
    names = [str(name) for name in frame.columns]
    places = find_columns("the frame", names, columns)
    found = {kind: _arrow(frame.iloc[:, place]) for kind, place in places.items()}
    ready = Columns(
        "the frame",
        found["user"],
        found["item"],
        found.get("rating"),
        found.get("time"),
        names={kind: names[place] for kind, place in places.items()},
    )
    return assemble(ready, min_rating=min_rating, like=like, unknown=unknown)


def _arrow(column: pd.Series[Any]) -> Any:
    """Return a column as a pyarrow array; one of mixed types as texts."""
    import pyarrow as pa  # type: ignore[import-untyped]

    try:
        return pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array(column.astype(object).map(str, na_action="ignore"), pa.large_string(), from_pandas=True)


def interactions_from_scipy(
    matrix: Any,
    min_rating: float | None,
    user_labels: Sequence[str] | None,
    item_labels: Sequence[str] | None,
) -> Interactions:
    """Take the entries of a matrix, see :meth:`~kgneg.recsys.interactions.Interactions.from_scipy`.

    :param matrix: a sparse matrix or array
    :param min_rating: leave out entries with a lower value
    :param user_labels: what rows are called
    :param item_labels: what columns are called
    :returns: the interactions
    :raises InvalidInputError: if it is not sparse, or nothing is left
    """
    sparse: bool = scipy.sparse.issparse(matrix)
    if not sparse:
        raise InvalidInputError(
            f"matrix must be a scipy.sparse matrix or array, got {type(matrix).__name__}; "
            "make one with scipy.sparse.csr_array(...)"
        )
    entries = matrix.tocoo()
    if entries.ndim != 2:
        raise InvalidInputError(f"matrix must have two dimensions, users and items; got shape {entries.shape}")
    values = np.asarray(entries.data, dtype=np.float64)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).argmax())
        raise InvalidInputError(f"the entry of user {entries.row[bad]} and item {entries.col[bad]} is {values[bad]}")
    there = values != 0
    kept = there if min_rating is None else there & (values >= min_rating)
    if not kept.any():
        raise InvalidInputError(f"no entry of the matrix is left of {len(values)}: all are zero or below min_rating")
    values = values[kept]
    return Interactions(
        torch.from_numpy(entries.row[kept].astype(np.int64)),
        torch.from_numpy(entries.col[kept].astype(np.int64)),
        num_users=entries.shape[0],
        num_items=entries.shape[1],
        ratings=None if (values == 1).all() else torch.from_numpy(values),
        user_labels=user_labels,
        item_labels=item_labels,
        report=InteractionReport(
            rows=len(there), zeros=int((~there).sum()), below_min_rating=int((there & ~kept).sum())
        ),
    )


def interactions_from_triples(
    triples: Any,
    relation: str | int | None,
    items: str,
    labels: tuple[Sequence[str] | None, Sequence[str] | None],
    *,
    like: Interactions | None,
    unknown: str,
) -> Interactions:
    """View triples as interactions, see :meth:`~kgneg.recsys.interactions.Interactions.from_triples`.

    :param triples: shape: ``(m, 3)``, ids or labels
    :param relation: an id or label, or ``None``: all
    :param items: tails or facts
    :param labels: what entities and relations are called, where triples are ids
    :param like: take over the tables of these interactions
    :param unknown: drop or error
    :returns: the interactions
    """
    choose("items", items, ("tails", "facts"))
    heads, relations, tails = _text_columns(triples, labels)
    if relation is not None:
        kept = _of_relation(relations, relation, labels[1])
        heads, relations, tails = heads.filter(kept), relations.filter(kept), tails.filter(kept)
    what = _facts(relations, tails) if items == "facts" else tails
    ready = Columns("the triples", heads, what, place="triple {} (from 0)".format)
    return assemble(ready, like=like, unknown=unknown)


def _text_columns(triples: Any, labels: tuple[Sequence[str] | None, Sequence[str] | None]) -> list[Any]:
    """Return heads, relations and tails as pyarrow arrays of texts."""
    import pyarrow as pa

    try:
        table = np.asarray(triples.detach().cpu() if isinstance(triples, torch.Tensor) else triples)
    except ValueError as error:  # of different lengths
        raise InvalidInputError(f"triples must have shape (m, 3): {error}") from error
    if table.ndim != 2 or table.shape[1] != 3:
        raise InvalidInputError(f"triples must have shape (m, 3), got {table.shape}")
    if table.dtype.kind not in "iu":
        if any(one is not None for one in labels):
            raise InvalidInputError("entities and relations name ids, but these triples are labels; leave them out")
        try:
            return [pa.array(table[:, column].astype(object), pa.large_string()) for column in range(3)]
        except pa.ArrowTypeError as error:
            raise InvalidInputError(f"triples must be integer ids or labels that are texts: {error}") from error
    names = [None if one is None else pa.array([str(label) for label in one], pa.large_string()) for one in labels]
    columns = []
    for column, kind in enumerate(("entity", "relation", "entity")):
        ids, known = table[:, column], names[kind == "relation"]
        if known is None:
            columns.append(pa.array(ids).cast(pa.large_string()))
            continue
        if len(ids) and not (ids.min() >= 0 and ids.max() < len(known)):
            raise InvalidInputError(
                f"{kind} ids are {ids.min()} to {ids.max()}, but {len(known)} labels are given: give all labels"
            )
        columns.append(known.take(pa.array(ids)))
    return columns


def _of_relation(relations: Any, relation: str | int, names: Sequence[str] | None) -> Any:
    """Return which triples have the relation."""
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    wanted = relation
    if isinstance(relation, Integral) and names is not None:
        if not 0 <= relation < len(names):
            raise InvalidInputError(f"relation id {relation} is out of range: ids must be in [0, {len(names)})")
        wanted = names[int(relation)]
    kept = pc.equal(relations, str(wanted))
    if not pc.any(kept).as_py():
        there = sorted(pc.unique(relations).to_pylist())
        more = ", ..." if len(there) > 10 else ""
        raise InvalidInputError(f"no triple has the relation {relation!r}; there are {', '.join(there[:10])}{more}")
    return kept


def _facts(relations: Any, tails: Any) -> Any:
    """Return what pairs of a relation and a tail are called."""
    import pyarrow as pa
    import pyarrow.compute as pc

    facts, pairs = (
        pc.binary_join_element_wise(relations, tails, pa.scalar(mark, pa.large_string())) for mark in (": ", "\x1f")
    )
    if len(pc.unique(facts)) != len(pc.unique(pairs)):
        raise InvalidInputError(
            "two facts have the same label 'relation: tail', since ': ' occurs in labels; replace it there"
        )
    return facts
