"""The lock of a journal file, which survives that its holder is killed."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

__all__ = ["JournalLock", "journal_lock"]

logger = logging.getLogger(__name__)

_BLOCK = 1 << 16


class JournalLock:
    """A lock of the kernel on the journal itself.

    The kernel takes it from a process that dies, so nobody ever waits for a dead one. Whoever gets it first removes
    half a line that a dead process may have left at the end; without this, the next line would be glued to it and the
    journal could not be read any more.

    :param path: the journal
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._handle: int | None = None

    def acquire(self) -> bool:
        """Wait for the lock, and mend the end of the journal.

        :returns: true
        """
        import fcntl

        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._mend(handle)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _mend(self, handle: int) -> None:
        """Cut off what follows the last line feed."""
        size = end = os.fstat(handle).st_size
        if not size or os.pread(handle, 1, size - 1) == b"\n":
            return
        while end:
            begin = max(0, end - _BLOCK)
            found = os.pread(handle, end - begin, begin).rfind(b"\n")
            if found >= 0:
                end = begin + found + 1
                break
            end = begin
        os.ftruncate(handle, end)
        logger.warning("%s ended in half a line of %d bytes, left by a killed process; removed", self.path, size - end)


def journal_lock(path: str | Path) -> Any:
    """Return the lock for a journal on this system.

    :param path: the journal
    :returns: a lock for Optuna's ``JournalFileBackend``
    """
    try:
        import fcntl  # noqa: F401
    except ImportError:  # Windows
        from optuna.storages.journal import JournalFileOpenLock

        return JournalFileOpenLock(str(path))
    return JournalLock(path)
