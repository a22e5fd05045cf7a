"""Taxonomies that were read before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from kgneg.core.cache import ArtefactCache, content_key
from kgneg.core.errors import InvalidInputError
from kgneg.datasets._taxonomy_tensors import from_tensors, to_tensors
from kgneg.datasets.taxonomy import Taxonomy

__all__ = ["cached"]

_KIND, _VERSION = "taxonomy", 2


def cached(paths: Sequence[Path], options: Mapping[str, Any], build: Callable[[], Taxonomy]) -> Taxonomy:
    """Return what files and options gave before, or read them and keep it.

    :param paths: the files
    :param options: everything else that the result depends on
    :param build: reads the files
    :returns: the taxonomy
    """
    digests = [_digest(path) for path in paths]
    try:
        key = content_key([_VERSION, digests, [path.name for path in paths], _plain(options)])
    except TypeError:  # an option that JSON cannot spell
        return build()
    cache = ArtefactCache()
    tensors: dict[str, torch.Tensor] = cache.get(_KIND, key, lambda: to_tensors(build()))
    return Taxonomy(**from_tensors(tensors))


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror or error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
