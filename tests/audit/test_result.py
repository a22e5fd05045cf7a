from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from kgneg.audit import AuditData, AuditResult, AuditSettings, audit
from kgneg.report import render_text

LABELS = ["kgneg-uniform", "bernoulli:filtered=true", '<typed> & "co"']


@pytest.fixture(scope="module")
def result(nations: AuditData) -> AuditResult:
    settings = AuditSettings(
        dataset="nations", samplers=(LABELS[1], (LABELS[2], "typed")), draws=4000, reference_epochs=2, examples=3
    )
    return audit(settings, data=nations, progress=False)


def test_files(result: AuditResult, tmp_path: Path) -> None:
    written = result.write(tmp_path / "out")
    names = ["relations.csv", "report.html", "results.csv", "results.json", "timings.json"]
    assert sorted(written) == names == sorted(path.name for path in (tmp_path / "out").iterdir())
    found = json.loads(written["results.json"].read_text(encoding="utf-8"))
    assert found == result.to_dict()
    assert json.loads(written["timings.json"].read_text(encoding="utf-8")) == result.timings
    assert set(result.timings["samplers"]) == set(LABELS)
    assert all(one["negatives_per_second"] > 0 for one in result.timings["samplers"].values())


def test_results_have_no_seconds(result: AuditResult) -> None:
    assert not re.search(r"second|timing|/tmp|20\d\d-", json.dumps(result.to_dict()))
    assert "second" not in result.to_csv()


def test_csv(result: AuditResult) -> None:
    rows = list(csv.DictReader(io.StringIO(result.to_csv())))
    assert [row["sampler"] for row in rows] == LABELS
    for row, found in zip(rows, result.samplers, strict=True):
        assert float(row["held_out"]) == found["rates"]["held_out"]["share"]
        assert float(row["held_out_high"]) == found["rates"]["held_out"]["high"]
        assert float(row["hard"]) == found["hardness"]["hard"]["share"]
        assert float(row["head"]) == found["sides"]["head"]
        assert row["verified_lift"] == ""
    lines = list(csv.DictReader(io.StringIO(result.relations_csv())))
    assert {line["sampler"] for line in lines} == set(LABELS)
    assert sum(int(line["kept"]) for line in lines) == sum(row["counts"]["kept"] for row in result.samplers)


def test_table(result: AuditResult) -> None:
    table = result.table()
    assert [row[0] for row in table.rows] == LABELS
    assert {term for term, _ in table.notes} == set(table.columns) - {"sampler"}
    assert max(map(len, render_text(table).splitlines())) < 160


def test_report(result: AuditResult) -> None:
    html = result.to_html()
    assert html == result.to_html()
    assert "&lt;typed&gt; &amp; &#34;co&#34;" in html
    assert "<typed>" not in html
    assert not re.search(r"(src|href)=\"(?!#)", html)
    assert set(re.findall(r"https?://[^\"\s<]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert html.count("<svg") == 3
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    words = result.samplers[2]["examples"]["held_out"][0]["words"]
    assert all(word in html for word in words)
    for title in ("False negatives", "Hardness", "Relations", "The worst negatives in words"):
        assert title in html
    assert "Verified negatives" not in html


def test_a_sampler_by_label(result: AuditResult) -> None:
    assert result.sampler(LABELS[1])["asked"]
    assert not result.sampler("kgneg-uniform")["asked"]
    with pytest.raises(KeyError):
        result.sampler("none")


def test_shares_are_shares(result: AuditResult) -> None:
    def check(value: Any) -> None:
        if isinstance(value, dict):
            if {"share", "low", "high"} <= set(value) and value["share"] is not None:
                assert 0 <= value["low"] <= value["share"] <= value["high"] <= 1
            for inner in value.values():
                check(inner)

    for row in result.samplers:
        check(row)
        assert sum(row["sides"].values()) == pytest.approx(1.0, abs=1e-5)
