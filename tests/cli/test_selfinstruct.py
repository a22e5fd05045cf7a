from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from kgneg.cli import main
from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.filter import SelfInstructFilter
from kgneg.selfinstruct.threshold import ThresholdDecider

ROWS = [(f"h{number}", "r", f"tail number {number % 4}") for number in range(20)]


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["selfinstruct", *map(str, arguments)])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.fixture
def verdicts(tmp_path: Path) -> Path:
    path = tmp_path / "verdicts.tsv"
    lines = ["head\trelation\ttail\tprobability\tother\tone"]
    lines += ["\t".join((*row, str(number / 19), "0", "1")) for number, row in enumerate(ROWS)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_run_by_recorded_verdicts(source: Path, verdicts: Path, tmp_path: Path) -> None:
    out, kept = tmp_path / "out", tmp_path / "kept.tsv"
    arguments = ("run", source, "--verdicts", verdicts, "--out", out, "--shard-rows", 6, "--backend", "sequential")
    done = call(*arguments, "--kept", kept)
    assert done.exit_code == 0
    assert "4 of 4 shards, 20 rows: 7 keep, 7 drop, 6 review" in done.stdout
    frame = pd.read_parquet(sorted(out.glob("part-*.parquet")))
    assert frame["action"].tolist() == ["keep"] * 7 + ["review"] * 6 + ["drop"] * 7
    assert kept.read_text().splitlines() == ["\t".join(row) for row in ROWS[:7]]
    assert json.loads((out / "report.json").read_text())["rows"] == 20
    quiet = call(*arguments, "--keep", 0.1, "--drop", 0.2, "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")
    assert json.loads((out / "report.json").read_text())["actions"] == {"keep": 2, "drop": 16, "review": 2}
    none = call(*arguments, "--keep", 0.1, "--column", "one", "--kept", kept)
    assert none.exit_code == 0, none.output
    assert f"{kept} is empty: no candidate was kept" in none.stderr
    assert "the sampler given cannot use it. Raise --keep." in none.stderr
    assert kept.read_bytes() == b""
    every = call(*arguments, "--column", "other", "--quiet")
    assert every.exit_code == 0
    assert json.loads((out / "report.json").read_text())["actions"]["keep"] == 20


@pytest.mark.parametrize("name", ["kept.csv", "folder.tsv"])
def test_a_wrong_name_for_the_kept_is_refused_before_the_run(
    name: str, source: Path, verdicts: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder.tsv").mkdir()
    done = call("run", source, "--verdicts", verdicts, "--out", tmp_path / "out", "--kept", tmp_path / name)
    assert done.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_job_array(source: Path, verdicts: Path, tmp_path: Path) -> None:
    out, kept = tmp_path / "out", tmp_path / "kept.tsv"
    for number, finished in ((0, 2), (1, 4)):
        assert not kept.exists()
        done = call(
            *("run", source, "--verdicts", verdicts, "--out", out, "--shard-rows", 6, "--backend", "sequential"),
            *("--shard", f"{number}/2", "--kept", kept),
        )
        assert done.exit_code == 0
        assert f"{finished} of 4 shards" in done.stdout
    assert kept.exists()


@pytest.mark.parametrize("shard", ["2/2", "a/b", "1", "-1/2", "/"])
def test_parts_that_do_not_exist(shard: str, source: Path, verdicts: Path, tmp_path: Path) -> None:
    done = call("run", source, "--verdicts", verdicts, "--out", tmp_path / "out", "--shard", shard)
    assert done.exit_code == 2
    assert "is no part such as 0/4" in " ".join(done.stderr.split())


def test_dedup(source: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "more.tsv", tmp_path / "out"
    path.write_text("H1\tr\tTail  number 1\nh1\tr\ttail number 1 again\n", encoding="utf-8")
    done = call("dedup", source, path, "--out", out, "--shard-rows", 8, "--backend", "sequential")
    assert done.exit_code == 0
    assert "20 kept, 1 exact, 1 rouge_l" in done.stdout
    assert len(pd.read_parquet(sorted(out.glob("part-*.parquet")))) == 20
    done = call("dedup", source, path, "--out", out, "--rouge-l", "none", "--backend", "sequential", "--quiet")
    assert (done.exit_code, done.output) == (0, "")
    assert json.loads((out / "report.json").read_text())["kept"] == 21


@pytest.fixture
def checked(tmp_path: Path) -> list[Any]:
    """Forty true and forty false triples, and what two judges say about them and about the source."""
    lines = ["head\trelation\ttail\tfirst\tsecond"]
    lines += [f"{head}\t{relation}\t{tail}\t0.1\t0.1" for head, relation, tail in ROWS[4:]]
    lines += [f"{head}\t{relation}\t{tail}\t0.9\t0.9" for head, relation, tail in ROWS[:4]]
    for name, high in (("true", 0.9), ("false", 0.1)):
        rows = [(f"{name} {number}", "r", f"thing {number}") for number in range(150)]
        (tmp_path / f"{name}.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
        lines += [
            "\t".join((*row, str(high), str(1 - high if number % 7 == 0 else high))) for number, row in enumerate(rows)
        ]
    (tmp_path / "judged.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "templates.json").write_text(
        json.dumps({"relations": {"r": [{"positive": "{head} is {tail}.", "negated": "{head} is not {tail}."}]}}),
        "utf-8",
    )
    found = ["--true", tmp_path / "true.tsv", "--false", tmp_path / "false.tsv", "--encoder", "none"]
    judged = tmp_path / "judged.tsv"
    return [*found, "--judge", f"recorded:{judged}#first", "--judge", f"recorded:{judged}#second"]


def test_fit_and_run(checked: list[Any], source: Path, tmp_path: Path) -> None:
    done = call("fit", *checked, "--known", source, "--out", tmp_path / "filter")
    assert done.exit_code == 0, done.output
    assert "checked: 300" in done.stdout
    assert "promise: precision >=" in done.stdout
    run = ("run", source, "--filter", tmp_path / "filter", "--shard-rows", 7, "--backend", "sequential", "--quiet")
    assert call(*run, "--out", tmp_path / "known").exit_code == 0
    known = pd.read_parquet(sorted((tmp_path / "known").glob("part-*.parquet")))
    assert known["action"].tolist() == ["drop"] * 20
    (tmp_path / "judged.tsv").unlink()  # the filter holds what was recorded
    assert call("fit", *checked, "--out", tmp_path / "other").exit_code == 2
    other = tmp_path / "none.tsv"
    other.write_text("x\tr\ty\n", encoding="utf-8")
    done = call(*run, "--known", other, "--out", tmp_path / "judged")
    assert done.exit_code == 0, done.output
    judged = pd.read_parquet(sorted((tmp_path / "judged").glob("part-*.parquet")))
    assert judged["action"].tolist() == ["drop"] * 4 + ["keep"] * 16


def test_a_filter_that_cannot_be_used_is_a_wrong_call(checked: list[Any], source: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "filter", tmp_path / "out"
    assert call("fit", *checked, "--target", 0.99, "--out", folder).exit_code == 0
    run = ("run", source, "--filter", folder, "--out", out, "--backend", "sequential")
    done = call(*run, "--kept", tmp_path / "kept.tsv")
    assert done.exit_code == 0, done.output
    report = (out / "report.json").read_bytes()
    done = call(*run, "--judge", "guess:often")
    assert done.exit_code == 2
    assert done.stderr.count("the judge 'guess:often' is none of") == 1
    assert (out / "report.json").read_bytes() == report
    (folder / "judges.json").write_text("{", encoding="utf-8")
    done = call(*run)
    assert done.exit_code == 2
    assert "judges.json is damaged" in " ".join(done.stderr.split())


def test_a_row_that_cannot_be_used_is_a_wrong_call(
    source: Path, verdicts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decide(self: Any, candidates: Any) -> Any:
        raise InvalidInputError("there are no templates. Write some.")

    monkeypatch.setattr(ThresholdDecider, "decide", decide)
    done = call(
        "run", source, "--verdicts", verdicts, "--out", tmp_path / "out", "--backend", "sequential", "--shard-rows", 6
    )
    assert done.exit_code == 2
    assert " ".join(done.stderr.split()).endswith("Error: 4 of 4 shards failed: there are no templates. Write some.")
    assert "Traceback" not in done.stderr
    assert done.stderr.count("no templates") == 1


def test_fit_leaves_folders_of_others_alone(
    checked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(self: Any, *args: Any) -> Any:
        raise AssertionError("nothing is learned before the folder is looked at")

    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").touch()
    with monkeypatch.context() as patch:
        patch.setattr(SelfInstructFilter, "fit", fit)
        for out, message in (("notes", "holds notes.txt, which no filter has written"), ("true.tsv", "cannot write")):
            done = call("fit", *checked, "--out", tmp_path / out)
            assert done.exit_code == 2
            assert message in " ".join(done.stderr.split())
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["notes.txt"]
    for _ in range(2):
        assert call("fit", *checked, "--out", tmp_path / "filter").exit_code == 0
    (tmp_path / "filter" / "_kgneg.json").unlink()  # as one that was saved in Python
    assert call("fit", *checked, "--out", tmp_path / "filter").exit_code == 0


def test_fit_takes_files_with_names_of_columns(checked: list[Any], tmp_path: Path) -> None:
    plain = call("fit", *checked, "--out", tmp_path / "plain")
    for name in ("true", "false"):
        path = tmp_path / f"{name}.tsv"
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        lines = ["Tail\thead\trelation\tnote", *(f"{tail}\t{head}\t{relation}\tx" for head, relation, tail in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    named = call("fit", *checked, "--out", tmp_path / "named")
    assert named.exit_code == 0, named.output
    assert named.stdout == plain.stdout
    for content, message in (("", "has no triples"), ("a\tb\n", "expected head, relation and tail")):
        (tmp_path / "true.tsv").write_text(content, encoding="utf-8")
        done = call("fit", *checked, "--out", tmp_path / "none")
        assert done.exit_code == 2
        assert message in " ".join(done.stderr.split())
        assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "in.tsv", "--out", "out"], "give --filter or --verdicts"),
        (["run", "in.tsv", "--out", "out", "--filter", "a", "--verdicts", "b"], "give --filter or --verdicts"),
        (["run", "in.tsv", "--out", "out", "--filter", "nowhere"], "there is no folder nowhere"),
        (["run", "in.tsv", "--out", "out", "--verdicts", "verdicts.tsv", "--column", "no"], "or --column"),
        (["run", "none.tsv", "--out", "out", "--verdicts", "verdicts.tsv"], "stands for no file"),
        (["run", "--out", "out"], "Missing argument 'SOURCE...'"),
        (["dedup", "in.tsv", "--out", "out", "--rouge-l", "2"], "rouge_l must be"),
        (["dedup", "in.tsv", "--out", "out", "--rouge-l", "x"], "neither a number nor none"),
        (["dedup", "in.tsv", "--out", "out", "--backend", "spark"], "is not one of"),
        (["dedup", "in.tsv", "--out", "out", "--minhash", "1"], "minhash must be"),
    ],
)
def test_wrong_calls(
    arguments: list[str], message: str, source: Path, verdicts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


@pytest.mark.slow
def test_jobs_of_an_array_at_once(source: Path, verdicts: Path, tmp_path: Path) -> None:
    """They cut the input at the same time, and share the folder."""

    def start(out: Path, *options: str) -> subprocess.Popen[bytes]:
        arguments = ["run", str(source), "--verdicts", str(verdicts), "--out", str(out), "--shard-rows", "1", "--quiet"]
        command = [sys.executable, "-m", "kgneg.cli", "selfinstruct", *arguments, "--backend", "sequential", *options]
        return subprocess.Popen(command)

    whole, out = tmp_path / "whole", tmp_path / "out"
    assert start(whole).wait(120) == 0
    jobs = [start(out, "--shard", f"{number}/3") for number in range(3)]
    assert [job.wait(120) for job in jobs] == [0, 0, 0]
    names = [f"part-{number:06d}.parquet" for number in range(20)] + ["report.json"]
    assert all((out / name).read_bytes() == (whole / name).read_bytes() for name in names)
