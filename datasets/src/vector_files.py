"""Read and write vectors with labels: CSV, TSV and Parquet."""

from __future__ import annotations

import gzip
import io
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.core.typing import FloatTensor
from kgneg.datasets._files import malformed, read_text
from kgneg.datasets._vector_columns import Column, list_vectors, number_vectors, texts, vector_columns
from kgneg.datasets.vectors import VectorTable

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

__all__ = ["read_vectors", "write_vectors"]

logger = logging.getLogger(__name__)

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_PACKED = (".gz", ".bz2", ".xz")
#: What stands for a missing number; in a column of text all of these are text.
_MISSING = ["", "nan", "NaN", "NA", "null"]


def read_vectors(
    path: str | os.PathLike[str],
    *,
    id: str = "id",
    label: str = "label",
    group: str | None = "group",
    types: str | None = "type",
    vector: str | None = None,
) -> VectorTable:
    """Read vectors with labels from a table whose first row names the columns.

    The vectors are a column of lists (Parquet only), or columns of numbers whose names are one prefix and a number:
    ``v0, v1, ...`` or ``vector_1, vector_2, ...``. Without ``vector``, the list column is the one called ``vector``, or
    the only one; else the prefix is the only one there is. Columns that are not used are named in the log.

    :param path: a file that ends in ``.csv``, ``.tsv`` (in UTF-8, packed or not) or ``.parquet``
    :param id: the column of the ids
    :param label: the column of the labels
    :param group: the column of the groups; it may be missing if it has the default name, and ``None`` does not read it
    :param types: the column of the types, likewise
    :param vector: the column of lists, or the prefix of the columns of numbers
    :returns: the table, in the order of the file
    :raises InvalidInputError: if the file is missing, truncated or malformed, a column is missing, vectors differ in
        length or hold NaN, a label is missing, or an id occurs twice

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "examples.csv")
    ...     _ = path.write_text("id,label,v0,v1" + chr(10) + "a,NA,0.5,1" + chr(10), encoding="utf-8")
    ...     read_vectors(path).vectors
    tensor([[0.5000, 1.0000]])
    """
    path = Path(path)
    packed, kind = _format(path)
    if kind == ".parquet" and packed:
        raise InvalidInputError(f"{path}: a Parquet file is compressed inside; unpack it")
    names = {"id": id, "label": label, "group": group, "types": types}
    optional = {"group": "group", "types": "type"}
    reader = _Parquet(path) if kind == ".parquet" else _Text(path, _DELIMITERS[kind])
    columns = reader.columns
    for what, name in list(names.items()):
        if name is not None and not any(column.name == name for column in columns):
            if name != optional.get(what):
                raise InvalidInputError(
                    f"{path}: no column {name!r} for {what!r}, the columns are "
                    f"{', '.join(repr(column.name) for column in columns[:20])}{' ...' if len(columns) > 20 else ''}; "
                    f"name one of them: {what}=..."
                )
            names[what] = None
    texted = {what: name for what, name in names.items() if name is not None}
    chosen = vector_columns(path, [column for column in columns if column.name not in texted.values()], vector)
    unused = [column.name for column in columns if column.name not in {*texted.values(), *chosen}]
    if unused:
        logger.info("%s: the columns %s are not read", path, ", ".join(map(repr, unused[:20])))
    table = reader.read([*texted.values(), *chosen], chosen)
    if not table.num_rows:
        raise InvalidInputError(f"{path}: got no row below the names of the columns, expected at least one")
    found = {what: texts(path, name, table.column(name)) for what, name in texted.items()}
    vectors = _vectors(path, table, chosen)
    try:
        return VectorTable(
            ids=found["id"],
            labels=found["label"],
            vectors=vectors,
            groups=found.get("group"),
            types=found.get("types"),
        )
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error


def write_vectors(path: str | os.PathLike[str], table: VectorTable) -> None:
    """Write vectors with labels so that :func:`read_vectors` finds them without further arguments.

    :param path: a file that ends in ``.parquet`` (one column of lists), ``.csv`` or ``.tsv`` (columns ``v0``, ``v1``,
        ...; both also with ``.gz``); it is replaced when the new one is complete
    :param table: the vectors
    :raises InvalidInputError: if the file ends in another way
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    path = Path(path)
    packed, kind = _format(path)
    if packed not in ("", ".gz") or (packed and kind == ".parquet"):
        raise InvalidInputError(f"{path}: cannot write {kind}{packed}; choose .parquet, .csv, .tsv, .csv.gz or .tsv.gz")
    columns: dict[str, Any] = {"id": pa.array(table.ids, pa.string()), "label": pa.array(table.labels, pa.string())}
    if table.groups is not None:
        columns["group"] = pa.array(table.groups, pa.string())
    if table.types is not None:
        columns["type"] = pa.array(table.types, pa.string())
    vectors = table.vectors.detach().cpu().contiguous().numpy()
    if kind == ".parquet":
        columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        with atomic_path(path) as temporary:
            parquet.write_table(pa.table(columns), temporary)
        return
    columns |= {f"v{place}": pa.array(np.ascontiguousarray(vectors[:, place])) for place in range(vectors.shape[1])}
    buffer = io.BytesIO()
    csv.write_csv(pa.table(columns), buffer, write_options=csv.WriteOptions(delimiter=_DELIMITERS[kind]))
    data = buffer.getvalue()
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(data, mtime=0) if packed else data)


def _format(path: Path) -> tuple[str, str]:
    """Return the suffix of the compression, or an empty text, and that of the format."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    packed = suffixes.pop() if suffixes and suffixes[-1] in _PACKED else ""
    kind = suffixes[-1] if suffixes else ""
    if kind not in (".parquet", *_DELIMITERS):
        raise InvalidInputError(
            f"{path}: cannot tell the format from {kind or 'no suffix'!r}; expected .csv, .tsv or .parquet"
        )
    return packed, kind


def _vectors(path: Path, table: pa.Table, chosen: list[str]) -> FloatTensor:
    """Make a tensor of the column of lists, or of the columns of numbers."""
    import pyarrow as pa

    first = table.column(chosen[0])
    if pa.types.is_floating(first.type) or pa.types.is_integer(first.type):
        return torch.from_numpy(number_vectors([table.column(name) for name in chosen]))
    return torch.from_numpy(list_vectors(path, first.combine_chunks()))


class _Parquet:
    """A Parquet file.

    :param path: the file
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        if not path.is_file():
            raise InvalidInputError(f"{path}: {'got a folder, expected a file' if path.is_dir() else 'no such file'}")
        self.path = path
        try:
            self.schema = parquet.read_schema(path)
        except (ValueError, OSError) as error:  # pyarrow's errors are one or the other
            raise self._refuse(error) from error
        self.columns = [
            Column(
                item.name,
                pa.types.is_floating(item.type) or pa.types.is_integer(item.type),
                pa.types.is_list(item.type)
                or pa.types.is_large_list(item.type)
                or pa.types.is_fixed_size_list(item.type),
            )
            for item in self.schema
        ]

    def _refuse(self, error: Exception) -> InvalidInputError:
        return InvalidInputError(f"{self.path}: cannot be read as Parquet ({error}); was the file cut off?")

    def read(self, names: list[str], numbers: list[str]) -> pa.Table:
        """Read columns; their types are in the file."""
        from pyarrow import parquet

        try:
            return parquet.read_table(self.path, columns=names)
        except (ValueError, OSError) as error:
            raise self._refuse(error) from error


class _Text:
    """A CSV or TSV file.

    :param path: the file
    :param delimiter: what separates the fields
    """

    def __init__(self, path: Path, delimiter: str) -> None:
        from csv import reader

        self.path = path
        self.delimiter = delimiter
        text = read_text(path)
        header = next(reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        if not header:
            raise malformed(path, 1, "an empty line", "the names of the columns")
        repeated = sorted({name for name in header if header.count(name) > 1})
        if repeated:
            raise malformed(path, 1, f"the column {repeated[0]!r} more than once", "different names")
        if not text.endswith("\n"):
            logger.warning(
                "%s: no line end after the last line; if the file was cut off, its last value is wrong", path
            )
        self.columns = [Column(name, True, False) for name in header]
        self.data = text.encode()

    def read(self, names: list[str], numbers: list[str]) -> pa.Table:
        """Read columns of text and of numbers."""
        import pyarrow as pa
        from pyarrow import csv

        try:
            return csv.read_csv(
                pa.BufferReader(self.data),
                read_options=csv.ReadOptions(use_threads=False),  # with threads, errors do not name the row
                parse_options=csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
                convert_options=csv.ConvertOptions(
                    column_types={name: pa.float64() if name in numbers else pa.string() for name in names},
                    include_columns=names,
                    null_values=_MISSING,
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as error:
            raise InvalidInputError(
                f"{self.path}: {error} (row 1 has the names of the columns); expected complete rows with numbers in "
                "the columns of the vectors"
            ) from error
