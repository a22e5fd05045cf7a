"""``kgneg skills``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kgneg.cli import main

SKOS = """@prefix skos: <http://www.w3.org/2004/02/skos/core#> . @prefix : <http://e/> .
:weld a :Skill ; skos:prefLabel "weld metal"@en ; skos:altLabel "metal welding"@en ; skos:broader :metal .
:cut a :Skill ; skos:prefLabel "cut metal"@en ; skos:broader :metal .
:bake a :Skill ; skos:prefLabel "bake bread"@en ; skos:altLabel "metal welding"@en ; skos:broader :food .
:metal skos:prefLabel "working with metal"@en . :food skos:prefLabel "food"@en .
"""


@pytest.fixture
def taxonomy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "home"))
    path = tmp_path / "skills.ttl"
    path.write_text(SKOS, encoding="utf-8")
    return path


def skills(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["skills", *map(str, arguments)])


def done(*arguments: Any) -> Result:
    result = skills(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def test_match(taxonomy: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("You weld metal.\nMetal welding and more\n", encoding="utf-8")
    found = done("match", taxonomy, texts, "--kind", "Skill")
    rows = list(csv.DictReader(io.StringIO(found.stdout)))
    assert [(one["line"], one["start"], one["text"], one["label"]) for one in rows] == [
        ("1", "4", "weld metal", "weld metal"),
        ("2", "0", "Metal welding", "bake bread"),
        ("2", "0", "Metal welding", "weld metal"),
    ]
    assert "1 labels belong to several concepts, such as metal welding" in found.stderr


def test_predict(taxonomy: Path, tmp_path: Path) -> None:
    common = ("--encoder", "lexical", "--quiet", "--k", 2)
    found = done("predict", taxonomy, "--text", "we bake bread", *common)
    first, second = map(json.loads, found.stdout.splitlines())
    assert (first["label"], first["mention"], first["rank"]) == ("bake bread", "bake bread", 1)
    assert second["mention"] is None and first["score"] > second["score"]
    ad = tmp_path / "ad.txt"
    ad.write_text("We need you!\n- weld metals\n- bake bread\n", encoding="utf-8")
    found = done("predict", taxonomy, ad, "--ad", "--format", "csv", "--kind", "Skill", *common)
    rows = list(csv.DictReader(io.StringIO(found.stdout)))
    assert {(one["text"], one["label"]) for one in rows} == {
        ("weld metals", "weld metal"), ("bake bread", "bake bread"),
    }  # fmt: skip
    lines = done("predict", taxonomy, ad, *common).stdout.splitlines()
    assert len(lines) == 6


def test_evaluate(taxonomy: Path, tmp_path: Path) -> None:
    gold = tmp_path / "gold.csv"
    gold.write_text("sentence,label\nwe weld metals,weld metal\nbake bread,bake bread\nx,NONE\n", encoding="utf-8")
    found = done("evaluate", taxonomy, gold, "--encoder", "lexical", "--quiet")
    rows = {one[0].strip(): one[1:] for one in (line.rsplit(maxsplit=4) for line in found.stdout.splitlines()[2:])}
    assert rows["all"] == ["1.000", "100.00", "100.00", "100.00"]
    assert float(rows["mentions alone"][0]) < 1
    assert "2 texts, 1 without a right concept" in found.stderr and "most often 'NONE'" in found.stderr


def test_report(taxonomy: Path, tmp_path: Path) -> None:
    gold = tmp_path / "gold.csv"
    gold.write_text("sentence,label\nwe weld metals,weld metal\nwe cut metals,bake bread\n", encoding="utf-8")
    page = tmp_path / "mistakes.html"
    found = done("evaluate", taxonomy, gold, "--encoder", "lexical", "--quiet", "--report", page)
    assert "the mistakes are in" in found.stderr
    text = page.read_text(encoding="utf-8")
    assert "Mistakes in gold.csv" in text and "we cut metals" in text and "sibling" in text


def test_train(taxonomy: Path, tmp_path: Path, tiny_encoder: str) -> None:
    gold, test = tmp_path / "gold.csv", tmp_path / "test.csv"
    gold.write_text("sentence,label\njoin pieces of steel,weld metal\nhot oven,bake bread\nx,NONE\n", encoding="utf-8")
    test.write_text("sentence,label\nHot oven!,bake bread\n", encoding="utf-8")
    sentences = tmp_path / "ads.txt"
    sentences.write_text("We cut metal here\nNothing\n", encoding="utf-8")
    arguments = [
        "train", taxonomy, "--kind", "Skill", "--gold", gold, "--hold-out", test, "--sentences", sentences,
        "--encoder", tiny_encoder, "--steps", 3, "--layers", 0, "--batch-size", 2, "--quiet",
        "--strategy", "sibling=1", "--strategy", "random=2",
    ]  # fmt: skip
    found = done(*arguments, "--out", tmp_path / "ranker")
    assert "3 texts with 4 concepts, 3 of 3 different ones" in found.stderr, found.stderr
    for line in ("left out: 1 nothing mentioned", "left out: 1 held out", "left out: 1 unknown label"):
        assert line in found.stderr
    ranked = done("predict", tmp_path / "ranker", "--text", "join steel", "--k", 3, "--quiet").stdout.splitlines()
    assert {json.loads(line)["label"] for line in ranked} == {"weld metal", "cut metal", "bake bread"}
    figures = done("evaluate", tmp_path / "ranker", gold, "--quiet", "--bonus", 0)
    assert "without mentions" not in figures.stdout and "2 texts, 1 without a right concept" in figures.stderr
    long = tmp_path / "long.txt"
    long.write_text("steel " * 60 + "\n", encoding="utf-8")
    assert "1 of 1 texts are longer than the encoder reads" in done("predict", tmp_path / "ranker", long).stderr
    assert "weld metal" in done("match", tmp_path / "ranker", gold).stdout
    wrong = skills("predict", tmp_path / "ranker", "--text", "a", "--encoder", "lexical")
    assert wrong.exit_code == 2 and "leave --encoder out" in wrong.stderr
    for arguments_of, message in (
        (["--strategy", "sibling"], "expected a NAME=COUNT"),
        (["--strategy", "siblings=2"], "sibling"),
        (["--steps", "0"], "steps"),
    ):
        wrong = skills(*arguments[:-4], *arguments_of, "--out", tmp_path / "other")
        assert wrong.exit_code == 2 and message in wrong.stderr, wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict", "{taxonomy}"), "give a FILE or --text"),
        (("predict", "{taxonomy}", "--text", "a", "--kind", "topic"), "the kinds of 'skills' are Skill"),
        (("predict", "none.ttl", "--text", "a"), "none.ttl"),
        (("predict", "{taxonomy}", "--text", "a", "--k", 0, "--encoder", "lexical", "--quiet"), "k must"),
        (("match", "{taxonomy}", "none.txt"), "none.txt"),
    ],
)
def test_refusals(arguments: tuple[Any, ...], message: str, taxonomy: Path) -> None:
    found = skills(*(str(one).format(taxonomy=taxonomy) for one in arguments))
    assert found.exit_code == 2 and message in found.stderr
