from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kgneg.cli import main

SMALL = ("--dim", "4", "--seeds", "1", "--epochs", "1")


def compare(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def test_output(tmp_path: Path) -> None:
    samplers = ("--sampler", "basic", "--sampler", "lemon")
    arguments = ("--dataset", "nations", *samplers, "--encoder", "lexical", *SMALL, "--out", tmp_path)
    done = compare(*arguments)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("sampler")
    assert [line.split()[0] for line in lines[2:4]] == ["basic", "lemon"]
    assert lines[-1] == str(tmp_path / "report.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "results.csv", "results.json", "runs"]
    assert len(list((tmp_path / "runs").iterdir())) == 2
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert found["settings"]["samplers"][1]["options"] == {"encoder": "lexical", "texts": "nations"}
    first = (tmp_path / "results.json").read_bytes()
    quiet = compare(*arguments, "--quiet")
    assert (quiet.exit_code, quiet.stdout) == (0, "")
    assert (tmp_path / "results.json").read_bytes() == first, "finished runs are taken up, seconds included"
    assert compare(*arguments, "--fresh").exit_code == 0
    assert (tmp_path / "results.json").read_bytes() != first


def test_files_and_several_seeds(zoo: Path, tmp_path: Path) -> None:
    files = ("--train", zoo / "train.tsv", "--valid", zoo / "valid.tsv", "--test", zoo / "test.tsv")
    texts = ("--texts", zoo / "entities.tsv", "--encoder", "lexical")
    done = compare(
        *files, "--sampler", "lemon", *texts, "--dim", 2, "--epochs", 1, "--seeds", "7,9", "--model", "distmult",
        "--loss", "nssa", "--negatives", 3, "--lr", 0.1, "--batch-size", 8, "--device", "cpu",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    found = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    settings = found["settings"]
    assert (settings["seeds"], settings["loss"], settings["learning_rate"]) == ([7, 9], "nssa", 0.1)
    assert settings["samplers"][0]["options"]["texts"] == str(zoo / "entities.tsv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "nations", "--sampler", "lemmon"), "unknown sampler 'lemmon'; known: lemon"),
        (("--dataset", "nations", "--sampler", "lemon:encodr=x"), "'encodr'; known: encoder"),
        (("--dataset", "nations", "--sampler", "basic", "--model", "trnse"), "unknown model 'trnse'; known: transe"),
        (("--dataset", "nations", "--sampler", "basic", "--loss", "nope"), "unknown loss 'nope'"),
        (("--dataset", "natons", "--sampler", "basic"), "unknown dataset 'natons'; known: nations"),
        (("--sampler", "basic"), "give a dataset, or at least a train and a test file"),
        (("--dataset", "nations", "--train", "x", "--sampler", "basic"), "not both"),
        (("--dataset", "nations", "--sampler", "basic", "--seeds", "0"), "at least one seed"),
        (("--dataset", "nations", "--sampler", "basic", "--seeds", "x"), "neither a number of seeds nor a list"),
        (("--dataset", "nations", "--sampler", "basic", "--seeds", "3,3"), "seeds must differ"),
        (("--dataset", "nations", "--sampler", "basic", "--epochs", "0"), "epochs must be at least 1"),
        (("--dataset", "nations", "--sampler", "basic", "--lr", "nan"), "learning_rate must be a positive number"),
        (("--dataset", "nations", "--sampler", "basic", "--encoder", "lexical"), "encoder would have no effect"),
        (("--dataset", "nations", "--sampler", "basic", "--device", "cuda:77"), "is not there"),
    ],
)
def test_refusals(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = compare(*arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert message in done.stderr.splitlines()[-1]


def test_output_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x", encoding="utf-8")
    done = compare("--dataset", "nations", "--sampler", "basic", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "is a file, expected a folder" in done.stderr


def test_failures_are_one_line(zoo: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    cases = {
        ("--train", tmp_path / "none", "--test", tmp_path / "none", "--sampler", "basic"): "no such file",
        ("--dataset", "nations", "--sampler", "lemon", "--texts", tmp_path / "none"): "is no file",
        ("--dataset", "nations", "--sampler", "lemon:dim=-1"): "sampler lemon:dim=-1: ",
        ("--dataset", "nations", "--sampler", "basic", "--model", "complex", "--lr", "1e25", "--epochs", "3"):
            "sampler basic, seed 0: ",
    }  # fmt: skip
    for arguments, message in cases.items():
        done = compare(*arguments, *out)
        assert done.exit_code == 1, arguments
        assert done.stdout == ""
        assert done.stderr.startswith("Error: ")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
    (zoo / "test.tsv").unlink()
    done = compare("--dataset", zoo, "--sampler", "basic", *out)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "no test triples" in done.stderr


def start(*arguments: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "kgneg.cli", "compare", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_runs(folder: Path, process: subprocess.Popen[str]) -> list[Path]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = sorted(folder.glob("[!.]*.json"))
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"no run was finished: {process.communicate()}")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_killed_and_taken_up(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (
        "--dataset", "nations", "--sampler", "basic", "--sampler", "kgneg-uniform", "--epochs", 2, "--seeds", 2,
        "--dim", 4, "--out", out,
    )  # fmt: skip
    process = start(*arguments)
    first = wait_for_runs(out / "runs", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (out / "results.json").exists()
    before = {path: path.read_bytes() for path in first}
    assert compare(*arguments, "--quiet").exit_code == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    resumed = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert len(resumed["runs"]) == 4
    assert compare(*arguments[:-1], tmp_path / "whole", "--quiet").exit_code == 0
    whole = json.loads((tmp_path / "whole" / "results.json").read_text(encoding="utf-8"))
    assert [run["metrics"] for run in resumed["runs"]] == [run["metrics"] for run in whole["runs"]]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_interrupted(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--dataset", "nations", "--sampler", "basic", "--epochs", 3, "--seeds", 500, "--dim", 4, "--out", out)
    process = start(*arguments)
    wait_for_runs(out / "runs", process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, "", "")
    assert not list(out.rglob(".*")), "no temporary file is left"
