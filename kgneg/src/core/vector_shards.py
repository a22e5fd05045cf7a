"""Vectors of corpora that do not fit into memory: encode texts, draw a sample, and find nearest centres, by shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kgneg.core.cache import MemoryCache, content_key
from kgneg.core.cluster import nearest_centroids
from kgneg.core.encode import Encoder, SentenceEncoder, encode_texts, resolve_encoder
from kgneg.core.errors import InvalidInputError
from kgneg.core.knn import validate_vectors
from kgneg.core.shard_files import find_shards
from kgneg.core.shards import ShardRun, map_shards
from kgneg.core.typing import FloatTensor
from kgneg.core.validation import validate_count

__all__ = ["assign_shards", "encode_shards", "read_vectors"]

_resident = MemoryCache(1)  # the encoder of a worker process, so that a model is loaded once and not once per shard


def _column(table: Any, name: str) -> Any:
    """Return a column without gaps, as one array."""
    if name not in table.column_names:
        raise InvalidInputError(f"there is no column {name!r}, only {', '.join(table.column_names) or 'none'}")
    column = table.column(name)
    if column.null_count:
        row = column.is_null().index(True).as_py()
        raise InvalidInputError(f"column {name!r} has {column.null_count} gaps, the first in row {row}: fill them")
    return column.combine_chunks()


def _vectors(table: Any, name: str) -> FloatTensor:
    """Return a column of lists of equal length as a matrix, shape ``(n, d)``."""
    import pyarrow as pa  # type: ignore[import-untyped]

    column = _column(table, name)
    if not pa.types.is_fixed_size_list(column.type):
        raise InvalidInputError(f"column {name!r} must hold lists of one fixed size, got {column.type}")
    matrix = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
    return validate_vectors(torch.from_numpy(np.array(matrix, dtype=np.float32)))


def _without(table: Any, *names: str) -> Any:
    """Return the table without columns, which need not exist."""
    return table.drop_columns([name for name in names if name in table.column_names])


class _Plain:
    """An encoder whose vectors are kept in the output shards only, and not in the cache of texts."""

    def __init__(self, encoder: Encoder) -> None:
        self.encode = encoder.encode


class _Encode:
    """Replaces a column of texts by a column of vectors."""

    def __init__(self, encoder: Encoder, column: str, target: str) -> None:
        self.encoder, self.column, self.target = encoder, column, target
        self.name = str(getattr(encoder, "fingerprint", ""))
        self.fingerprint = content_key("encode", self.name, column, target)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.encoder = _resident.get(self.name, lambda: state["encoder"])

    def __call__(self, table: Any) -> Any:
        import pyarrow as pa

        texts = _column(table, self.column).to_pylist()
        # an empty shard still says how long the vectors are
        vectors = encode_texts(texts or [""], _Plain(self.encoder), progress=False)[: len(texts)]
        flat = pa.array(vectors.contiguous().view(-1).numpy(), type=pa.float32())
        lists = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        return _without(table, self.column, self.target).append_column(self.target, lists)


def encode_shards(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    encoder: str | Encoder = "auto",
    *,
    column: str = "text",
    target: str = "vector",
    **options: Any,
) -> ShardRun:
    """Encode a column of texts of Parquet files; the vectors take its place, all other columns stay.

    Row ``i`` of an output is row ``i`` of its input. Within a shard each distinct text is encoded once. Each worker
    loads a model once.

    :param inputs: see :func:`~kgneg.core.shards.map_shards`
    :param output: the folder of the output shards
    :param encoder: see :func:`~kgneg.core.encode.resolve_encoder`; it needs an attribute ``fingerprint``, which says
        whether finished shards are of the same encoder
    :param column: the name of the column of texts
    :param target: the name of the column of vectors
    :param options: further arguments of :func:`~kgneg.core.shards.map_shards`
    :returns: what was done
    :raises InvalidInputError: if the encoder has no fingerprint
    """
    ready = resolve_encoder(encoder)
    if not isinstance(getattr(ready, "fingerprint", None), str):
        raise InvalidInputError(
            f"{type(ready).__name__} has no string attribute fingerprint, which tells finished shards from outdated "
            "ones: set one, or give the name of a sentence-transformers model"
        )
    if isinstance(ready, SentenceEncoder):  # a copy that is not loaded, so that no model travels to the workers
        ready = SentenceEncoder(ready.name, device=ready.device, batch_size=ready.batch_size)
    return map_shards(_Encode(ready, column, target), inputs, output, **options)


class _Assign:
    """Adds the nearest centre of each vector, and the distance to it."""

    def __init__(self, centres: FloatTensor, column: str) -> None:
        self.centres = centres.numpy()  # an array, which joblib shares among workers
        self.column = column
        self.fingerprint = content_key("assign", column, centres)

    def __call__(self, table: Any) -> Any:
        import pyarrow as pa

        vectors, centres = _vectors(table, self.column), torch.from_numpy(np.array(self.centres))
        if vectors.shape[1] != centres.shape[1]:
            raise InvalidInputError(f"vectors have {vectors.shape[1]} dimensions, the centres {centres.shape[1]}")
        labels, squares = nearest_centroids(vectors, centres)
        table = _without(table, self.column, "cluster", "distance")
        table = table.append_column("cluster", pa.array(labels.int().numpy(), type=pa.int32()))
        return table.append_column("distance", pa.array(squares.sqrt().numpy(), type=pa.float32()))


def assign_shards(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    centres: FloatTensor,
    *,
    column: str = "vector",
    **options: Any,
) -> ShardRun:
    """Find the nearest of given centres for each vector of Parquet files.

    The columns ``cluster`` (int32, the row of the centre) and ``distance`` (float32, Euclidean) take the place of the
    vectors, all other columns stay. Centres come from :func:`~kgneg.core.cluster.kmeans` on a sample of
    :func:`read_vectors`.

    :param inputs: files with vectors, as :func:`encode_shards` writes them
    :param output: the folder of the output shards
    :param centres: shape: ``(k, d)``
    :param column: the name of the column of vectors
    :param options: further arguments of :func:`~kgneg.core.shards.map_shards`
    :returns: what was done
    :raises InvalidInputError: if there are no centres, or they are malformed
    """
    centres = validate_vectors(centres).detach().cpu().contiguous()
    if not len(centres):
        raise InvalidInputError("there are no centres")
    return map_shards(_Assign(centres, column), inputs, output, **options)


def read_vectors(
    inputs: str | Path | Sequence[str | Path], *, column: str = "vector", sample: int | None = None, seed: int = 0
) -> FloatTensor:
    """Read vectors of Parquet files, all or a uniform sample of rows; one file is in memory at a time.

    :param inputs: files with vectors, as :func:`encode_shards` writes them
    :param column: the name of the column
    :param sample: how many rows to draw, without repetition; ``None``, or more than there are, takes all
    :param seed: the seed of the draw
    :returns: shape: ``(n, d)``, float32, in the order of files and rows
    :raises InvalidInputError: if files have vectors of different length, or none at all
    """
    from pyarrow import parquet

    paths = find_shards(inputs)
    sizes = [parquet.read_metadata(path).num_rows for path in paths]
    total = sum(sizes)
    chosen = np.arange(total)
    if sample is not None and validate_count("sample", sample) < total:
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(total, generator=generator)[:sample].sort().values.numpy()
    parts, begin = [], 0
    for path, size in zip(paths, sizes, strict=True):
        rows = chosen[np.searchsorted(chosen, begin) : np.searchsorted(chosen, begin + size)] - begin
        begin += size
        if len(rows):
            parts.append(_vectors(parquet.read_table(path, columns=[column]).take(rows), column))
    widths = sorted({part.shape[1] for part in parts})
    if len(widths) != 1:
        raise InvalidInputError(f"the vectors must have one length, got {widths or 'no vectors'}")
    return torch.cat(parts)
