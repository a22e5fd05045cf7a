"""Interactions on disk: everything as safetensors, or the pairs as Parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path, read_tensors, write_tensors
from kgneg.recsys._assemble import Columns, assemble
from kgneg.recsys.interaction_report import InteractionReport
from kgneg.recsys.interactions import Interactions

__all__ = ["from_tensors", "load_interactions", "save_interactions", "to_tensors"]

_VERSION = 1
_COLUMNS = ("users", "items", "times", "ratings", "multiplicity")
_PARQUET = (".parquet", ".pq")


def save_interactions(pairs: Interactions, path: str | Path) -> None:
    """Write interactions, see :meth:`~kgneg.recsys.interactions.Interactions.save`.

    :param pairs: the interactions
    :param path: the file, ``.safetensors`` or ``.parquet``
    :raises InvalidInputError: if the name ends in something else
    """
    path = Path(path)
    if path.suffix.lower() in _PARQUET:
        _save_parquet(pairs, path)
    elif path.suffix.lower() == ".safetensors":
        write_tensors(path, to_tensors(pairs), {"format": "kgneg interactions"})
    else:
        raise InvalidInputError(f"interactions are saved as .safetensors or .parquet, got {str(path)!r}")


def load_interactions(path: str | Path) -> Interactions:
    """Read what :func:`save_interactions` wrote.

    :param path: the file
    :returns: the interactions
    :raises InvalidInputError: if the file is missing, truncated or something else

    >>> import tempfile
    >>> pairs = Interactions(torch.tensor([0]), torch.tensor([1]), num_users=1, num_items=2, user_labels=["ann"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pairs.save(f"{folder}/pairs.safetensors")
    ...     Interactions.load(f"{folder}/pairs.safetensors").user_labels
    ('ann',)
    """
    path = Path(path)
    if path.suffix.lower() in _PARQUET:
        return _load_parquet(path)
    tensors, _ = read_tensors(path)
    try:
        return from_tensors(tensors)
    except (InvalidInputError, KeyError) as error:
        raise InvalidInputError(f"{path} has no interactions of this version of kgneg: {error}") from error


def to_tensors(pairs: Interactions) -> dict[str, torch.Tensor]:
    """Return everything as named tensors; texts as their UTF-8 bytes.

    :param pairs: the interactions
    :returns: the tensors, for :func:`from_tensors`
    """
    sizes = {"num_users": pairs.num_users, "num_items": pairs.num_items}
    about = json.dumps({"version": _VERSION, **sizes, "report": asdict(pairs.report)})
    tensors = {"about": _from_bytes(about.encode())}
    tensors |= {name: getattr(pairs, name) for name in _COLUMNS if getattr(pairs, name) is not None}
    for name in ("user_labels", "item_labels"):
        if getattr(pairs, name) is not None:
            tensors |= _pack(name, getattr(pairs, name))
    return tensors


def from_tensors(tensors: Mapping[str, torch.Tensor]) -> Interactions:
    """Return the interactions of some tensors.

    :param tensors: from :func:`to_tensors`
    :returns: the interactions
    :raises InvalidInputError: if they are of another version or damaged
    """
    if "about" not in tensors:
        raise InvalidInputError(f"got the tensors {', '.join(sorted(tensors)) or 'none'}, without 'about'")
    about = json.loads(tensors["about"].numpy().tobytes())
    if about["version"] != _VERSION:
        raise InvalidInputError(f"got version {about['version']}, expected {_VERSION}; write it again")
    known = {one.name for one in fields(InteractionReport)}
    return Interactions(
        tensors["users"],
        tensors["items"],
        num_users=about["num_users"],
        num_items=about["num_items"],
        times=tensors.get("times"),
        ratings=tensors.get("ratings"),
        multiplicity=tensors.get("multiplicity"),
        user_labels=_unpack("user_labels", tensors),
        item_labels=_unpack("item_labels", tensors),
        report=InteractionReport(**{name: count for name, count in about["report"].items() if name in known}),
    )


def _from_bytes(data: bytes) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())


def _pack(name: str, labels: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return labels as one tensor of bytes and one of the places where each begins and the last ends."""
    import pyarrow as pa  # type: ignore[import-untyped]

    try:
        array = pa.array(labels, pa.large_string())
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"{name} cannot be saved as UTF-8: {error}; give other labels") from error
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64, count=len(labels) + 1) if len(labels) else np.zeros(1, np.int64)
    size = int(ends[-1])
    return {
        f"{name}_ends": torch.from_numpy(ends.copy()),
        f"{name}_text": _from_bytes(data.to_pybytes()[:size] if size else b""),
    }


def _unpack(name: str, tensors: Mapping[str, torch.Tensor]) -> list[str] | None:
    import pyarrow as pa

    if f"{name}_ends" not in tensors:
        return None
    ends, text = tensors[f"{name}_ends"].numpy(), tensors[f"{name}_text"].numpy()
    array = pa.LargeStringArray.from_buffers(len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(text))
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        raise InvalidInputError(f"{name} are damaged: {error}") from error
    labels: list[str] = array.to_pylist()
    return labels


def _save_parquet(pairs: Interactions, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns: dict[str, Any] = {
        "user": _named(pairs.users, pairs.user_labels),
        "item": _named(pairs.items, pairs.item_labels),
    }
    for name, column in (("rating", pairs.ratings), ("time", pairs.times), ("count", pairs.multiplicity)):
        if column is not None:
            columns[name] = pa.array(column.numpy())
    with atomic_path(path) as temporary:
        parquet.write_table(pa.table(columns), temporary)


def _named(ids: torch.Tensor, labels: tuple[str, ...] | None) -> Any:
    import pyarrow as pa

    if labels is None:
        return pa.array(ids.numpy())
    return pa.DictionaryArray.from_arrays(pa.array(ids.numpy().astype(np.int32)), pa.array(labels, pa.string())).cast(
        pa.string()
    )


def _load_parquet(path: Path) -> Interactions:
    """Read the columns that :func:`save_interactions` writes."""
    import pyarrow as pa
    from pyarrow import parquet

    if not path.is_file():
        raise InvalidInputError(f"there is no file {path}")
    try:
        table = parquet.read_table(path, use_threads=False)
    except (ValueError, OSError) as error:  # pyarrow's errors are one or the other
        raise InvalidInputError(f"{path} is no complete Parquet file ({error}). Write it again.") from error
    there = {name: table.column(name) for name in table.column_names}
    if not {"user", "item"} <= set(there):
        raise InvalidInputError(f"{path} has the columns {', '.join(there)}, not user and item; see Interactions.read")
    names = {name: name for name in there}
    counts = None
    if "count" in there:
        if there["count"].null_count or not pa.types.is_integer(there["count"].type):
            raise InvalidInputError(f"{path}: the column 'count' must have integers, got {there['count'].type}")
        counts = np.asarray(there["count"]).astype(np.int64)
    names = {name: name for name in there}
    columns = Columns(str(path), there["user"], there["item"], there.get("rating"), there.get("time"), names)
    return assemble(replace(columns, counts=counts))
