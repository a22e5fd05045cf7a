from __future__ import annotations

from pathlib import Path

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.links import write_kept
from kgneg.selfinstruct.rules import RuleJudge
from kgneg.selfinstruct.run_report import check_finished, manifest_rows, read_report
from kgneg.selfinstruct.runner import run
from kgneg.selfinstruct.sources import cut
from kgneg.selfinstruct.threshold import ThresholdDecider

DECIDER = ThresholdDecider(RuleJudge(known=[("a1", "r", "old")]), no_verdict="keep")


def write(path: Path, tail: str) -> Path:
    path.write_text("".join(f"a{number}\tr\t{tail}\n" for number in range(20)), encoding="utf-8")
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    run(DECIDER, write(tmp_path / "old.tsv", "old"), tmp_path / "out", shard_rows=10, backend="sequential")
    return tmp_path / "out"


def test_shards_of_an_earlier_input_do_not_count(out: Path, tmp_path: Path) -> None:
    new, kept = write(tmp_path / "new.tsv", "new"), tmp_path / "kept.tsv"
    report = run(DECIDER, new, out, shard_rows=10, backend="sequential", shard=(0, 2))
    assert (report.complete, report.finished, report.rows) == (False, 1, 10)
    assert [row["state"] for row in manifest_rows(out)] == ["finished", "pending"]
    assert not (out / "report.json").exists()
    with pytest.raises(InvalidInputError, match="1 of 2 are finished"):
        write_kept(out, kept)
    assert run(DECIDER, new, out, shard_rows=10, backend="sequential", shard=(1, 2)).complete
    assert write_kept(out, kept) == 20
    assert {line.split("\t")[2] for line in kept.read_text().splitlines()} == {"new"}


def test_a_stop_after_or_within_the_cut(out: Path, tmp_path: Path) -> None:
    new = write(tmp_path / "new.tsv", "new")
    assert read_report(out).complete
    cut([new], out / "_input", 10, outdated=[out / "report.json"])
    assert not (out / "report.json").exists()
    assert read_report(out).finished == 0
    with pytest.raises(InvalidInputError, match="0 of 2 are finished"):
        check_finished(out)
    new.write_text("a\tr\tb\nc\tr\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="Expected 3 columns"):
        cut([new], out / "_input", 10)
    with pytest.raises(InvalidInputError, match="its input is not cut"):
        check_finished(out)


def test_an_output_of_another_size_does_not_count(out: Path) -> None:
    with (out / "part-000001.parquet").open("ab") as file:
        file.write(b" ")
    assert read_report(out).finished == 1


def test_the_same_input_again_is_finished(out: Path, tmp_path: Path) -> None:
    (out / "_input" / "plan.json").unlink()
    before = [path.stat().st_mtime_ns for path in sorted(out.glob("part-*.parquet"))]
    assert run(DECIDER, tmp_path / "old.tsv", out, shard_rows=10, backend="sequential").complete
    assert [path.stat().st_mtime_ns for path in sorted(out.glob("part-*.parquet"))] == before
