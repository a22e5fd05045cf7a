from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kgneg.cli import main

BASE = ("--dataset", "nations", "--sampler", "basic")
SMALL = (
    "--epochs",
    1,
    "--fix",
    "model.embedding_dim=4",
    "--fix",
    "batch_size=256",
    "--fix",
    "sampler.num_negs_per_pos=1",
)


def study(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["study", *map(str, arguments)])


def test_output_status_and_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (*BASE, *SMALL, "--model", "distmult", "--loss", "nssa", "--out", out)
    done = study(*arguments, "--trials", 1)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[2].split() == ["complete", "1"]
    assert done.stdout.splitlines()[-2:] == [str(out / "best.json"), str(out / "report.html")]
    assert {path.name for path in out.iterdir()} == {
        "study.log", "report.html", "results.json", "trials.csv", "best.json", "history.png", "pareto.png",
    }  # fmt: skip
    first = json.loads((out / "results.json").read_text(encoding="utf-8"))["trials"]

    quiet = study(*arguments, "--trials", 2, "--quiet")
    assert (quiet.exit_code, quiet.stdout) == (0, "")
    again = json.loads((out / "results.json").read_text(encoding="utf-8"))["trials"]
    assert (again[:1], len(again)) == (first, 2)

    status = study("--out", out, "--status")
    assert status.stdout.splitlines()[2].split() == ["complete", "2"]
    assert "report.html" not in status.stdout
    page = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    report = study("--out", out, "--report")
    assert report.exit_code == 0
    assert (out / "report.html").read_bytes() == page

    other = study(*arguments, "--trials", 2, "--seed", 5)
    assert other.exit_code != 0
    assert "has other settings. seed: 0 before, 5 now" in other.stderr


@pytest.mark.slow
def test_two_workers_with_our_loop(tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "study.log"
    done = study(
        *BASE, "--sampler", "kgneg-uniform", "--model", "transe", "--model", "distmult", "--loss", "nssa",
        *SMALL, "--trials", 4, "--workers", 2, "--storage", log, "--training-loop", "kgneg", "--out", out,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[2].split() == ["complete", "4"]
    assert len(list((out / "workers").iterdir())) == 2
    best = json.loads((out / "best.json").read_text(encoding="utf-8"))
    assert best["pipeline"]["training_loop"] == "kgneg"


def test_space_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "space.json"
    path.write_text(json.dumps({"fix": {"lr": 0.1}, "ranges": {"model.embedding_dim": "4:8:4"}}), encoding="utf-8")
    done = study(
        *BASE, "--trials", 1, "--epochs", 1, "--space", path, "--fix", "model.embedding_dim=2", "--range", "lr=0.1,0.2",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    kept = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["definition"]
    assert kept["transe.embedding_dim"] == 2
    assert kept["optimizer.lr"] == {"range": {"type": "categorical", "choices": [0.1, 0.2]}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "nations"), "Missing option '--sampler'"),
        (("--dataset", "nations", "--sampler", "lemmon"), "unknown sampler 'lemmon'; known: lemon"),
        (("--dataset", "natons", "--sampler", "basic"), "unknown dataset 'natons'; known: nations"),
        (("--sampler", "basic"), "give a dataset, or a train, a valid and a test file"),
        ((*BASE, "--model", "trnse"), "unknown model 'trnse'; known: transe"),
        ((*BASE, "--loss", "nope"), "unknown loss 'nope'"),
        ((*BASE, "--storage", "study.txt"), "give a file that ends in .log"),
        ((*BASE, "--fix", "lrr=1"), "unknown parameter 'lrr'"),
        ((*BASE, "--fix", "lr=1", "--fix", "lr=2"), "lr is given twice"),
        ((*BASE, "--range", "lr=5:1"), "is empty"),
        ((*BASE, "--training-loop", "lcwa"), "draws no negatives"),
        ((*BASE, "--search", "grid"), "search"),
        ((*BASE, "--pruner", "x"), "pruner"),
        ((*BASE, "--trials", 0), "trials must be at least 1"),
        ((*BASE, "--workers", 0), "is not in the range x>=1"),
        ((*BASE, "--device", "cuda:77"), "is not there"),
        ((*BASE, "--encoder", "lexical"), "encoder would have no effect"),
    ],
)
def test_refusals(arguments: tuple[Any, ...], message: str, tmp_path: Path) -> None:
    done = study(*arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.stderr
    assert done.stdout == ""
    assert message in done.stderr.splitlines()[-1]


def test_nothing_there(tmp_path: Path) -> None:
    assert "Missing option '--out' or '--storage'" in study("--status").stderr
    assert "there is no study: no file" in study("--out", tmp_path, "--status").stderr
    (tmp_path / "file").write_text("x", encoding="utf-8")
    done = study(*BASE, "--storage", tmp_path / "study.log", "--out", tmp_path / "file")
    assert done.exit_code == 2
    assert "is a file, expected a folder" in done.stderr
