"""Checked replies of endpoints, on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["ReplyCache"]

logger = logging.getLogger(__name__)

_AT_ONCE, _PATIENCE = 500, 60.0
_TABLE = "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum TEXT NOT NULL)"


def _checksum(key: str, value: str) -> str:
    return hashlib.blake2b(f"{key}\n{value}".encode(), digest_size=16).hexdigest()


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Return whether an error is about what the file holds, rather than about reaching it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class ReplyCache:
    """Replies by the hash of everything that was asked; only what was read without a fault is ever put in.

    One SQLite file, which several threads and processes may use at once. Every entry has a checksum: one that does not
    match counts as missing. A file that is damaged is put aside with a warning, also when the damage shows only later,
    and a new one begins. When the file cannot be written, replies are simply not kept, with a warning.

    :param path: the file; its folder is created at first use

    >>> import tempfile
    >>> cache = ReplyCache(Path(tempfile.mkdtemp()) / "verdicts.sqlite")
    >>> cache.put("k", {"answer": "yes"}), cache.get(["k", "other"])
    (None, {'k': {'answer': 'yes'}})
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = self._file = 0
        self._unusable = False

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._forget()

    def get(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the replies that are there.

        :param keys: what was asked, as hashes
        :returns: key -> reply, for those that are there and whole
        """
        found: dict[str, Any] = {}
        with self._lock:
            for start in range(0, len(keys), _AT_ONCE):
                part = list(keys[start : start + _AT_ONCE])
                marks = ",".join("?" * len(part))
                query = f"SELECT key, value, checksum FROM replies WHERE key IN ({marks})"  # noqa: S608 - only marks
                for key, value, checksum in self._run(query, part):
                    if checksum == _checksum(key, value):
                        found[key] = json.loads(value)
                    else:
                        logger.warning("an entry of %s does not match its checksum and is asked for again", self.path)
        return found

    def put(self, key: str, reply: Any) -> None:
        """Keep a reply.

        :param key: what was asked, as a hash
        :param reply: anything that JSON can spell
        """
        value = json.dumps(reply, ensure_ascii=True, sort_keys=True, allow_nan=False)
        with self._lock:
            self._run("INSERT OR REPLACE INTO replies VALUES (?, ?, ?)", [key, value, _checksum(key, value)])

    def __len__(self) -> int:
        with self._lock:
            rows = self._run("SELECT COUNT(*) FROM replies", [])
            return int(rows[0][0]) if rows else 0

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def _run(self, query: str, values: Sequence[str]) -> list[tuple[Any, ...]]:
        """Run a statement; without a usable file there is nothing to read and nothing is kept."""
        if self._unusable:
            return []
        try:
            try:
                return self._execute(query, values)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._begin_anew(error)
                return self._execute(query, values)
        except (sqlite3.Error, OSError) as error:
            self._unusable = True
            logger.warning(
                "cannot use %s: %s. Replies are not kept. Name a file in a writable folder.", self.path, error
            )
            return []

    def _execute(self, query: str, values: Sequence[str]) -> list[tuple[Any, ...]]:
        connection = self._connected()
        with connection:
            return connection.execute(query, values).fetchall()

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        """Put a file aside that turned out to be damaged, unless another process has done so."""
        from filelock import FileLock

        self.close()
        with FileLock(f"{self.path}.lock", timeout=_PATIENCE):
            if self.path.exists() and self.path.stat().st_ino == self._file:
                self._put_aside(error)

    def _put_aside(self, error: sqlite3.DatabaseError) -> None:
        aside = f"{self.path.name}.damaged"
        logger.warning(
            "%s is damaged or no database (%s); it is now %s and a new one begins. What it held is asked for again, "
            "unless you put an undamaged copy in its place.",
            *(self.path, error, aside),
        )
        for ending in ("", "-wal", "-shm"):  # a log that stays would be played back into the new file
            part = self.path.with_name(self.path.name + ending)
            if part.exists():
                part.replace(self.path.with_name(aside + ending))

    def _connected(self) -> sqlite3.Connection:
        """Return a connection of this process; one that was made before a fork is left alone."""
        if self._connection is None or self._process != os.getpid():
            from filelock import FileLock

            self.path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite does not wait for others while a new file becomes one with a write-ahead log
            with FileLock(f"{self.path}.lock", timeout=_PATIENCE):
                self._connection = self._whole()
                self._file = self.path.stat().st_ino
            self._process = os.getpid()
        return self._connection

    def _whole(self) -> sqlite3.Connection:
        """Open the file; one that is no database is put aside."""
        try:
            return self._opened()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            self._put_aside(error)
            return self._opened()

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_PATIENCE, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            with connection:
                connection.execute(_TABLE)
        except sqlite3.Error:
            connection.close()
            raise
        return connection
