from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the samplers cache out of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KGNEG_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A folder with a graph that has texts for most entities."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    animals = [f"animal_{number}" for number in range(12)]
    rows = [f"{animals[i]}\teats\t{animals[(i * 5 + 3) % 12]}" for i in range(12)]
    rows += [f"{animals[i]}\tfears\t{animals[(i * 7 + 1) % 12]}" for i in range(12)]
    (folder / "train.tsv").write_text("\n".join(rows[:20]) + "\n", encoding="utf-8")
    (folder / "valid.tsv").write_text("\n".join(rows[20:22]) + "\n", encoding="utf-8")
    (folder / "test.tsv").write_text("\n".join(rows[22:]) + "\n", encoding="utf-8")
    texts = [f"{animal}\tthe animal number {number}" for number, animal in enumerate(animals)]
    (folder / "entities.tsv").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a PostgreSQL server that is started for the tests."""
    pytest.importorskip("psycopg")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not found:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    root = os.geteuid() == 0
    if root and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no runuser")
    folder = Path(tempfile.mkdtemp(prefix="kgneg-postgresql-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(program: str, *arguments: str) -> None:
        command = [str(found[-1].with_name(program)), "-D", str(folder / "data"), *arguments]
        command = ["runuser", "-u", "postgres", "--", *command] if root else command
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder)

    try:
        if root:
            shutil.chown(folder, "postgres", "postgres")
        call("initdb", "-U", "kgneg", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        call("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://kgneg@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
