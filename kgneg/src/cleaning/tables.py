"""Tables as they are in their files, to be written again with fewer rows and other labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgneg.cleaning.sources import read_plain, write_plain
from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

__all__ = ["TableFile", "table_kind"]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_PACKED = ("", ".gz", ".bz2", ".xz")


def table_kind(path: Path) -> str | None:
    """Return ``.csv``, ``.tsv`` or ``.parquet``, or ``None`` for any other file.

    :param path: the file; text may be packed

    >>> table_kind(Path("a.tsv.gz")), table_kind(Path("a.json"))
    ('.tsv', None)
    """
    name = path.name.lower()
    if name.endswith(".parquet"):
        return ".parquet"
    return next((kind for kind in _DELIMITERS for packed in _PACKED if name.endswith(kind + packed)), None)


class TableFile:
    """A table with all of its columns; text is taken apart row by row when it is needed.

    :param path: a CSV, TSV or Parquet file
    :raises InvalidInputError: if it is no such file, or truncated
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        kind = table_kind(path)
        if kind is None:
            raise InvalidInputError(f"{path}: expected a table, .csv, .tsv or .parquet")
        self.kind = kind
        self._table: pa.Table | None = None
        self._text = ""
        if kind == ".parquet":
            self._table = _read_parquet(path)
            self.columns: list[str] = list(self._table.column_names)
        else:
            self._text = read_plain(path)
            self.columns = next(self._fields(), [])

    def column(self, name: str) -> list[str]:
        """Return a column as texts.

        :param name: the name of the column
        :returns: a text per row
        :raises InvalidInputError: if there is no such column, or a row has another length than the first
        """
        if name not in self.columns:
            shown = ", ".join(map(repr, self.columns[:20])) or "missing: the file is empty"
            raise InvalidInputError(f"{self.path}: no column {name!r}, the columns are {shown}")
        if self._table is not None:
            return ["" if value is None else str(value) for value in self._table.column(name).to_pylist()]
        place = self.columns.index(name)
        return [row[place] for row in islice(self._fields(), 1, None)]

    def _fields(self) -> Iterator[list[str]]:
        """Yield the fields of each row, the first one too; empty lines are no rows."""
        length = 0
        reader = csv.reader(io.StringIO(self._text, newline=""), delimiter=_DELIMITERS[self.kind])
        try:
            for row in reader:
                length = length or len(row)
                if row and len(row) != length:
                    raise InvalidInputError(
                        f"{self.path}, line {reader.line_num}: got {len(row)} fields, expected {length} as in the "
                        "first row"
                    )
                if row:
                    yield row
        except csv.Error as error:
            raise InvalidInputError(f"{self.path}, line {reader.line_num}: {error}") from error

    def write(self, path: Path, label: str, labels: Sequence[str | None]) -> None:
        """Write the table again, everything else as it is.

        :param path: the file, of the same kind
        :param label: the column of the labels
        :param labels: the label of each row, ``None`` for rows that are left out
        :raises InvalidInputError: if the file is of another kind, or a label cannot be of the column's type
        """
        if table_kind(path) != self.kind:
            raise InvalidInputError(f"{path}: the input is a {self.kind} file; name a file that ends so")
        if self._table is None:
            self._write_text(path, label, labels)
        else:
            self._write_parquet(path, label, labels)

    def _write_text(self, path: Path, label: str, labels: Sequence[str | None]) -> None:
        place = self.columns.index(label)
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter=_DELIMITERS[self.kind], lineterminator="\n")
        writer.writerow(self.columns)
        for row, new in zip(islice(self._fields(), 1, None), labels, strict=True):
            if new is not None:
                writer.writerow([*row[:place], new, *row[place + 1 :]])
        write_plain(path, buffer.getvalue())

    def _write_parquet(self, path: Path, label: str, labels: Sequence[str | None]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        table: Any = self._table
        place = table.column_names.index(label)
        field = table.schema.field(place)
        inner = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        kept = [new for new in labels if new is not None]
        try:
            column = pa.array(kept, pa.string()).cast(inner)
        except pa.ArrowInvalid as error:
            raise InvalidInputError(f"{self.path}: the column {label!r} holds {inner} ({error})") from error
        if pa.types.is_dictionary(field.type):
            column = column.dictionary_encode().cast(field.type)
        table = table.filter(pa.array([new is not None for new in labels])).set_column(place, field, column)
        with atomic_path(path) as temporary:
            parquet.write_table(table, temporary)


def _read_parquet(path: Path) -> pa.Table:
    from pyarrow import parquet

    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file")
    try:
        return parquet.ParquetFile(path).read()
    except (ValueError, OSError) as error:  # pyarrow's errors are one or the other
        raise InvalidInputError(f"{path}: cannot be read as Parquet ({error}); was the file cut off?") from error
