from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.selfinstruct import dedup_files
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.dedup import Deduplicator
from kgneg.selfinstruct.dedup_files import deduplicate_files
from kgneg.selfinstruct.sources import find_sources

SOURCE = random.Random(0)  # noqa: S311
ROWS = [
    (f"{SOURCE.choice('hH')}{SOURCE.randrange(12)}", "r", " ".join(SOURCE.choices("abcdef", k=SOURCE.randint(2, 6))))
    for _ in range(400)
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize(("part_rows", "jobs"), [pytest.param(50, 2, marks=pytest.mark.slow), (50, 1), (1000, 1)])
@pytest.mark.parametrize("minhash", [None, 0.6])
def test_as_in_memory(minhash: float | None, part_rows: int, jobs: int, source: Path, tmp_path: Path) -> None:
    if minhash is not None:
        pytest.importorskip("datasketch")
    deduplicator = Deduplicator(minhash=minhash)
    found = deduplicator.find(Candidates.from_triples(ROWS))
    out = tmp_path / "out"
    counts = deduplicate_files(deduplicator, source, out, shard_rows=90, part_rows=part_rows, jobs=jobs, progress=False)
    assert counts == found.counts()
    kept = [tuple(row.values()) for row in rows(out)]
    assert kept == [row for row, keep in zip(ROWS, found.keep, strict=True) if keep]
    gone = rows(out / "_removed")
    assert [row["row"] for row in gone] == np.flatnonzero(~found.keep).tolist()
    assert [row["reason"] for row in gone] == [reason for reason in found.reason if reason]
    assert [row["repeats"] for row in gone] == found.first[~found.keep].tolist()
    assert len(kept) + len(gone) == len(ROWS)
    assert json.loads((out / "report.json").read_text()) == {"rows": 400, **counts}


def test_again_and_with_another_input(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options: dict[str, Any] = {"shard_rows": 90, "part_rows": 50, "backend": "sequential", "progress": False}
    deduplicate_files(Deduplicator(), source, out, **options)
    notes = sorted((out / "_verdicts" / "_manifest").iterdir())
    times = [note.stat().st_mtime_ns for note in notes]
    before = rows(out)
    (out / "part-000000.parquet").unlink()
    deduplicate_files(Deduplicator(), source, out, **options)
    assert rows(out) == before
    assert [note.stat().st_mtime_ns for note in notes] == times
    source.write_text("a\tb\tc\na\tb\tC\n", encoding="utf-8")
    counts = deduplicate_files(Deduplicator(), source, out, **options)
    assert (counts["kept"], counts["exact"]) == (1, 1)
    assert len(rows(out)) == 1


def test_a_stop_while_writing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    options: dict[str, Any] = {"shard_rows": 90, "backend": "sequential", "progress": False}
    deduplicate_files(Deduplicator(), source, out, **options)
    assert len(find_sources(out)) == 5

    class Stop(BaseException):
        pass

    def stopped(path: Path) -> Any:
        if path == out / "part-000001.parquet":
            raise Stop
        return atomic_path(path)

    monkeypatch.setattr(dedup_files, "atomic_path", stopped)
    with pytest.raises(Stop):  # the same input and other settings
        deduplicate_files(Deduplicator(rouge_l=None), source, out, **options)
    monkeypatch.undo()
    for way in (out, str(out / "*.parquet"), out / "part-000000.parquet"):
        with pytest.raises(InvalidInputError, match=r"the deduplication in .* is not through. Repeat its call first"):
            find_sources(way)
    counts = deduplicate_files(Deduplicator(rouge_l=None), source, out, **options)
    assert len(rows(out)) == counts["kept"]
    assert len(find_sources(out)) == 5


def test_another_input_outdates_the_report(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    deduplicate_files(Deduplicator(), source, out, backend="sequential", progress=False)
    source.write_text("a\tb\tc\na\t \tc\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="relation is empty"):
        deduplicate_files(Deduplicator(), source, out, backend="sequential", progress=False)
    assert not (out / "report.json").exists()


def test_two_inputs_in_one_folder_at_once(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, other, done = tmp_path / "out", tmp_path / "other.tsv", dedup_files._gather
    other.write_text("a\tb\tc\n" * 400, encoding="utf-8")
    options: dict[str, Any] = {"shard_rows": 400, "backend": "sequential", "progress": False}

    def disturbed(*arguments: Any) -> Any:
        monkeypatch.undo()
        deduplicate_files(Deduplicator(), other, out, **options)
        return done(*arguments)

    monkeypatch.setattr(dedup_files, "_gather", disturbed)
    with pytest.raises(InvalidInputError, match="another job has cut another input"):
        deduplicate_files(Deduplicator(), source, out, **options)
    with pytest.raises(InvalidInputError, match="is not through"):
        find_sources(out)


@pytest.mark.parametrize("name", ["reason", "row", "repeats"])
def test_columns_of_what_goes(name: str, tmp_path: Path) -> None:
    path = tmp_path / "in.tsv"
    path.write_text(f"head\trelation\ttail\t{name}\na\tb\tc\td\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match=f"has the column {name}, which the output gets. Rename it"):
        deduplicate_files(Deduplicator(), path, tmp_path / "out", backend="sequential", progress=False)
    assert not (tmp_path / "out").exists()


def test_more_parts_than_open_files(source: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    options: dict[str, Any] = {"backend": "sequential", "progress": False}
    few = deduplicate_files(Deduplicator(), source, tmp_path / "few", **options)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        many = deduplicate_files(Deduplicator(), source, tmp_path / "many", shard_rows=90, part_rows=1, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert many == few
    assert rows(tmp_path / "many") == rows(tmp_path / "few")


def test_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "in.tsv"
    path.touch()
    counts = deduplicate_files(Deduplicator(), path, tmp_path / "out", backend="sequential", progress=False)
    assert sum(counts.values()) == 0


def test_refusals(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="in the way"):
        deduplicate_files(Deduplicator(), source, tmp_path)
    with pytest.raises(InvalidInputError, match="in the way"):
        deduplicate_files(Deduplicator(), source, source)
    with pytest.raises(InvalidInputError, match="part_rows"):
        deduplicate_files(Deduplicator(), source, tmp_path / "out", part_rows=0)
