"""Interactions from files.

==============  ======================================================================================================
format          what it is
==============  ======================================================================================================
``table``       text with a row per interaction and any separator, with or without names; or Parquet
``inter``       RecBole: tabs, and a first line of ``name:type``
``movielens``   ``u.data`` (tabs), ``ratings.dat`` (``::``), both without names; ``ratings.csv``
``adjacency``   lines of ``user item item ...``, integers, as LightGCN's authors have them
``counted``     lines of ``count item item ...``, integers; the user is the number of the line, from 0 (CiteULike)
``auto``        by the name of the file and its first lines; refused where two formats are possible
==============  ======================================================================================================

Columns that are not named are guessed: by usual names such as ``userId``, ``movieId``, ``rating`` and ``timestamp``; in
a table without names, by the usual order of user, item, rating, time. All of these may be gzipped, except Parquet.
Fields are texts, so ``07`` and ``7`` are two users. Between commas or semicolons, fields may be in quotation marks.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from kgneg.core.cache import ArtefactCache, content_key
from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose
from kgneg.recsys._adjacency import adjacency_columns
from kgneg.recsys._assemble import Columns, assemble
from kgneg.recsys._names import ColumnChoice
from kgneg.recsys._tables import parquet_columns, text_columns
from kgneg.recsys._text_files import FORMATS, check_file, guess_format, read_bytes, sample_lines
from kgneg.recsys.interaction_files import from_tensors, to_tensors
from kgneg.recsys.interactions import Interactions

__all__ = ["ReadOptions", "read_interactions"]

#: Part of the keys of the cache; another number whenever a file would be read differently.
_VERSION = 1


@dataclass(frozen=True)
class ReadOptions:
    """The options of :meth:`~kgneg.recsys.interactions.Interactions.read` that JSON can spell.

    :param format: one of the formats, or auto
    :param user: the column of the user
    :param item: the column of the item
    :param rating: the column of the rating
    :param time: the column of the time
    :param min_rating: leave out rows with a lower rating
    :param separator: what is between fields
    :param header: whether the first line has names
    :param unknown: drop or error
    """

    format: str = "auto"
    user: ColumnChoice = None
    item: ColumnChoice = None
    rating: ColumnChoice = None
    time: ColumnChoice = None
    min_rating: float | None = None
    separator: str | None = None
    header: bool | None = None
    unknown: str = "drop"

    @property
    def columns(self) -> dict[str, ColumnChoice]:
        """The choices of the four columns."""
        return {"user": self.user, "item": self.item, "rating": self.rating, "time": self.time}


def read_interactions(
    path: str | Path,
    options: ReadOptions,
    *,
    like: Interactions | None = None,
    cache: bool | ArtefactCache = False,
) -> Interactions:
    r"""Read a file, see :meth:`~kgneg.recsys.interactions.Interactions.read`.

    :param path: the file
    :param options: how
    :param like: take over the tables of these interactions
    :param cache: keep the result on disk, or where
    :returns: the interactions
    :raises InvalidInputError: if the file is not there or not understood

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "likes.csv"
    ...     _ = path.write_text("user,item\nann,tea\nbob,tea\n")
    ...     read_interactions(path, ReadOptions())
    Interactions(users=2, items=1, pairs=2)
    """
    path = check_file(Path(path))
    choose("format", options.format, ("auto", *FORMATS))
    choose("unknown", options.unknown, ("drop", "error"))
    if cache is False:
        return _read(path, options, like)
    store = ArtefactCache() if cache is True else cache
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()
    key = content_key(_VERSION, digest, path.name, asdict(options), None if like is None else like.fingerprint())
    return from_tensors(store.get("interactions", key, lambda: to_tensors(_read(path, options, like))))


def _read(path: Path, options: ReadOptions, like: Interactions | None) -> Interactions:
    return assemble(_columns(path, options), min_rating=options.min_rating, like=like, unknown=options.unknown)


def _columns(path: Path, options: ReadOptions) -> Columns:
    """Return the columns of a file of any format."""
    with path.open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    if parquet or path.suffix.lower() in (".parquet", ".pq"):
        if options.format not in ("auto", "table"):
            raise InvalidInputError(f'{path} is a Parquet file; read it with format="table", not {options.format!r}')
        return parquet_columns(path, options.columns)
    data = read_bytes(path)
    form = options.format
    if form == "auto":
        told = any(one is not None for one in (*options.columns.values(), options.separator, options.header))
        form = guess_format(path, sample_lines(path, data), table=told)
    if form in ("adjacency", "counted"):
        _refuse_options(path, form, options)
        return adjacency_columns(path, data, counted=form == "counted")
    return text_columns(path, data, form, options.columns, options.separator, options.header)


def _refuse_options(path: Path, form: str, options: ReadOptions) -> None:
    given = {name: value for name, value in asdict(options).items() if name not in ("format", "unknown")}
    useless = [f"{name}={value!r}" for name, value in given.items() if value is not None]
    if useless:
        raise InvalidInputError(
            f'{path} is read as {form}, which has no columns: leave out {", ".join(useless)}, or say format="table" '
            "(--format table)"
        )
