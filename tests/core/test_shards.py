from __future__ import annotations

import importlib.util
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.core.shard_files import MANIFEST, read_manifest
from kgneg.core.shards import ShardError, ShardInputError, map_shards

SIZES = [3, 1, 0, 5, 4, 2]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, size in enumerate(SIZES):
        write(folder / f"part-{number}.parquet", [10 * number + row for row in range(size)])
    return folder


def write(path: Path, values: list[int]) -> None:
    pq.write_table(pa.table({"x": pa.array(values, pa.int64())}), path, row_group_size=2)


def values(folder: Path) -> dict[str, list[int]]:
    shards = sorted(folder.glob("[!.]*.parquet"))  # what is being written, or was left by a kill, begins with a dot
    return {path.stem: pq.read_table(path)["x"].to_pylist() for path in shards}


def doubled(corpus: Path) -> dict[str, list[int]]:
    return {name: [2 * x for x in found] for name, found in values(corpus).items()}


def double(log: Path | None = None, fail: tuple[int, ...] = ()) -> Callable[[Any], Any]:
    """A function that notes each table it sees, and fails on tables that begin with certain numbers."""

    def function(table: Any) -> Any:
        import pyarrow as pa

        found = table["x"].to_pylist()
        if log is not None:
            with log.open("a") as handle:
                handle.write(f"{os.getpid()} {len(found)}\n")
        if found and found[0] in fail:
            raise RuntimeError(f"cannot stand {found[0]}")
        return pa.table({"x": pa.array([2 * x for x in found], pa.int64())})

    return function


def calls(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


# Computing and skipping


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_every_shard_once(n_jobs: int, corpus: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    run = map_shards(double(log), corpus, out, key="double", n_jobs=n_jobs)
    assert (run.computed, run.skipped) == (6, 0)
    assert [path.name for path in run.outputs] == [f"part-{number}.parquet" for number in range(6)]
    assert values(out) == doubled(corpus)
    assert calls(log) == 6
    again = map_shards(double(log), corpus, out, key="double")
    assert again == run._replace(computed=0, skipped=6)
    assert calls(log) == 6
    notes = read_manifest(out)
    assert [note["rows_in"] for note in notes] == [note["rows_out"] for note in notes] == SIZES
    assert {note["key"] for note in notes} == {"double"}
    assert all(note["seconds"] >= 0 and len(note["input_hash"]) == 32 for note in notes)
    pids = {int(line.split()[0]) for line in log.read_text().splitlines()}
    assert (os.getpid() in pids) == (n_jobs == 1)
    for pid in pids - {os.getpid()}:
        with pytest.raises(ProcessLookupError):  # workers are gone
            os.kill(pid, 0)


def rewrite_input(corpus: Path, out: Path) -> None:
    write(corpus / "part-1.parquet", [7, 8])


def delete_output(corpus: Path, out: Path) -> None:
    (out / "part-1.parquet").unlink()


def truncate_output(corpus: Path, out: Path) -> None:
    (out / "part-1.parquet").write_bytes((out / "part-1.parquet").read_bytes()[:-1])


def delete_note(corpus: Path, out: Path) -> None:
    (out / MANIFEST / "part-1.parquet.json").unlink()


def truncate_note(corpus: Path, out: Path) -> None:
    note = out / MANIFEST / "part-1.parquet.json"
    note.write_text(note.read_text()[:-5])


@pytest.mark.parametrize("harm", [rewrite_input, delete_output, truncate_output, delete_note, truncate_note])
def test_what_does_not_agree_is_computed_again(
    harm: Callable[[Path, Path], None], corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    map_shards(double(), corpus, out, key="a")
    harm(corpus, out)
    run = map_shards(double(), corpus, out, key="a")
    assert (run.computed, run.skipped) == (1, 5)
    assert values(out) == doubled(corpus)
    assert len(read_manifest(out)) == 6


def test_another_key_computes_everything(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    map_shards(double(), corpus, out, key="a")
    assert map_shards(double(), corpus, out, key="b").computed == 6
    assert map_shards(double(), corpus, out, key="b").skipped == 6


def test_an_old_note_does_not_vouch_for_a_new_output(corpus: Path, tmp_path: Path) -> None:
    def unwritable(table: Any) -> Any:
        union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
        return pa.table({"x": union})

    out = tmp_path / "out"
    map_shards(double(), corpus, out, key="a")
    with pytest.raises(ShardError, match="6 of 6 shards failed"):
        map_shards(unwritable, corpus, out, key="b")
    assert read_manifest(out) == []
    assert not list(out.glob(".*"))
    assert map_shards(double(), corpus, out, key="a").computed == 6


def test_inputs_as_files(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(corpus)
    run = map_shards(double(), ["part-3.parquet", "part-0.parquet"], "../out", key="a")
    assert [path.stem for path in run.outputs] == ["part-3", "part-0"]
    assert values(tmp_path / "out") == {name: doubled(corpus)[name] for name in ("part-0", "part-3")}


def test_a_job_array_covers_everything_once(corpus: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    runs = [map_shards(double(log), corpus, out, key="a", shard=(job, 4)) for job in range(4)]
    assert [run.computed for run in runs] == [2, 2, 1, 1]
    assert calls(log) == 6
    assert values(out) == doubled(corpus)
    assert map_shards(double(log), corpus, out, key="a", shard=(7, 8)).outputs == []


def test_row_groups(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = map_shards(double(), corpus, out, key="a", row_groups=2)
    assert run.computed == 7  # part-3 has three row groups, the others two at most
    found = values(out)
    assert found["part-3-000000"] + found["part-3-000002"] == doubled(corpus)["part-3"]
    write(corpus / "part-3.parquet", [30, 31, 32, 33, 99])
    run = map_shards(double(), corpus, out, key="a", row_groups=2)
    assert (run.computed, run.skipped) == (1, 6)
    assert values(out)["part-3-000002"] == [198]


# Keys


def triple(table: Any) -> Any:
    return table


class Printed:
    fingerprint = "printed"

    def __call__(self, table: Any) -> Any:
        return table


def test_keys_from_functions(corpus: Path, tmp_path: Path) -> None:
    def key(function: Callable[[Any], Any]) -> str:
        map_shards(function, corpus / "part-0.parquet", tmp_path / "out")
        return str(read_manifest(tmp_path / "out")[0]["key"])

    first = lambda table: table  # noqa: E731
    second = lambda table: table.slice(0)  # noqa: E731
    assert key(Printed()) == "printed"
    assert key(triple) == key(triple)
    assert len({key(triple), key(first), key(second)}) == 3


@pytest.mark.parametrize(
    "function", [double(), partial(triple), print, Printed().__call__], ids=["inner", "partial", "built-in", "method"]
)
def test_keys_that_cannot_be_told(function: Callable[[Any], Any], corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="give key="):
        map_shards(function, corpus, tmp_path / "out")


# Failures


def test_a_failure_does_not_stop_the_others(corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    with caplog.at_level(logging.ERROR), pytest.raises(ShardError, match="2 of 6 shards failed") as caught:
        map_shards(double(fail=(0, 30)), corpus, out, key="a")
    assert caught.value.failed == {
        f"part-{number}.parquet": f"RuntimeError: cannot stand {10 * number}" for number in (0, 3)
    }
    assert "part-3.parquet: RuntimeError: cannot stand 30" in str(caught.value)
    assert "Traceback" in caplog.text
    assert sorted(values(out)) == ["part-1", "part-2", "part-4", "part-5"]
    run = map_shards(double(log), corpus, out, key="a")
    assert (run.computed, run.skipped, calls(log)) == (2, 4, 2)
    assert values(out) == doubled(corpus)


def test_an_input_that_cannot_be_used_is_said_once(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(table: Any) -> Any:
        if table.num_rows > 3:
            raise InvalidInputError("there is no such thing. Give another one.")
        return table

    message = "2 of 6 shards failed, the others are finished: there is no such thing. Give another one."
    with caplog.at_level(logging.DEBUG), pytest.raises(ShardInputError) as caught:
        map_shards(refuse, corpus, tmp_path / "out", key="a", n_jobs=2)
    assert str(caught.value) == message
    assert isinstance(caught.value, InvalidInputError)
    assert list(caught.value.failed) == ["part-3.parquet", "part-4.parquet"]
    assert "Traceback" not in caplog.text
    assert "no such thing" not in caplog.text

    def both(table: Any) -> Any:
        return refuse(table) if table.num_rows != 2 else 1 / 0

    with pytest.raises(ShardError, match=r"(?s)3 of 6 shards failed;.*part-5.parquet: ZeroDivisionError") as caught:
        map_shards(both, corpus, tmp_path / "other", key="a")
    assert not isinstance(caught.value, InvalidInputError)


def test_a_result_that_is_no_table(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"must return a pyarrow.Table, got dict"):
        map_shards(lambda table: table.to_pydict(), corpus, tmp_path / "out", key="a")


@pytest.mark.slow
def test_a_dead_worker(corpus: Path, tmp_path: Path) -> None:
    def die(table: Any) -> Any:
        if table.num_rows == 5:
            time.sleep(0.5)
            os._exit(3)
        return table

    out = tmp_path / "out"
    with pytest.raises(ShardError, match="the run stopped") as caught:
        map_shards(die, corpus, out, key="a", n_jobs=2)
    assert "part-3.parquet" in caught.value.failed
    finished = len(read_manifest(out))
    assert map_shards(lambda table: table, corpus, out, key="a").skipped == finished


SCRIPT = """
import sys, time
from pathlib import Path
from kgneg.core.shards import map_shards

def slow(table):
    Path(sys.argv[3], str(table["x"][0].as_py())).touch()
    time.sleep(float(sys.argv[4]))
    return table

if __name__ == "__main__":
    run = map_shards(slow, sys.argv[1], sys.argv[2], key="slow", n_jobs=int(sys.argv[5]), progress=False)
    print(run.computed, run.skipped)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills a process group")
def test_kill_and_resume(tmp_path: Path) -> None:
    corpus, out, begun, script = (tmp_path / name for name in ("in", "out", "begun", "script.py"))
    corpus.mkdir()
    begun.mkdir()
    script.write_text(SCRIPT)
    for number in range(8):
        write(corpus / f"{number}.parquet", [number])

    def command(seconds: float, n_jobs: int) -> list[str]:
        return [sys.executable, str(script), str(corpus), str(out), str(begun), str(seconds), str(n_jobs)]

    process = subprocess.Popen(command(0.4, 2), start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while len(list(out.glob(f"{MANIFEST}/*.json"))) < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = {note["output"].partition(".")[0] for note in read_manifest(out)}
    assert 3 <= len(finished) < 8
    before = {name: (out / f"{name}.parquet").stat().st_mtime_ns for name in finished}
    for mark in begun.iterdir():
        mark.unlink()
    done = subprocess.run(command(0.0, 1), capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(8 - len(finished)), str(len(finished))]
    assert done.stderr == ""
    assert {mark.name for mark in begun.iterdir()} == set(map(str, range(8))) - finished
    assert {name: (out / f"{name}.parquet").stat().st_mtime_ns for name in finished} == before
    assert values(out) == values(corpus)


# Wrong arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_jobs": 0}, "n_jobs must be at least 1, got 0"),
        ({"n_jobs": -2}, "n_jobs must be at least 1, got -2"),
        ({"shard": (2, 2)}, r"shard=\(i, n\) needs 0 <= i < n, got \(2, 2\)"),
        ({"shard": (-1, 2)}, "shard must be at least 0"),
        ({"shard": (0, 0)}, "the number of jobs in shard must be at least 1"),
        ({"row_groups": 0}, "row_groups must be at least 1"),
        ({"backend": "spark"}, "joblib cannot use the backend 'spark'"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=message):
        map_shards(double(), corpus, tmp_path / "out", key="a", **options)


# Other backends


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.filterwarnings("ignore")
def test_ray(corpus: Path, tmp_path: Path) -> None:
    import ray
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False)
    try:
        register_ray()
        run = map_shards(double(), corpus, tmp_path / "out", key="a", n_jobs=2, backend="ray")
    finally:
        ray.shutdown()
    assert run.computed == 6
    assert values(tmp_path / "out") == doubled(corpus)


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask is not installed")
@pytest.mark.filterwarnings("ignore")
def test_dask(corpus: Path, tmp_path: Path) -> None:
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None):
        run = map_shards(double(), corpus, tmp_path / "out", key="a", n_jobs=-1, backend="dask")
    assert run.computed == 6
    assert values(tmp_path / "out") == doubled(corpus)
