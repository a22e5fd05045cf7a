"""Read a taxonomy from a table of children and parents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.datasets._csv_files import read_rows
from kgneg.datasets.taxonomy import Taxonomy

__all__ = ["read_taxonomy_table"]


def read_taxonomy_table(
    path: str | os.PathLike[str],
    *,
    child: str | int = 0,
    parent: str | int = 1,
    labels: str | os.PathLike[str] | None = None,
    label_columns: Sequence[str | int] = (0, 1),
    alternative: str | int | None = None,
    separator: str | None = None,
    header: bool | None = None,
    split: str = "|",
    **options: Any,
) -> Taxonomy:
    r"""Read (child, parent) links, and labels if there is a table of them.

    :param path: a CSV or TSV file, packed or not
    :param child: the column of the child, a name of the header or a number from 0
    :param parent: the column of the parent; a row without a parent makes a concept without one
    :param labels: a table of identifiers and labels; it then says which concepts there are
    :param label_columns: its columns of the identifier and the label
    :param alternative: its column of further labels, separated by ``split`` or line ends
    :param separator: what separates columns; ``None`` takes tabs for ``.tsv`` and commas otherwise
    :param header: whether the first row of the tables names the columns; ``None``: if a column is given by its name
    :param split: what separates further labels
    :param options: other arguments of :meth:`~kgneg.datasets.Taxonomy.from_pairs`
    :returns: the taxonomy
    :raises InvalidInputError: if a file is missing or malformed, a column is not there, an identifier has two labels,
        or as :meth:`~kgneg.datasets.Taxonomy.from_pairs`; the message names the line

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "zoo.csv")
    ...     _ = path.write_text("child,parent\nlion,cat\ncat,animal\n", encoding="utf-8")
    ...     len(read_taxonomy_table(path, child="child", parent="parent"))
    3
    """
    path = Path(path)
    if header is None:
        header = any(isinstance(one, str) for one in (child, parent, *label_columns, alternative))
    if not split:
        raise InvalidInputError("split must be a text that separates further labels, got an empty one")
    rows = read_rows(path, (child, parent), separator=separator, header=header)
    links, alone = [], []
    for line, (one, above) in rows:
        if not one.strip():
            raise InvalidInputError(f"{path}, line {line}: got no child, expected an identifier")
        if above.strip():
            links.append((one.strip(), above.strip()))
        else:
            alone.append(one.strip())
    given: dict[str, Any] = {"name": path.name.split(".")[0]}
    if labels is not None:
        given |= _read_labels(Path(labels), label_columns, alternative, separator, header, split)
        unknown = sorted(set(alone) - set(given["concepts"]))
        if unknown and options.get("unknown", "error") == "error":
            raise InvalidInputError(
                f"{path}: {len(unknown)} concepts without a parent have no label in {labels}, the first is "
                f"{unknown[0]!r}. Add them there, or take unknown='add' or 'drop'."
            )
        if options.get("unknown") == "add":
            given["concepts"] += unknown
    elif alone:
        given["concepts"] = sorted({*alone, *(one for link in links for one in link)})
    return Taxonomy.from_pairs(links, **{**given, **options})


def _read_labels(
    path: Path,
    columns: Sequence[str | int],
    alternative: str | int | None,
    separator: str | None,
    header: bool,
    split: str,
) -> dict[str, Any]:
    wanted = [*columns] if alternative is None else [*columns, alternative]
    labels: dict[str, str] = {}
    further: dict[str, tuple[str, ...]] = {}
    for line, values in read_rows(path, wanted, separator=separator, header=header):
        one, label = values[0].strip(), " ".join(values[1].split())
        if not one:
            raise InvalidInputError(f"{path}, line {line}: got no identifier")
        if one in labels:
            raise InvalidInputError(
                f"{path}, line {line}: the identifier {one!r} is there a second time, with the label {label!r} after "
                f"{labels[one]!r}; identifiers must be distinct"
            )
        labels[one] = label
        if alternative is not None:
            further[one] = tuple(part.strip() for part in values[2].replace("\n", split).split(split) if part.strip())
    return {"concepts": list(labels), "labels": labels, "alternatives": further}
