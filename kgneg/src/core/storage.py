"""Tensors on disk: written atomically, read with a check."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from kgneg.core.errors import InvalidInputError

__all__ = ["atomic_path", "read_tensors", "write_tensors", "writing"]


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends without an error.

    :param path: the file to write; its folder is created
    :yields: the path to write to
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn what the system says when it cannot write into an error that names the file and the remedy.

    :param path: what is written in the block
    :yields: nothing
    :raises InvalidInputError: instead of an :class:`OSError`, of a full disk for example
    """
    try:
        yield
    except OSError as error:
        raise InvalidInputError(
            f"cannot write {path} ({error.strerror or error}). Make room, or give a folder that can be written, and "
            "repeat the call."
        ) from error


def write_tensors(path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors to a safetensors file, atomically.

    :param path: the file to write
    :param tensors: the tensors, any device
    :param metadata: strings to keep beside them
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        try:
            save_file(ready, temporary, metadata=dict(metadata))
        except SafetensorError as error:  # the disk is full, for example
            raise OSError(f"cannot write {path}: {error}") from error


def read_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a safetensors file.

    :param path: the file
    :returns: the tensors and the metadata
    :raises InvalidInputError: if the file is missing or is no complete safetensors file
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise InvalidInputError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as handle:
            return {name: handle.get_tensor(name) for name in handle.keys()}, dict(handle.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InvalidInputError(
            f"{path} is no complete safetensors file ({error}). Delete or write it again."
        ) from error
