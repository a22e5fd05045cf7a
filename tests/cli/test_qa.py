"""``kgneg qa``."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kgneg import datasets
from kgneg.cli import main

ROWS = """John bakes bread\txWant\tto eat it
John bakes bread\txWant\tto sell loaves
John bakes bread\txAttr\tskilled
John leads the team\txWant\tto manage staff
John leads the team\txAttr\tstrong
John leads the team\toReact\tnone
John calls Tom\txWant\tto talk
John calls Tom\txAttr\tlonely
"""

needs_atomic = pytest.mark.skipif(not hasattr(datasets, "read_atomic"), reason="there is no reader of ATOMIC")


@pytest.fixture
def kb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "home"))
    path = tmp_path / "atomic.tsv"
    path.write_text(ROWS, encoding="utf-8")
    return path


@pytest.fixture
def csqa(tmp_path: Path) -> Path:
    folder = tmp_path / "dev"
    folder.mkdir()
    choices = [{"label": "A", "text": "bread baker"}, {"label": "B", "text": "zoo"}]
    row = {"id": "a", "answerKey": "A", "question": {"stem": "bake bread", "choices": choices}}
    path = folder / "commonsenseqa_dev.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(row).encode()))
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    rows = [
        {"question": "Kim will weld metal and wanted to", "choices": ["join steel", "bake bread"], "label": 0},
        {"question": "Kim will bake bread and wanted to", "choices": ["join steel", "make loaves"], "label": 1},
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def qa(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["qa", *map(str, arguments)])


def done(*arguments: Any) -> Result:
    result = qa(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


@needs_atomic
def test_build(kb: Path, tmp_path: Path) -> None:
    out = tmp_path / "q.jsonl"
    common = ("--distractors", "random", "--n", 2, "--alias", "John=PersonX", "--alias", "Tom=PersonY", "--quiet")
    result = done("build", kb, "--out", out, *common)
    assert "questions: 7" in result.stderr and f"the questions are in {out}" in result.stderr
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 7 and all(len(row["choices"]) == 3 and "John" not in row["question"] for row in rows)
    first = out.read_bytes()
    done("build", kb, "--out", out, *common)
    assert out.read_bytes() == first
    done("build", kb, "--out", out, *common, "--no-names", "--limit", 3)
    text = out.read_text(encoding="utf-8")
    assert text.count("\n") == 3 and "PersonX" in text


def test_build_from_a_graph(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "home"))
    words = tmp_path / "own.json"
    entries = {"eats": {"question": "What {head} eats is"}, "fears": {"question": "What {head} fears is"}}
    words.write_text(json.dumps(entries), encoding="utf-8")
    out = tmp_path / "q.jsonl"
    common = ("--distractors", "random", "--n", 1, "--out", out, "--quiet")
    failed = qa("build", zoo, "--templates", words, *common, "--missing-text", "label")
    assert failed.exit_code == 2 and "no triple that makes a question" in failed.stderr  # all share a word
    failed = qa("build", zoo, "--templates", "conceptnet", "--format", "graph", *common)
    assert failed.exit_code == 2 and "no template for the relation 'eats'" in failed.stderr


@needs_atomic
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--alias", "John"), "expected NAME=PERSON, each name once"),
        (("--alias", "John=X"), "the alias 'John' stands for 'X'"),
        (("--distractors", "random", "--budget", 0.1), "have no option 'budget'"),
        (("--templates", "conceptnet", "--format", "atomic"), "no template for the relation"),
        (("--templates", "none.json", "--format", "atomic"), "there is no file none.json"),
        (("--n", 0), "n must be at least 1"),
        (("--split", "valid"), "has no valid triples"),
    ],
)
def test_build_refuses(arguments: tuple[Any, ...], message: str, kb: Path, tmp_path: Path) -> None:
    chosen = arguments if "--distractors" in arguments else (*arguments, "--distractors", "random")
    result = qa("build", kb, "--out", tmp_path / "q.jsonl", *chosen)
    assert result.exit_code == 2 and message in " ".join(result.stderr.split()), result.stderr
    assert not (tmp_path / "q.jsonl").exists()


def test_train_and_evaluate(questions: Path, csqa: Path, tiny_encoder: str, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    out, page = tmp_path / "s", tmp_path / "page.html"
    common = ("--encoder", tiny_encoder, "--steps", 20, "--batch-size", 2, "--lr", 0.005, "--quiet")
    assert f"the scorer is in {out}" in done("train", questions, "--out", out, *common).stderr
    on = ("--on", f"questions={questions}", "--on", csqa.parent, "--quiet")
    found = json.loads(done("evaluate", out, *on, "--format", "json", "--report", page).stdout)
    assert found["sets"]["questions"]["accuracy"] == 1.0 and found["sets"]["csqa"]["size"] == 1
    assert "How it was trained" in page.read_text(encoding="utf-8")
    refused = qa("evaluate", out, *on, "--pairing", "answer")
    assert refused.exit_code == 2 and "leave --pairing out" in refused.stderr
    refused = qa("train", questions, "--out", out, *common, "--margin", 2)
    assert refused.exit_code == 2 and "trained otherwise" in refused.stderr


def test_evaluate_as_it_is(csqa: Path, kb: Path) -> None:
    text = done("evaluate", "lexical", "--on", f"csqa={csqa}", "--quiet").stdout
    assert text.splitlines()[0].split() == ["set", "questions", "accuracy", "interval", "chance"] and "100.0" in text
    marked = done("evaluate", "lexical", "--on", csqa.parent, "--pairing", "statement", "--format", "markdown").stdout
    assert marked.startswith("| set | questions |")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give at least one benchmark"),
        (("--on", "squad=x.jsonl"), "there is no folder squad=x.jsonl"),
        (("--on", "csqa=none.jsonl"), "there is no file none.jsonl"),
        (("--on", "csqa=a", "--on", "csqa=b"), "csqa is there twice"),
        (("--on", "csqa=a", "--scorer", "masked", "--pairing", "answer"), "--pairing is for bi-encoders"),
    ],
)
def test_evaluate_refuses(arguments: tuple[str, ...], message: str) -> None:
    result = qa("evaluate", "lexical", *arguments)
    assert result.exit_code == 2 and message in " ".join(result.stderr.split()), result.stderr


@needs_atomic
def test_no_question_is_no_success(kb: Path, tmp_path: Path) -> None:
    out = tmp_path / "none.jsonl"
    done = CliRunner().invoke(main, ["qa", "build", str(kb), "--n", "50", "--out", str(out), "--quiet"])
    assert done.exit_code != 0
    assert "no question has 50 different distractors" in done.output
    assert not out.exists()
