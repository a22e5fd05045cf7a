"""Keep the report of a noise filter in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.samplers.noise.posterior import ExpectedCount, Labelling
from kgneg.samplers.noise.report import ACTIONS, NoiseReport, Policy

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

__all__ = ["REPORT_FILE", "SUMMARY_FILE", "read_report", "write_report"]

#: The file with a line per row and, in its metadata, everything else; it is all that is read.
REPORT_FILE = "report.parquet"
#: The numbers of the report, for people and programs.
SUMMARY_FILE = "summary.json"

_KEY = b"kgneg.noise"
_VERSION = 1
_PLAIN = (str, int, float, bool, type(None))
_STRUCTURES: dict[str, Any] = {"expected_fn": ExpectedCount, "labelling": Labelling, "policy": Policy}


def write_report(report: NoiseReport, folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Write a report so that :func:`read_report` returns it whole.

    ``report.parquet`` has a line per row: its id, the names of label, action and suggestion, and all columns of
    :class:`NoiseReport` under their own names, the nearest positives among them. ``summary.json`` has
    :meth:`NoiseReport.summary`, the same bytes for the same report. Both files replace older ones when they are
    complete.

    :param report: the report
    :param folder: the folder; it is created
    :returns: the paths by file name
    :raises InvalidInputError: if a label or an id is neither a text nor a number, a truth value or ``None``

    >>> import tempfile
    >>> from kgneg.samplers.noise.filter import NoiseFilter
    >>> vectors = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
    >>> report = NoiseFilter("none", k=5).fit(vectors, ["some", "none", "none"] * 30)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_report(report, folder)
    ...     read_report(folder).summary() == report.summary()
    True
    """
    import pyarrow as pa
    from pyarrow import parquet

    columns, state = _columns(report)
    folder = Path(folder)
    paths = {name: folder / name for name in (REPORT_FILE, SUMMARY_FILE)}
    table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(state, sort_keys=True)})
    with atomic_path(paths[REPORT_FILE]) as temporary:
        parquet.write_table(table, temporary)
    text = json.dumps(report.summary(), sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with atomic_path(paths[SUMMARY_FILE]) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return paths


def read_report(folder: str | os.PathLike[str]) -> NoiseReport:
    """Read what :func:`write_report` has written.

    :param folder: the folder
    :returns: the report
    :raises InvalidInputError: if the file is missing, truncated, or not of a report
    """
    from pyarrow import parquet

    path = Path(folder, REPORT_FILE)
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file; is {folder} the folder of a noise report?")
    try:
        table = parquet.read_table(path)
    except (ValueError, OSError) as error:  # pyarrow's errors are one or the other
        raise InvalidInputError(f"{path}: cannot be read as Parquet ({error}); was the file cut off?") from error
    state = _state(path, (table.schema.metadata or {}).get(_KEY))
    try:
        values: dict[str, Any] = {name: _tensor(table.column(name), *kind) for name, kind in state["tensors"].items()}
        values["ids"] = _names(table.column("id").to_pylist(), state["ids"])
        values["classes"] = tuple(state["classes"])
        values |= {name: kind(**state[name]) for name, kind in _STRUCTURES.items()}
        return NoiseReport(**values, **state["plain"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{path}: not the report of a noise filter of this version ({type(error).__name__}: {error}); fit again"
        ) from error


def _columns(report: NoiseReport) -> tuple[dict[str, pa.Array], dict[str, Any]]:
    """Return the columns of the table, and everything else as JSON has it."""
    import pyarrow as pa

    classes = [_plain("the label", name) for name in report.classes]
    names = np.array([*map(str, classes), None], dtype=object)
    spelling, ids = _spelled(report.ids)
    columns = {
        "id": ids,
        "label": pa.array(names[report.labels.numpy()], pa.string()),
        "action_name": pa.array(np.array(ACTIONS, dtype=object)[report.action.numpy()], pa.string()),
        "suggested": pa.array(names[report.suggestion.numpy()], pa.string()),
    }
    state: dict[str, Any] = {"version": _VERSION, "classes": classes, "ids": spelling, "tensors": {}, "plain": {}}
    for field in fields(report):
        value = getattr(report, field.name)
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().contiguous()
            flat = pa.array(value.reshape(-1).numpy())
            columns[field.name] = flat if value.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, value.shape[1])
            state["tensors"][field.name] = (str(value.dtype).removeprefix("torch."), list(value.shape[1:]))
        elif field.name in _STRUCTURES:
            state[field.name] = _named(value)
        elif field.name not in ("ids", "classes"):
            state["plain"][field.name] = _plain(field.name, value)
    return columns, state


def _named(value: Any) -> dict[str, Any]:
    return value._asdict() if isinstance(value, ExpectedCount) else asdict(value)


def _state(path: Path, text: bytes | None) -> dict[str, Any]:
    """Parse what is not in columns."""
    if text is None:
        raise InvalidInputError(f"{path}: a Parquet file, but not one of a noise report")
    state: dict[str, Any] = json.loads(text)
    if state.get("version") != _VERSION:
        raise InvalidInputError(
            f"{path}: a report of version {state.get('version')}, expected {_VERSION}; fit again with this version"
        )
    return state


def _tensor(column: pa.ChunkedArray, dtype: str, shape: Sequence[int]) -> torch.Tensor:
    """Make a tensor of a column of numbers, or of lists of one length."""
    array = column.combine_chunks()
    flat = array.flatten() if shape else array
    values = np.array(flat.to_numpy(zero_copy_only=False))
    return torch.from_numpy(values).to(getattr(torch, dtype)).reshape(len(column), *shape)


def _spelled(ids: Sequence[Hashable]) -> tuple[str, pa.Array]:
    """Return how ids are kept, and their column: as they are if all are of one kind, else each as JSON."""
    import pyarrow as pa

    plain = [_plain("the id", name) for name in ids]
    kinds = {type(name) for name in plain}
    if kinds == {str}:
        return "plain", pa.array(plain, pa.string())
    if kinds == {int} and all(abs(name) < 2**63 for name in plain):
        return "plain", pa.array(plain, pa.int64())
    return "json", pa.array([json.dumps(name) for name in plain], pa.string())


def _names(values: list[Any], spelling: str) -> tuple[Hashable, ...]:
    return tuple(values) if spelling == "plain" else tuple(json.loads(value) for value in values)


def _plain(what: str, value: Any) -> Any:
    """Return a value that JSON keeps as it is."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, _PLAIN):
        raise InvalidInputError(
            f"{what} {value!r} is of type {type(value).__name__}, which no file keeps; use texts or numbers"
        )
    return str(value) if isinstance(value, str) else value
