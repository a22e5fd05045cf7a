from __future__ import annotations

import csv
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kgneg.cleaning import Cleaning, CleaningSettings, fit_cleaning
from kgneg.cleaning.gold import Gold
from kgneg.core.errors import InvalidInputError
from kgneg.samplers.noise.report import Policy

PAIRS = 120


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file of documents with two pairs each; every third has a label."""

    def mention(place: int) -> list[dict[str, Any]]:
        return [{"sent_id": 0, "pos": [place, place + 1], "type": "P"}]

    found = [
        {
            "title": f"a#{number}",
            "sents": [["Ann", "met" if number % 3 else "loves", "Bob", f"in {number}"]],
            "vertexSet": [mention(0), mention(2)],
            "labels": [{"h": 0, "t": 1, "r": "P1"}] if number % 3 == 0 else [],
        }
        for number in range(PAIRS // 2)
    ]
    path = tmp_path_factory.mktemp("documents") / "dev.json"
    path.write_text(json.dumps(found), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def found(documents: Path) -> Cleaning:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kgneg.samplers.noise.probe._STEPS", (10, 10))
        result = fit_cleaning(CleaningSettings(str(documents), encoder="lexical", k=5), progress=False)
    # a score for each row that says which one it is, whatever was learnt
    report = result.report
    score = torch.where(report.negative, torch.arange(PAIRS) / (2 * PAIRS), 0.0)
    changed = replace(
        report,
        score=score,
        suggestion=torch.ones_like(report.suggestion),
        suggestion_conf=torch.ones_like(score),
        fits=torch.arange(PAIRS) % 4 == 2,
        policy=Policy(flag=0.4),
        weak=torch.arange(PAIRS) == 0,
    )
    return replace(result, report=changed.rethreshold(0.4))


def test_folder(found: Cleaning, tmp_path: Path) -> None:
    paths = found.write(tmp_path)
    assert sorted(paths) == sorted(found.FILES) == sorted(path.name for path in tmp_path.iterdir())
    again = Cleaning.read(tmp_path)
    for field in fields(Cleaning):
        if field.name != "report":
            assert getattr(again, field.name) == getattr(found, field.name)
    assert again.to_html() == found.to_html() == paths["report.html"].read_text(encoding="utf-8")
    (tmp_path / "input.json").unlink()
    with pytest.raises(InvalidInputError, match="no complete fit"):
        Cleaning.read(tmp_path)


def test_an_interrupted_write_is_no_fit(found: Cleaning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found.write(tmp_path)

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Cleaning, "write_page", fail)
    with pytest.raises(KeyboardInterrupt):
        found.write(tmp_path)
    with pytest.raises(InvalidInputError, match="no complete fit"):
        Cleaning.read(tmp_path)


def test_documents(found: Cleaning, documents: Path, tmp_path: Path) -> None:
    out = tmp_path / "clean.json"
    counts = found.apply(documents, out, reannotate=True)
    flagged = [row for row in range(96, PAIRS) if bool(found.report.negative[row])]
    new = [row for row in flagged if row % 4 == 2]
    assert counts.reannotated == len(new) > 0
    assert counts.eliminated == len(flagged) - len(new)
    assert (counts.review, counts.kept) == (1, PAIRS - len(flagged) - 1)
    assert counts.written == PAIRS - counts.eliminated
    before, after = json.loads(documents.read_text(encoding="utf-8")), json.loads(out.read_text(encoding="utf-8"))
    for row in new:  # pairs 0-1 and 1-0 of each document, one after the other
        before[row // 2]["labels"].append({"h": row % 2, "t": 1 - row % 2, "r": "P1", "evidence": []})
    assert after == before
    with (tmp_path / "clean.ignored.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    gone = [row for row in flagged if row not in new]
    assert [(int(one["document"]), int(one["h"]), int(one["t"])) for one in listed] == [
        (row // 2, row % 2, 1 - row % 2) for row in gone
    ]
    assert {one["title"] for one in listed} == {f"a#{row // 2}" for row in gone}
    assert {one["action"] for one in listed} == {"eliminate"}


def test_review_is_kept_or_dropped(found: Cleaning, documents: Path, tmp_path: Path) -> None:
    kept = found.apply(documents, tmp_path / "a.json", eliminate=0.45)
    dropped = found.apply(documents, tmp_path / "b.json", eliminate=0.45, keep_review=False)
    assert (kept.eliminated, kept.review) == (dropped.eliminated, dropped.review)
    assert kept.written == PAIRS - kept.eliminated
    assert dropped.written == kept.written - (kept.review - 1)  # the doubtful positive stays


def test_gold(found: Cleaning) -> None:
    report = found.report
    truth: list[str | None] = ["P1" if row % 2 else "NA" for row in range(PAIRS)]
    truth[-20:] = [None] * 20
    gold = Gold(report, tuple(truth))
    rows = [row for row in range(PAIRS - 20) if bool(report.negative[row])]
    assert gold.known.nonzero().squeeze(-1).tolist() == rows
    (level,) = gold.curve([0.2])
    above = [row for row in rows if row >= 48]
    hits = sum(row % 2 for row in above)
    assert level.flagged == len(above)
    assert level.precision == pytest.approx(hits / len(above))
    assert level.recall == pytest.approx(hits / sum(row % 2 for row in rows))
    assert gold.curve([1.0])[0].precision is None
    flagged = [row for row in rows if row >= 96]
    assert gold.suggested() == (sum(row % 2 for row in flagged), sum(row % 2 for row in flagged))
    assert "real recall, %" in found.to_html(gold)
    nothing = Gold(report, tuple(None if label is None else "NA" for label in truth))
    assert "real recall, %" in found.to_html(nothing)


def test_nothing_found(found: Cleaning, tmp_path: Path) -> None:
    """No flag, no evidence, no suggestion: the page and the list are there all the same."""
    report = found.report
    empty = replace(
        report,
        score=torch.zeros_like(report.score),
        weak=torch.zeros_like(report.weak),
        suggestion=torch.full_like(report.suggestion, -1),
        evidence=torch.full_like(report.evidence, -1),
    ).rethreshold("f1")
    paths = replace(found, report=empty, texts=None, groups=None, types={}).write(tmp_path)
    assert paths["review.jsonl"].read_text(encoding="utf-8") == ""
    assert "All 0 rows" in paths["report.html"].read_text(encoding="utf-8")
    again = Cleaning.read(tmp_path)
    assert (again.texts, again.groups, again.types) == (None, None, {})
    assert again.text(3) == str(report.ids[3])
