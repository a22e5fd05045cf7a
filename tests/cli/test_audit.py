from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kgneg.cli import main

SMALL = ("--draws", "2000", "--reference-epochs", "1")
FILES = ["relations.csv", "report.html", "results.csv", "results.json", "timings.json"]


def audit(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


def test_output(tmp_path: Path) -> None:
    samplers = ("--sampler", "basic", "--sampler", "lemon:n_clusters=3", "--encoder", "lexical")
    done = audit("--dataset", "nations", *samplers, *SMALL, "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("sampler")
    assert [line.split()[0] for line in lines[2:5]] == ["kgneg-uniform", "basic", "lemon:n_clusters=3"]
    assert lines[-1] == str(tmp_path / "report.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [row["asked"] for row in found["samplers"]] == [False, True, True]
    quiet = audit("--dataset", "nations", "--sampler", "basic", *SMALL, "--quiet", "--out", tmp_path / "again")
    assert (quiet.exit_code, quiet.stdout) == (0, "")


@pytest.mark.slow
def test_the_same_in_every_process(tmp_path: Path) -> None:
    arguments = (
        "--dataset",
        "nations",
        "--sampler",
        "pseudotyped",
        "--sampler",
        "dynamic",
        "--draws",
        "2000",
        "--quiet",
    )
    assert audit(*arguments, "--out", tmp_path / "here").exit_code == 0
    environment = os.environ | {"KGNEG_HOME": str(tmp_path / "fresh"), "PYTHONHASHSEED": "3"}  # trained anew
    command = [sys.executable, "-P", "-m", "kgneg.cli", "audit", *arguments, "--out", "there"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for file in ("results.json", "results.csv", "relations.csv"):
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes()


def test_files_and_a_sampler_of_ones_own(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def turned(positives, n, by=1):\n    return positives[:, None].repeat(1, n, 1).roll(by, -1) % 2\n"
    (tmp_path / "turning_samplers.py").write_text(text, encoding="utf-8")
    (tmp_path / "wrong.tsv").write_text("animal_0\teats\tanimal_1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    files = ("--train", zoo / "train.tsv", "--valid", zoo / "valid.tsv", "--test", zoo / "test.tsv")
    done = audit(
        *files, "--sampler", "turning_samplers:turned:by=0", "--verified", "wrong.tsv", "--negatives", 5, "--seed", 3,
        "--reference", "complex", "--reference-dim", 4, "--examples", 2, *SMALL, "--out", "out",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    found = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert (found["settings"]["negatives"], found["settings"]["seed"]) == (5, 3)
    assert (found["reference"]["model"], found["reference"]["dim"]) == ("complex", 4)
    assert found["samplers"][1]["sampler"]["options"] == {"by": 0}
    assert found["samplers"][1]["verified"]["targets"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "nations", "--sampler", "lemmon"), "unknown sampler 'lemmon'; known: lemon"),
        (("--dataset", "nations", "--sampler", "lemon:encodr=x"), "'encodr'; known: encoder"),
        (("--dataset", "nations", "--sampler", "no_module:Thing"), "cannot import no_module"),
        (("--dataset", "nations", "--sampler", "basic", "--sampler", "basic"), "samplers must differ"),
        (
            ("--dataset", "nations", "--sampler", "basic", "--reference", "trnse"),
            "unknown model 'trnse'; known: transe",
        ),
        (("--dataset", "natons", "--sampler", "basic"), "unknown dataset 'natons'; known: nations"),
        (("--sampler", "basic"), "give a dataset, or at least a train and a test file"),
        (("--dataset", "nations"), "Missing option '--sampler'"),
        (("--dataset", "nations", "--sampler", "basic", "--draws", "0"), "draws must be at least 1"),
        (("--dataset", "nations", "--sampler", "basic", "--encoder", "lexical"), "encoder would have no effect"),
    ],
)
def test_refusals(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = audit(*arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert message in done.stderr.splitlines()[-1]


def test_failures_are_one_line(zoo: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out", *SMALL)
    cases = {
        ("--dataset", "nations", "--sampler", "lemon", "--texts", tmp_path / "none"): "is no file",
        ("--dataset", "nations", "--sampler", "lemon:dim=-1"): "sampler lemon:dim=-1: ",
        ("--dataset", zoo, "--sampler", "basic", "--verified", tmp_path / "none"): "no such file",
    }
    for arguments, message in cases.items():
        done = audit(*arguments, *out)
        assert done.exit_code == 1, arguments
        assert done.stdout == ""
        assert done.stderr.startswith("Error: ")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr


def test_output_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x", encoding="utf-8")
    done = audit("--dataset", "nations", "--sampler", "basic", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "is a file, expected a folder" in done.stderr
