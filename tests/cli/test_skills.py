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
