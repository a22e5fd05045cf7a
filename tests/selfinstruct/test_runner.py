from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import kgneg.core.shards
from kgneg.core.errors import InvalidInputError, MissingExtraError
from kgneg.core.shards import ShardError
from kgneg.core.storage import atomic_path
from kgneg.selfinstruct import runner, sources
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.decisions import Decisions
from kgneg.selfinstruct.dedup import Deduplicator
from kgneg.selfinstruct.dedup_files import deduplicate_files
from kgneg.selfinstruct.filter import SelfInstructFilter
from kgneg.selfinstruct.links import write_kept
from kgneg.selfinstruct.rules import RuleJudge
from kgneg.selfinstruct.run_report import manifest_rows, read_report
from kgneg.selfinstruct.runner import run
from kgneg.selfinstruct.threshold import ThresholdDecider

ROWS = [(f"h{number}", f"r{number % 3}", f"t{number % 7}") for number in range(50)]
DECIDER = ThresholdDecider(RuleJudge(known=ROWS[::5]), no_verdict="keep")
ACTIONS = ["drop" if number % 5 == 0 else "keep" for number in range(50)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.tsv", ROWS)


def write(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("part-*.parquet"))}


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(out.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def digest(out: Path) -> str:
    found = hashlib.sha256()
    for name, content in shards(out).items():
        found.update(name.encode() + content)
    return found.hexdigest()


@pytest.mark.parametrize(("backend", "jobs"), [("sequential", 1), ("loky", 2), ("threading", 2)])
def test_every_row_in_order(backend: str, jobs: int, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = run(DECIDER, source, out, shard_rows=8, backend=backend, jobs=jobs)
    found = rows(out)
    assert [(row["head"], row["relation"], row["tail"]) for row in found] == ROWS
    assert [row["action"] for row in found] == ACTIONS
    assert {row["score"] for row in found if row["action"] == "drop"} == {0.99}
    assert report.complete
    assert (report.shards, report.rows) == (7, 50)
    assert report.actions == {"keep": 40, "drop": 10, "review": 0}
    assert sum(sum(counts.values()) for counts in report.relations.values()) == 50
    assert json.loads((out / "report.json").read_text()) == report.as_dict()
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [line["state"] for line in lines] == ["finished"] * 7
    assert [line["rows"] for line in lines] == [8] * 6 + [2]
    assert len({line["config_hash"] for line in lines}) == 1
    assert len({line["input_hash"] for line in lines}) == 7
    assert sum(line["counts"]["actions"]["drop"] for line in lines) == 10


@pytest.mark.slow
def test_jobs_and_sources_give_the_same_bytes(source: Path, tmp_path: Path) -> None:
    run(DECIDER, source, tmp_path / "a", shard_rows=8, jobs=1)
    run(DECIDER, source, tmp_path / "b", shard_rows=8, jobs=2)
    halves = [write(tmp_path / "x.tsv", ROWS[:13]), write(tmp_path / "y.tsv", ROWS[13:])]
    run(DECIDER, halves, tmp_path / "c", shard_rows=8, backend="sequential")
    assert shards(tmp_path / "a") == shards(tmp_path / "b") == shards(tmp_path / "c")


def test_a_job_array(source: Path, tmp_path: Path) -> None:
    run(DECIDER, source, tmp_path / "whole", shard_rows=8)
    out = tmp_path / "out"
    reports = [run(DECIDER, source, out, shard_rows=8, shard=(number, 3)) for number in range(3)]
    assert [report.complete for report in reports] == [False, False, True]
    assert [report.finished for report in reports] == [3, 5, 7]
    assert shards(out) == shards(tmp_path / "whole")
    assert (out / "report.json").read_bytes() == (tmp_path / "whole" / "report.json").read_bytes()
    assert [row["state"] for row in manifest_rows(out)] == ["finished"] * 7


def test_finished_shards_are_skipped_and_settings_count(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(DECIDER, source, out, shard_rows=8, backend="sequential")
    before = shards(out)
    (out / "part-000003.parquet").unlink()
    (out / "report.json").unlink()
    asked: list[int] = []

    class Counting:
        def fingerprint(self) -> str:
            return DECIDER.fingerprint()

        def decide(self, candidates: Candidates) -> Decisions:
            asked.append(len(candidates))
            return DECIDER.decide(candidates)

    assert read_report(out).finished == 6
    run(Counting(), source, out, shard_rows=8, backend="sequential")
    assert asked == [8]
    assert shards(out) == before
    other = ThresholdDecider(DECIDER.judge, no_verdict="review")
    assert run(other, source, out, shard_rows=8, backend="sequential").actions["review"] == 40
    assert run(other, source, out, shard_rows=30, backend="sequential").rows == 50
    assert len(shards(out)) == 2  # nothing is left of the smaller shards


def test_another_filter_outdates_the_report(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(DECIDER, source, out, shard_rows=8, backend="sequential")
    run(DECIDER, source, out, shard_rows=8, backend="sequential", shard=(0, 2))
    assert (out / "report.json").is_file()  # everything is finished
    other = ThresholdDecider(DECIDER.judge, no_verdict="review")
    assert not run(other, source, out, shard_rows=8, backend="sequential", shard=(0, 2)).complete
    assert not (out / "report.json").exists()
    assert not (out / "manifest.jsonl").exists()
    run(other, source, out, shard_rows=8, backend="sequential", shard=(1, 2))
    assert json.loads((out / "report.json").read_text())["actions"]["review"] == 40


def test_two_inputs_in_one_folder_at_once(source: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", write(tmp_path / "other.tsv", ROWS[::-1])

    class Disturbed:
        def fingerprint(self) -> str:
            return DECIDER.fingerprint()

        def decide(self, candidates: Candidates) -> Decisions:
            if not (out / "report.json").exists():
                run(DECIDER, other, out, shard_rows=25, backend="sequential")
            return DECIDER.decide(candidates)

    with pytest.raises(InvalidInputError, match=r"another job has cut another input into .*a folder of its own"):
        run(Disturbed(), source, out, shard_rows=50, backend="sequential")
    with pytest.raises(InvalidInputError, match="is not through"):  # the first shard is of the first input
        write_kept(out, tmp_path / "kept.tsv")


def test_only_a_run_that_is_through_is_written(source: Path, tmp_path: Path) -> None:
    out, kept = tmp_path / "out", tmp_path / "kept.tsv"
    run(DECIDER, source, out, shard_rows=8, backend="sequential", shard=(0, 2))
    with pytest.raises(InvalidInputError, match="4 of 7 are finished"):
        write_kept(out, kept)
    other = ThresholdDecider(DECIDER.judge, no_verdict="review")
    run(other, source, out, shard_rows=8, backend="sequential", shard=(1, 2))
    with pytest.raises(InvalidInputError, match="some of other settings"):
        write_kept(out, kept)
    run(DECIDER, source, out, shard_rows=8, backend="sequential")
    assert write_kept(out, kept) == 40

    for parts in (str(out / "*.parquet"), [out / "part-000000.parquet"], out / "part-000001.parquet"):
        assert write_kept(parts, kept) > 0
        (out / "_manifest" / "part-000003.parquet.json").rename(tmp_path / "note")
        with pytest.raises(InvalidInputError, match="6 of 7 are finished"):
            write_kept(parts, kept)
        (tmp_path / "note").rename(out / "_manifest" / "part-000003.parquet.json")
    (out / "_input" / "plan.json").unlink()
    with pytest.raises(InvalidInputError, match="input is not cut"):
        write_kept(out, kept)


@pytest.mark.parametrize(
    "reason",
    ["endpoint: status 500", "budget: 5 tokens", "gave up after 3", "malformed: {", "a: no verdict; b: budget: 5"],
)
def test_rows_without_an_answer_are_asked_again(reason: str, source: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    class Passing:
        down = True

        def fingerprint(self) -> str:
            return "passing"

        def decide(self, candidates: Candidates) -> Decisions:
            asked.extend(candidates.heads)
            silent = np.array([self.down and head in ("h9", "h10") for head in candidates.heads])
            reasons = tuple(reason if one else "the endpoint is known" for one in silent)
            return Decisions(np.where(silent, "review", "keep"), np.where(silent, np.nan, 0.1), reasons)

    decider, out = Passing(), tmp_path / "out"
    report = run(decider, source, out, shard_rows=8, backend="sequential")
    assert (report.complete, report.partial, report.unanswered, report.actions["review"]) == (True, 1, 2, 2)
    assert json.loads((out / "report.json").read_text())["unanswered"] == 2
    assert [row["state"] for row in manifest_rows(out)] == ["finished", "partial", *["finished"] * 5]
    assert write_kept(out, tmp_path / "kept.tsv") == 48
    asked.clear()
    run(decider, source, out, shard_rows=8, backend="sequential", shard=(0, 2))  # not a shard of this job
    assert not asked
    decider.down = False
    report = run(decider, source, out, shard_rows=8, backend="sequential")
    assert asked == [f"h{number}" for number in range(8, 16)]
    assert (report.partial, report.unanswered, report.actions["keep"]) == (0, 0, 50)
    asked.clear()
    run(decider, source, out, shard_rows=8, backend="sequential")
    assert not asked


def test_files_of_others_are_not_touched(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("part-000000.parquet", "part-000099.parquet", "report.json"):
        (out / name).write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"which no run has written. Give a new or an empty folder"):
        run(DECIDER, source, out, backend="sequential")
    with pytest.raises(InvalidInputError, match="which no dedup has written"):
        deduplicate_files(Deduplicator(), source, out, backend="sequential")
    assert {path.read_text() for path in out.iterdir()} == {"mine"}
    run(DECIDER, source, tmp_path / "run", backend="sequential")
    before = digest(tmp_path / "run")
    with pytest.raises(InvalidInputError, match="output of run, not of dedup"):
        deduplicate_files(Deduplicator(), source, tmp_path / "run", backend="sequential")
    assert digest(tmp_path / "run") == before


def test_a_loader_loads_once_in_a_process(source: Path, tmp_path: Path) -> None:
    loaded: list[int] = []

    class Loader:
        def fingerprint(self) -> str:
            return f"once {tmp_path}"

        def load(self) -> ThresholdDecider:
            loaded.append(1)
            return DECIDER

    run(Loader(), source, tmp_path / "out", shard_rows=8, backend="sequential")
    assert loaded == [1]
    assert [row["action"] for row in rows(tmp_path / "out")] == ACTIONS


def test_a_decider_that_cannot_be_loaded_is_refused_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    class Damaged:
        def fingerprint(self) -> str:
            return f"damaged {tmp_path}"

        def load(self) -> ThresholdDecider:
            raise InvalidInputError("damaged")

    out = tmp_path / "out"
    run(DECIDER, source, out, shard_rows=8, backend="sequential")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(InvalidInputError, match=r"^damaged$"):
        run(Damaged(), source, out, shard_rows=8)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    with pytest.raises(InvalidInputError, match=r"^damaged$"):
        run(Damaged(), source, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_no_rows(tmp_path: Path) -> None:
    report = run(DECIDER, write(tmp_path / "in.tsv", []), tmp_path / "out", backend="sequential")
    assert (report.rows, report.complete) == (0, True)


def test_many_reasons_are_summed_up(source: Path, tmp_path: Path) -> None:
    class Talkative:
        def fingerprint(self) -> str:
            return "talkative"

        def decide(self, candidates: Candidates) -> Decisions:
            size = len(candidates)
            reasons = tuple(
                f"same: {tail}" if place % 2 else f"own {place}" for place, tail in enumerate(candidates.tails)
            )
            return Decisions(np.full(size, "keep"), np.full(size, 0.1), reasons)

    many = write(tmp_path / "many.tsv", ROWS * 4)
    report = run(Talkative(), many, tmp_path / "out", backend="sequential")
    assert report.reasons["same"]["keep"] == 100
    assert report.reasons["(other)"]["keep"] == 51
    assert len(report.reasons) == 51


class Heard:
    """A decider with judges, whose names stand before their reasons."""

    def __init__(self, reasons: list[tuple[str, str, float]]) -> None:
        self.said = reasons
        self.judges = [SimpleNamespace(name=name) for name in ("chat", "chat: budget", "budget-llm", "a.b")]
        self.rules = [SimpleNamespace(name="rules")]

    def fingerprint(self) -> str:
        return "heard"

    def decide(self, candidates: Candidates) -> Decisions:
        reason, action, score = zip(*self.said, strict=True)
        return Decisions(np.array(action), np.array(score), reason)


def test_reasons_are_counted_without_the_names_of_judges(tmp_path: Path) -> None:
    decider = Heard(
        [
            ("unlikely", "keep", 0.1),
            ("rule", "drop", 0.9),
            ("chat: contradiction; a.b: no verdict", "review", 0.5),
            ("chat: endpoint: status 500; a.b: endpoint: status 503; budget-llm: no verdict", "review", np.nan),
            ("chat: budget: unsure; axb: so", "review", np.nan),
            ("budget-llm: unsure", "review", 0.5),
            ("rules: budget: 5 tokens", "drop", np.nan),
            ("rules: budget: 5 tokens", "drop", 0.9),
        ]
    )
    report = run(decider, write(tmp_path / "in.tsv", ROWS[:8]), tmp_path / "out", backend="sequential")
    assert {reason: sum(counts.values()) for reason, counts in report.reasons.items()} == {
        "unlikely": 1,
        "rule": 1,
        "contradiction": 1,
        "no verdict": 2,
        "endpoint": 1,
        "unsure; axb": 1,
        "unsure": 1,
        "budget": 2,
    }
    assert report.reasons["budget"] == {"keep": 0, "drop": 2, "review": 0}
    assert report.unanswered == 2


def test_words_of_an_answer_are_no_failure(tmp_path: Path) -> None:
    source = write(tmp_path / "in.tsv", ROWS[:3])
    decider = Heard([("budget hotels are cheap", "keep", 0.1), ("endpoint", "drop", 0.9), ("budget", "review", 0.5)])
    report = run(decider, source, tmp_path / "out", backend="sequential")
    assert (report.unanswered, report.partial) == (1, 1)


@pytest.mark.parametrize("part", ["_input/part-000000", "part-000000", "report"])
def test_a_full_disk(part: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"

    @contextmanager
    def full(path: Path) -> Iterator[Path]:
        if Path(path).with_suffix("") == out / part:
            raise OSError(errno.ENOSPC, "No space left on device")
        with atomic_path(path) as temporary:
            yield temporary

    for module in (runner, sources, kgneg.core.shards):
        monkeypatch.setattr(module, "atomic_path", full)
    with pytest.raises((InvalidInputError, ShardError), match=rf"cannot write .*{part}.* \(No space left on device\)"):
        run(DECIDER, source, out, backend="sequential")
    monkeypatch.undo()
    assert run(DECIDER, source, out, backend="sequential").complete


def test_failures(source: Path, tmp_path: Path) -> None:
    class Short:
        def fingerprint(self) -> str:
            return "short"

        def decide(self, candidates: Candidates) -> Decisions:
            size = len(candidates) - (candidates.heads[0] == "h8")
            return Decisions(np.full(size, "keep"), np.full(size, 0.1), ("",) * size)

    with pytest.raises(ShardError, match="7 decisions for 8 candidates"):
        run(Short(), source, tmp_path / "out", shard_rows=8, backend="sequential")
    assert read_report(tmp_path / "out").finished == 6
    run(DECIDER, source, tmp_path / "fine", backend="sequential")
    cases: list[tuple[Any, str]] = [
        ((DECIDER, tmp_path / "fine", tmp_path / "again"), "column action"),
        ((DECIDER, tmp_path / "fine", tmp_path / "fine"), "lies in the folder"),
        ((DECIDER, source, source), "is a file"),
        ((tmp_path / "no filter", source, tmp_path / "out"), "no folder"),
    ]
    for arguments, message in cases:
        with pytest.raises(InvalidInputError, match=message):
            run(*arguments, backend="sequential")
    with pytest.raises(InvalidInputError, match="backend"):
        run(DECIDER, source, tmp_path / "out", backend="spark")
    for arguments, message in cases[:1]:
        assert not arguments[2].exists(), message  # nothing was written
    with pytest.raises(InvalidInputError, match="call fit first"):
        run(SelfInstructFilter(judges=[DECIDER.judge]), source, tmp_path / "new", backend="sequential")
    assert not (tmp_path / "new").exists()
    with pytest.raises(InvalidInputError, match=r"cannot write .*in.tsv.*Make room, or give a folder"):
        run(DECIDER, source, source / "out", backend="sequential")
    with pytest.raises(InvalidInputError, match="holds no run"):
        read_report(tmp_path)


@pytest.mark.parametrize("backend", ["ray", "dask"])
def test_missing_clusters_name_their_extra(backend: str, source: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec({"ray": "ray", "dask": "distributed"}[backend]) is not None:
        pytest.skip(f"{backend} is installed")
    with pytest.raises(MissingExtraError, match=rf"kgneg\[{backend}\]"):
        run(DECIDER, source, tmp_path / "out", backend=backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["ray", "dask"])
@pytest.mark.filterwarnings("ignore")  # theirs
def test_a_local_cluster(backend: str, source: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec({"ray": "ray", "dask": "distributed"}[backend]) is None:
        pytest.skip(f"{backend} is not installed")
    run(DECIDER, source, tmp_path / "here", shard_rows=8)
    report = run(DECIDER, source, tmp_path / "there", shard_rows=8, backend=backend, jobs=2)
    assert report.complete
    assert shards(tmp_path / "there") == shards(tmp_path / "here")


KILLED = """
import sys
from kgneg.selfinstruct.rules import RuleJudge
from kgneg.selfinstruct.runner import run
from kgneg.selfinstruct.threshold import ThresholdDecider
rows = [(f"h{number % 977}", f"r{number % 5}", f"t{number}") for number in range(0, 200_000, 3)]
decider = ThresholdDecider(RuleJudge(known=rows), no_verdict="keep")
run(decider, sys.argv[1], sys.argv[2], shard_rows=5_000, jobs=int(sys.argv[3]), progress=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_kill_at_any_moment(jobs: int, tmp_path: Path) -> None:
    """200,000 rows: SIGKILL the whole group of processes at random moments, and let it run through at last."""
    table = [(f"h{number % 977}", f"r{number % 5}", f"t{number}") for number in range(200_000)]
    source = write(tmp_path / "in.tsv", table)

    def start(out: Path) -> subprocess.Popen[bytes]:
        arguments = [sys.executable, "-c", KILLED, str(source), str(out), str(jobs)]
        return subprocess.Popen(arguments, start_new_session=True, stderr=subprocess.DEVNULL)

    began = time.monotonic()
    assert start(tmp_path / "whole").wait(300) == 0
    duration = time.monotonic() - began
    chance = random.Random(jobs)  # noqa: S311
    out, kills = tmp_path / "out", 0
    for _ in range(3):
        process = start(out)
        try:
            process.wait(chance.uniform(0.3, 0.9) * duration)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills >= 1
    assert start(out).wait(300) == 0
    assert shards(out) == shards(tmp_path / "whole")
    assert (out / "report.json").read_bytes() == (tmp_path / "whole" / "report.json").read_bytes()
    found = rows(out)
    assert [(row["head"], row["relation"], row["tail"]) for row in found] == table
    assert [row["action"] for row in found] == ["keep" if number % 3 else "drop" for number in range(200_000)]
