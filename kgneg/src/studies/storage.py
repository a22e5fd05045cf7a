"""Where a study is kept, from one string."""

from __future__ import annotations

import logging
import time
import warnings
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgneg.core.errors import InvalidInputError, KgnegError, MissingExtraError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["StorageAddress", "StorageUnreachableError", "storage_from"]

_JOURNAL, _SQLITE = (".log", ".journal"), (".db", ".sqlite", ".sqlite3")
_POSTGRES = ("postgresql", "postgres")
_TRIES, _PAUSE = 5, 0.3  # several programs may make the tables of a data base at the same time
_CONNECT_SECONDS = 15
_HINT = (
    "give a file that ends in .log (a journal) or .db (SQLite), or an address such as sqlite:///study.db, "
    "postgresql://user@host/database or grpc://host:13000"
)


class StorageUnreachableError(KgnegError, OSError):
    """The storage of a study cannot be opened; the message has the address, without password, and the reason."""


@dataclass(frozen=True)
class StorageAddress:
    """The address of a storage.

    :param kind: ``"journal"``, ``"sqlite"``, ``"postgresql"`` or ``"grpc"``
    :param location: an absolute path, a URL as SQLAlchemy has it, or ``host:port``
    """

    kind: str
    location: str

    @classmethod
    def parse(cls, text: str) -> StorageAddress:
        """Read an address.

        :param text: a path that ends in ``.log`` or ``.journal`` (a journal), ``.db``, ``.sqlite`` or ``.sqlite3``; or
            ``sqlite:///...``, ``postgresql://...`` or ``grpc://host:port``
        :returns: the address; paths are absolute
        :raises InvalidInputError: if it is none of these

        >>> StorageAddress.parse("grpc://localhost:13000")
        StorageAddress('grpc://localhost:13000')
        """
        scheme, separator, rest = text.strip().partition("://")
        if not separator:
            return cls._of_path(text.strip())
        base = scheme.lower().partition("+")[0]
        if base == "grpc":
            host, colon, port = rest.rstrip("/").rpartition(":")
            if not (host and colon and port.isdecimal()):
                raise InvalidInputError(f"storage {text!r}: expected grpc://host:port")
            return cls("grpc", f"{host}:{port}")
        if base == "sqlite":
            path = rest.removeprefix("/")
            if not path or path.startswith(":memory:"):
                raise InvalidInputError("a study in memory cannot be resumed; give a file: sqlite:///study.db")
            return cls("sqlite", f"sqlite:///{Path(path).absolute()}")
        if base in _POSTGRES:
            driver = scheme.partition("+")[2] or "psycopg"
            return cls("postgresql", f"postgresql+{driver}://{rest}")
        raise InvalidInputError(f"storage of an unknown kind {scheme!r}: {_HINT}")

    @classmethod
    def _of_path(cls, text: str) -> StorageAddress:
        path = Path(text)
        if path.suffix.lower() in _JOURNAL:
            # an absolute path also spares Optuna's own lock from looking for its target in the wrong folder
            return cls("journal", str(path.absolute()))
        if path.suffix.lower() in _SQLITE:
            return cls("sqlite", f"sqlite:///{path.absolute()}")
        raise InvalidInputError(f"storage {text!r}: {_HINT}")

    @property
    def path(self) -> Path | None:
        """The file of a journal or an SQLite data base."""
        if self.kind == "journal":
            return Path(self.location)
        return Path(self.location.removeprefix("sqlite:///")) if self.kind == "sqlite" else None

    def __str__(self) -> str:
        """Return the address without a password."""
        if self.kind == "journal":
            return self.location
        if self.kind == "grpc":
            return f"grpc://{self.location}"
        from sqlalchemy.engine import make_url

        url = make_url(self.location)
        hidden = {name: "***" if "pass" in name.lower() else value for name, value in url.query.items()}
        return url.set(drivername=self.kind, query=hidden).render_as_string(hide_password=True)

    def __repr__(self) -> str:
        return f"StorageAddress({str(self)!r})"

    def open(self) -> BaseStorage:
        """Open the storage; a file that is not there is made.

        :returns: the storage, for Optuna
        :raises MissingExtraError: if the driver is not installed
        :raises StorageUnreachableError: if the storage cannot be opened
        """
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageUnreachableError(f"cannot open {self}: {error}") from error
        return {"journal": _journal, "grpc": _grpc}.get(self.kind, _database)(self)


def storage_from(text: str) -> BaseStorage:
    """Open the storage that a text stands for, see :meth:`StorageAddress.parse`.

    :param text: a path or an address
    :returns: the storage, for Optuna
    :raises InvalidInputError: if the text is no such thing
    :raises MissingExtraError: if the driver is not installed
    :raises StorageUnreachableError: if the storage cannot be opened

    >>> storage_from("study.txt")
    Traceback (most recent call last):
    ...
    kgneg.core.errors.InvalidInputError: storage 'study.txt': give a file that ends in .log (a journal) or .db ...
    """
    return StorageAddress.parse(text).open()


def _journal(address: StorageAddress) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from kgneg.studies.journal import journal_lock

    try:
        with Path(address.location).open("a+b") as file:  # made, if it is not there
            file.seek(0)
            if file.read(1) not in (b"", b"{"):  # Optuna does not mind one wrong line, and would write after it
                raise ValueError("it does not begin with a brace")
        return JournalStorage(JournalFileBackend(address.location, lock_obj=journal_lock(address.location)))
    except OSError as error:
        raise StorageUnreachableError(f"cannot open {address}: {error}") from error
    except (ValueError, KeyError, AttributeError) as error:  # another file of that name
        raise StorageUnreachableError(f"{address} is no journal of a study ({error})") from error


def _database(address: StorageAddress) -> BaseStorage:
    from optuna.storages import RDBStorage, get_storage
    from sqlalchemy.exc import SQLAlchemyError

    if address.kind == "sqlite":
        options: dict[str, Any] = {"connect_args": {"timeout": 60}}
    else:
        options = {"pool_pre_ping": True, "connect_args": {"connect_timeout": _CONNECT_SECONDS}}
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for remaining in reversed(range(_TRIES)):
        try:
            backend = RDBStorage(address.location, engine_kwargs=options)
            storage = get_storage(backend)
            weakref.finalize(storage, backend.engine.dispose)  # a server has few connections, and Optuna keeps them
            return storage
        except ImportError as error:
            raise MissingExtraError(
                f"the driver for {address} is not installed: pip install 'kgneg[postgres]'"
            ) from error
        except SQLAlchemyError as error:
            if not remaining:
                reason = " ".join(str(getattr(error, "orig", None) or error).split())
                raise StorageUnreachableError(f"cannot open {address}: {reason}") from error
            time.sleep(_PAUSE)
    raise AssertionError("the last try returns or raises")


def _grpc(address: StorageAddress) -> BaseStorage:
    try:
        import grpc  # type: ignore[import-untyped,unused-ignore]
        from google import protobuf  # type: ignore[import-untyped,unused-ignore]  # noqa: F401
        from optuna.storages import GrpcStorageProxy
    except ImportError as error:
        raise MissingExtraError("gRPC is not installed: pip install 'kgneg[grpc]'") from error
    host, _, port = address.location.rpartition(":")
    with grpc.insecure_channel(address.location) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_CONNECT_SECONDS)
        except grpc.FutureTimeoutError as error:
            raise StorageUnreachableError(
                f"cannot open {address}: no answer within {_CONNECT_SECONDS} seconds. Start the proxy with "
                "optuna.storages.run_grpc_proxy_server."
            ) from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="optuna")
        warnings.filterwarnings("ignore", message=".*experimental.*")
        return GrpcStorageProxy(host=host, port=int(port))
