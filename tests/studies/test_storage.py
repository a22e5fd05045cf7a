from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.studies import StorageAddress, StorageUnreachableError, StudySettings, run_study, storage_from


@pytest.mark.parametrize(
    ("text", "kind", "location"),
    [
        ("study.log", "journal", "{here}/study.log"),
        ("a/study.JOURNAL", "journal", "{here}/a/study.JOURNAL"),
        ("study.db", "sqlite", "sqlite:///{here}/study.db"),
        ("sqlite:///study.sqlite3", "sqlite", "sqlite:///{here}/study.sqlite3"),
        ("sqlite:////data/study.db", "sqlite", "sqlite:////data/study.db"),
        ("postgresql://a@b/c", "postgresql", "postgresql+psycopg://a@b/c"),
        ("postgres://a@b/c", "postgresql", "postgresql+psycopg://a@b/c"),
        ("postgresql+psycopg2://a@b/c", "postgresql", "postgresql+psycopg2://a@b/c"),
        (" grpc://host:13000/ ", "grpc", "host:13000"),
    ],
)
def test_addresses(text: str, kind: str, location: str) -> None:
    found = StorageAddress.parse(text)
    assert (found.kind, found.location) == (kind, location.format(here=Path.cwd()))


@pytest.mark.parametrize(
    "text", ["study.txt", "study", "", "grpc://host", "sqlite://", "sqlite:///:memory:", "mysql://a/b"]
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"\.log|\.db|host:port"):
        StorageAddress.parse(text)


def test_passwords_are_not_shown() -> None:
    address = StorageAddress.parse("postgresql://me:secret@host/base?sslpassword=secret")
    assert "secret" in address.location
    assert "secret" not in f"{address} {address!r}"
    assert str(address).startswith("postgresql://me:***@host/base")


def test_unreachable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(StorageUnreachableError, match="cannot open"):
        storage_from(str(tmp_path / "file" / "study.log"))
    (tmp_path / "notes.log").write_text("this is a diary\n", encoding="utf-8")
    with pytest.raises(StorageUnreachableError, match="is no journal of a study"):
        storage_from(str(tmp_path / "notes.log"))
    assert (tmp_path / "notes.log").read_text(encoding="utf-8") == "this is a diary\n"
    (tmp_path / "notes.db").write_text("this is a diary\n" * 100, encoding="utf-8")
    with pytest.raises(StorageUnreachableError, match="not a database"):
        storage_from(str(tmp_path / "notes.db"))


def test_no_server(free_port: int) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StorageUnreachableError, match="cannot open postgresql://me:\\*\\*\\*@127") as caught:
        storage_from(f"postgresql://me:secret@127.0.0.1:{free_port}/base")
    assert "secret" not in str(caught.value)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_sqlite_for_one_worker(tmp_path: Path) -> None:
    settings = StudySettings(dataset="nations", samplers=("basic",), trials=1, epochs=1)
    storage = str(tmp_path / "study.db")
    with pytest.raises(InvalidInputError, match="begin with one worker"):
        run_study(settings, storage, workers=2, progress=False)
    assert run_study(settings, storage, progress=False).states() == {"complete": 1}


@pytest.mark.slow
def test_grpc(tmp_path: Path, free_port: int) -> None:
    pytest.importorskip("grpc")
    pytest.importorskip("google.protobuf")
    program = (
        "import sys, optuna\n"
        "optuna.storages.run_grpc_proxy_server(\n"
        "    optuna.storages.RDBStorage(sys.argv[1]), host='127.0.0.1', port=int(sys.argv[2]))\n"
    )
    base = f"sqlite:///{tmp_path}/behind.db"
    command = [sys.executable, "-P", "-W", "ignore", "-c", program, base, str(free_port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            settings = StudySettings(dataset="nations", samplers=("basic",), trials=2, epochs=1)
            result = run_study(settings, f"grpc://127.0.0.1:{free_port}", progress=False)
            assert result.states() == {"complete": 2}
            assert run_study(settings, f"grpc://127.0.0.1:{free_port}", progress=False).trials == result.trials
        finally:
            server.terminate()


@pytest.mark.slow
def test_no_proxy(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("grpc")
    monkeypatch.setattr("kgneg.studies.storage._CONNECT_SECONDS", 0.5)
    begin = time.monotonic()
    with pytest.raises(StorageUnreachableError, match="run_grpc_proxy_server"):
        storage_from(f"grpc://127.0.0.1:{free_port}")
    assert time.monotonic() - begin < 10


@pytest.mark.skipif(os.name == "nt", reason="another lock there")
def test_half_a_line_of_a_killed_process(tmp_path: Path) -> None:
    import optuna

    path = tmp_path / "study.log"
    study = optuna.create_study(storage=storage_from(str(path)), study_name="one")
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"op_code": 4, "worker_')
    again = optuna.load_study(storage=storage_from(str(path)), study_name="one")
    again.enqueue_trial({})
    study.enqueue_trial({})
    assert path.read_bytes().startswith(whole)
    assert b"worker_{" not in path.read_bytes()
    third = optuna.load_study(storage=storage_from(str(path)), study_name="one")
    assert [trial.number for trial in third.trials] == [0, 1]
