"""Folders that commands write into: one command at a time, and nothing of another model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kgneg.core.errors import InvalidInputError

__all__ = ["hold_folder"]

_LOCK = ".lock"


@contextmanager
def hold_folder(folder: str | Path) -> Iterator[Path]:
    """Keep other commands out of a folder while something is written into it.

    The lock is one of the operating system, so it ends with the process, however that ends. Of several processes under
    ``torchrun`` the first one has it for all.

    :param folder: the folder; it is created
    :returns: a context with the folder
    :raises InvalidInputError: if it is a file, or another command is writing into it

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name, hold_folder(f"{name}/out") as folder:
    ...     folder.name
    'out'
    """
    from filelock import FileLock, Timeout

    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InvalidInputError(f"{folder} is a file, expected a folder") from error
    if os.environ.get("RANK", "0") != "0":
        yield folder
        return
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InvalidInputError(
            f"another command is writing into {folder}: wait until it has ended, or give another folder"
        ) from error
    try:
        yield folder
    finally:
        lock.release()
