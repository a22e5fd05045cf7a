"""From columns of labels and numbers to interactions: count, check, number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose
from kgneg.recsys.interaction_report import InteractionReport
from kgneg.recsys.interactions import Interactions

__all__ = ["Columns", "assemble"]

_INTEGER = r"^-?(0|[1-9][0-9]{0,17})$"
_DATE = r"\d{4}-\d{2}-\d{2}"  # how an ISO date begins; a bare 2024 is a number


@dataclass
class Columns:
    """What a source gives: one value per row.

    :param source: what it is called in messages
    :param users: a pyarrow array of labels
    :param items: a pyarrow array of labels
    :param ratings: a pyarrow array of numbers, or of texts of numbers
    :param times: likewise, or of dates
    :param names: what the columns are called: ``user``, ``item``, ``rating`` and ``time`` -> name
    :param place: describes a row by its number from 0
    :param report: what was counted so far; ``rows`` is filled in
    :param counts: how many rows of an earlier source each row stands for, or ``None``: one
    """

    source: str
    users: Any
    items: Any
    ratings: Any = None
    times: Any = None
    names: dict[str, str] = field(default_factory=dict)
    place: Callable[[int], str] = "row {} (from 0)".format
    report: InteractionReport = field(default_factory=InteractionReport)
    counts: npt.NDArray[np.int64] | None = None

    def refuse(self, row: int, kind: str, got: str, remedy: str) -> InvalidInputError:
        """Describe a bad value.

        :param row: the number of the row, from 0
        :param kind: user, item, rating or time
        :param got: what is wrong with it
        :param remedy: what to do
        :returns: the error, to be raised by the caller
        """
        where = f", column {self.names[kind]!r}" if kind in self.names else ""
        return InvalidInputError(f"{self.source}, {self.place(row)}{where}: the {kind} {got}; {remedy}")


def assemble(
    columns: Columns, *, min_rating: float | None = None, like: Interactions | None = None, unknown: str = "drop"
) -> Interactions:
    """Make interactions from columns.

    :param columns: the columns
    :param min_rating: leave out rows with a lower rating
    :param like: take over the tables of these interactions
    :param unknown: what becomes of users and items that ``like`` does not have: drop or error
    :returns: the interactions
    :raises InvalidInputError: if there is no row, or none is left, or a value cannot be used
    """
    choose("unknown", unknown, ("drop", "error"))
    number = len(columns.users)
    if not number:
        raise InvalidInputError(f"{columns.source} has no rows: there must be at least one interaction")
    users, items = _labels(columns, "user", columns.users), _labels(columns, "item", columns.items)
    ratings, times = _numbers(columns, "rating", columns.ratings), _numbers(columns, "time", columns.times)
    kept = np.ones(number, dtype=bool) if min_rating is None else _high(columns, ratings, min_rating)
    counts = {"below_min_rating": number - int(kept.sum())}
    user_codes, user_labels = _number("user", users, kept, None if like is None else _table(like, "user"))
    item_codes, item_labels = _number("item", items, kept, None if like is None else _table(like, "item"))
    for kind, codes, texts in (("user", user_codes, users), ("item", item_codes, items)):
        bad = kept & (codes < 0)
        counts[f"unknown_{kind}s"] = int(bad.sum())
        if unknown == "error" and bad.any():
            row = int(bad.argmax())
            label = texts.dictionary[texts.indices[row].as_py()].as_py()
            raise columns.refuse(row, kind, f"{label!r} is not known", 'leave it out, or take unknown="drop"')
        kept &= ~bad
    if not kept.any():
        raise _nothing_left(columns, counts, users, items)
    return Interactions(
        torch.from_numpy(user_codes[kept]),
        torch.from_numpy(item_codes[kept]),
        num_users=len(user_labels) if like is None else like.num_users,
        num_items=len(item_labels) if like is None else like.num_items,
        ratings=None if ratings is None else torch.from_numpy(ratings[kept]),
        times=None if times is None else torch.from_numpy(times[kept]),
        user_labels=user_labels if like is None else like.user_labels,
        item_labels=item_labels if like is None else like.item_labels,
        multiplicity=None if columns.counts is None else torch.from_numpy(columns.counts[kept]),
        report=replace(columns.report, rows=number if columns.counts is None else int(columns.counts.sum()), **counts),
    )


def _labels(columns: Columns, kind: str, array: Any) -> Any:
    """Return a dictionary-encoded array whose values are texts; none is missing or empty."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    array = _plain(array)
    if array.null_count:
        raise columns.refuse(pc.index(array.is_null(), True).as_py(), kind, "is missing", "leave such rows out")
    if pa.types.is_floating(array.type):
        whole = pc.and_(pc.is_finite(array), pc.equal(pc.floor(array), array))
        if not pc.all(whole).as_py():
            row = pc.index(whole, False).as_py()
            raise columns.refuse(row, kind, f"{array[row].as_py()!r} is no integer", "give integers or texts")
        small = pc.less(pc.abs(array), 2.0**53)
        if not pc.all(small).as_py():
            row = pc.index(small, False).as_py()
            got = f"{array[row].as_py()!r} is too large to be told from its neighbours"
            raise columns.refuse(row, kind, got, "give integers or texts instead of floating-point numbers")
        array = array.cast(pa.int64())
    try:
        encoded = array.dictionary_encode()
        texts = encoded.dictionary.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidInputError(f"{columns.source}: {kind}s of type {array.type} cannot be read: {error}") from error
    empty = pc.index(texts, "").as_py()
    if empty >= 0:
        row = pc.index(encoded.indices, pa.scalar(empty, encoded.indices.type)).as_py()
        raise columns.refuse(row, kind, "is empty", "leave such rows out")
    return pa.DictionaryArray.from_arrays(encoded.indices, texts)


def _plain(array: Any) -> Any:
    """Return an array in one piece, neither chunked nor dictionary-encoded."""
    import pyarrow as pa

    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array


def _numbers(columns: Columns, kind: str, array: Any) -> npt.NDArray[np.float64] | None:
    """Return finite numbers; dates as seconds since 1970."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if array is None:
        return None
    array = _plain(array)
    other = "numbers or dates such as 2024-05-01T12:00:00" if kind == "time" else "numbers"
    remedy = f"give {other}, or {kind}=False to read without, on the command line --{kind} none"
    if array.null_count:
        raise columns.refuse(pc.index(array.is_null(), True).as_py(), kind, "is missing", remedy)
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        moments = array.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        return np.asarray(moments, dtype=np.float64) / 1e6
    try:
        numbers = array.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        dates = _dates(array) if kind == "time" else None
        if dates is not None and np.isfinite(dates).all():
            return dates
        row = _first_bad(array) if dates is None else int(np.isnan(dates).argmax())
        what = "number" if dates is None else "date"
        raise columns.refuse(row, kind, f"{array[row].as_py()!r} is no {what}", remedy) from error
    values = np.asarray(numbers, dtype=np.float64)
    if not np.isfinite(values).all():
        row = int((~np.isfinite(values)).argmax())
        raise columns.refuse(row, kind, f"{array[row].as_py()!r} is not finite", remedy)
    return values


def _dates(array: Any) -> npt.NDArray[np.float64] | None:
    """Return ISO dates as seconds since 1970, not a number where one is none; ``None`` if the first is none already.

    Dates without a time zone are taken as UTC.
    """
    import pandas as pd
    import pyarrow as pa

    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return None
    texts = array.to_pandas()
    moments = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
    moments = moments.where(texts.str.match(_DATE))
    if pd.isna(moments.iloc[0]):
        return None
    seconds = (moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return np.asarray(seconds, dtype=np.float64)


def _first_bad(array: Any) -> int:
    """Return the first place that is no number, by halving."""
    import pyarrow as pa

    low, high = 0, len(array)  # array[:low] can be read, array[:high] cannot
    while high - low > 1:
        middle = (low + high) // 2
        try:
            array[low:middle].cast(pa.float64(), safe=False)
            low = middle
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            high = middle
    return low


def _high(columns: Columns, ratings: npt.NDArray[np.float64] | None, least: float) -> npt.NDArray[np.bool_]:
    if isinstance(least, bool) or not isinstance(least, int | float) or not math.isfinite(least):
        raise InvalidInputError(f"min_rating must be a finite number, got {least!r}")
    if ratings is None:
        raise InvalidInputError(
            f"min_rating={least:g} needs ratings, but {columns.source} has none that were found; name their column "
            'with rating="...", on the command line --rating'
        )
    kept = ratings >= least
    if not kept.any():
        raise InvalidInputError(
            f"{columns.source}: no row has a rating of at least {least:g}; ratings are {ratings.min():g} to "
            f"{ratings.max():g}. Take a lower min_rating (--min-rating)."
        )
    return kept


def _table(like: Interactions, kind: str) -> Any:
    """Return the labels of a table as a pyarrow array."""
    import pyarrow as pa

    labels = like.user_labels if kind == "user" else like.item_labels
    number = like.num_users if kind == "user" else like.num_items
    if labels is None:
        return pa.array(np.arange(number)).cast(pa.large_string())
    return pa.array(labels, pa.large_string())


def _number(
    kind: str, array: Any, kept: npt.NDArray[np.bool_], table: Any
) -> tuple[npt.NDArray[np.int64], Sequence[str]]:
    """Return an id for each row, -1 where there is none, and the labels in the order of the ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    codes, texts = np.asarray(array.indices).astype(np.int64), array.dictionary
    if table is not None:
        places = pc.fill_null(pc.index_in(texts, value_set=table), -1)
        return np.asarray(places).astype(np.int64)[codes], ()
    used = np.bincount(codes[kept], minlength=len(texts)) > 0
    whole = pc.all(pc.match_substring_regex(texts, _INTEGER)).as_py()
    order = np.asarray(pc.array_sort_indices(texts.cast(pa.int64()) if whole else texts)).astype(np.int64)
    order = order[used[order]]
    ids = np.full(len(texts), -1, dtype=np.int64)
    ids[order] = np.arange(len(order))
    return ids[codes], texts.take(pa.array(order)).to_pylist()


def _nothing_left(columns: Columns, counts: dict[str, int], users: Any, items: Any) -> InvalidInputError:
    said = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    user, item = users.dictionary[0].as_py(), items.dictionary[0].as_py()
    return InvalidInputError(
        f"no row of {columns.source} is left: {said} of {len(columns.users):,} rows. Do the labels agree? Here users "
        f"are called like {user!r} and items like {item!r}."
    )
