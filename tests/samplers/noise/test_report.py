from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.samplers.noise import ACTIONS, ExpectedCount, Labelling, NoiseReport, score_detection
from kgneg.samplers.noise.report import Policy
from kgneg.samplers.noise.rows import NoiseRows
from kgneg.samplers.noise.scores import wilson_interval

# rows 0 to 3 are positives (3 is weak), 4 to 9 negatives
LABELS = ["a", "a", "b", "b", *["none"] * 6]
SCORE = [0.0, 0.0, 0.0, 0.0, 0.9, 0.8, 0.5, 0.2, 0.05, 0.0]
SUPPORT = [0.9, 0.8, 0.7, 0.1, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
EVIDENCE = [[1, 2], [0, 2], [3, 0], [2, 0], [0, 1], [0, 2], [3, 3], [2, 3], [1, -1], [-1, -1]]
COSINE = [
    [0.9, 0.5],
    [0.9, 0.5],
    [0.8, 0.3],
    [0.8, 0.3],
    [0.9, 0.6],
    [0.6, 0.3],
    [0.9, 0.8],
    [0.4, 0.9],
    [-0.2, 0],
    [0, 0],
]
KINDS = ["x", "x", "y", "y", "x", "y", "x", "x", "x", "x"]


def build(
    *, flag: str | float = 0.5, eliminate: float | None = None, reannotate: bool = False, **changes: Any
) -> NoiseReport:
    rows = NoiseRows.check(
        torch.eye(10),
        LABELS,
        negative_label="none",
        least_positives=1,
        ids=list("ABCDEFGHIJ"),
        **changes.pop("rows", {}),
    )
    evidence = torch.tensor(EVIDENCE, dtype=torch.int32)
    settings = {
        "mode": "intrinsic",
        "score": torch.tensor(SCORE),
        "support": torch.tensor(SUPPORT),
        "evidence": evidence,
        "cosine": torch.tensor(COSINE).masked_fill(evidence < 0, -torch.inf),
        "expected_fn": ExpectedCount(2.45, 1.0, 4.0),
        "labelling": Labelling(0.5, 0.8),
        "recall": 0.97,
        "floor": 0.4,
        "policy": Policy.check(flag=flag, eliminate=eliminate, reannotate=reannotate),
    }
    return NoiseReport.build(rows=rows, **{**settings, **changes})


def actions(report: NoiseReport) -> str:
    """Spell actions: keep, eliminate, relabel (A for reannotate), review."""
    return "".join({"keep": "k", "eliminate": "e", "reannotate": "A", "review": "r"}[ACTIONS[a]] for a in report.action)


def test_suggestions_by_hand() -> None:
    """Row 3 is weak and lends no label; cosines below 0 and places without a neighbour count nothing."""
    report = build()
    assert report.classes == ("none", "a", "b")
    assert report.weak.tolist() == [False, False, False, True, *[False] * 6]
    assert report.suggestion.tolist() == [1, 1, 1, 2, 1, 1, -1, 2, -1, -1]
    expected = [0.9 / 1.4, 0.9 / 1.4, 1, 0.8 / 1.1, 1, 0.6 / 0.9, 0, 1, 0, 0]
    assert report.suggestion_conf.tolist() == pytest.approx(expected, abs=1e-6)
    assert build(floor=0.0).suggestion.tolist() == [1, 1, 2, 2, 1, 1, 2, 2, -1, -1]
    assert build(floor=0.0).weak.sum() == 0


def test_weak_positives_lend_nothing() -> None:
    strict = build(floor=0.75)
    assert strict.weak.tolist() == [False, False, True, True, *[False] * 6]
    assert (strict.suggestion == 2).sum() == 0
    assert actions(strict)[:4] == "kkrr"


def test_actions() -> None:
    assert actions(build()) == "kkkreeekkk"
    assert actions(build(flag=0.2)) == "kkkreeeekk"
    assert actions(build(flag=0.0)) == "kkkreeeeek"  # a row that is surely negative is never flagged
    assert actions(build(flag=1.0)) == "kkkrkkkkkk"
    assert actions(build(flag=0.2, eliminate=0.6)) == "kkkreerrkk"
    assert actions(build(eliminate=0.0)) == "kkkreeekkk"
    assert actions(build(eliminate=1.0)) == "kkkrrrrkkk"


def test_relabelling_needs_agreement() -> None:
    """Rows 4 and 7 agree, row 5 just does (two thirds), nobody lends a label to row 6."""
    assert actions(build(flag=0.2, reannotate=True)) == "kkkrAAeAkk"
    split = torch.tensor(COSINE)
    split[5] = torch.tensor([0.59, 0.31])
    assert actions(build(flag=0.2, reannotate=True, cosine=split)) == "kkkrAeeAkk"
    assert actions(build(flag=0.2, reannotate=True, eliminate=0.6)) == "kkkrAArrkk"
    assert "A" not in actions(build(flag=0.2))


def test_relabelling_needs_a_label_that_occurs_with_the_types() -> None:
    """``a`` occurs with x only, ``b`` with y only: rows 5 (y, a) and 7 (x, b) do not fit."""
    report = build(flag=0.2, reannotate=True, rows={"types": KINDS})
    assert actions(report) == "kkkrAeeekk"
    assert report.fits.tolist()[4:8:1] == [True, False, False, False]
    both = build(flag=0.2, reannotate=True, rows={"types": {"all": ["z"] * 10, "kind": KINDS}})
    assert actions(both) == "kkkrAeeekk"


def test_corrected() -> None:
    report = build(flag=0.2, reannotate=True)
    assert report.corrected() == ["a", "a", "b", "b", "a", "a", None, "b", "none", "none"]
    assert report.keep.tolist() == [True] * 6 + [False] + [True] * 3
    assert build(flag=1.0).corrected() == LABELS
    assert build(flag=0.5).corrected() == [*LABELS[:4], None, None, None, "none", "none", "none"]


def test_rethreshold() -> None:
    report = build()
    before = report.action.clone()
    other = report.rethreshold(0.2, eliminate=0.85, reannotate=True)
    assert actions(other) == "kkkrArrrkk"
    assert other.threshold == 0.2 and other.policy == Policy(0.2, 0.85, True)
    assert torch.equal(report.action, before) and report.threshold == 0.5
    # F1 of 1 to 5 rows, expected total 2.45: .52, .80, .81, .74, .66
    best = report.rethreshold()
    assert best.threshold == pytest.approx(0.5) and actions(best) == "kkkreeekkk"
    assert actions(other.rethreshold(0.5)) == actions(report)
    for change in ({"flag": 1.5}, {"flag": "f2"}, {"flag": True}, {"eliminate": -0.1}, {"flag": math.nan}):
        with pytest.raises(InvalidInputError, match=r"must be"):
            report.rethreshold(**change)  # type: ignore[arg-type]


def test_curve() -> None:
    """The six negatives, the most probable first."""
    curve = build().curve
    assert [point.flagged for point in curve] == [1, 2, 3, 4, 5, 6]
    assert [point.level for point in curve] == pytest.approx([0.9, 0.8, 0.5, 0.2, 0.05, 0.0])
    sums = [0.9, 1.7, 2.2, 2.4, 2.45, 2.45]
    assert [point.precision for point in curve] == pytest.approx([s / k for k, s in enumerate(sums, 1)])
    assert [point.recall for point in curve] == pytest.approx([s / 2.45 for s in sums])
    nothing = replace(build(), score=torch.zeros(10)).curve
    assert nothing[-1].recall == 0 and nothing[-1].precision == 0


def test_table() -> None:
    report = build(flag=0.2, reannotate=True)
    table = report.table()
    assert list(table["id"]) == list("ABCDEFGHIJ")
    assert list(table["label"]) == LABELS
    assert list(table["action"])[3:8] == ["review", "reannotate", "reannotate", "eliminate", "reannotate"]
    assert table["suggestion"].fillna("-").tolist() == ["a", "a", "a", "b", "a", "a", "-", "b", "-", "-"]
    assert list(table["evidence"])[6:] == [["D", "D"], ["C", "D"], ["B"], []]
    assert table["score"].tolist() == pytest.approx(SCORE) and table["support"].tolist() == pytest.approx(SUPPORT)
    assert table["suggestion_conf"][5] == pytest.approx(2 / 3)


def test_summary_is_json() -> None:
    summary = build(flag=0.2, reannotate=True).summary()
    assert json.loads(json.dumps(summary)) == summary
    assert summary["rows"] == 10 and summary["negatives"] == 6 and summary["flagged"] == 4
    assert summary["actions"] == {"keep": 5, "eliminate": 1, "reannotate": 3, "review": 1}
    assert summary["expected_precision"] == pytest.approx(2.4 / 4)
    assert summary["expected_false_negatives"] == {"value": 2.45, "low": 1.0, "high": 4.0}
    assert build(flag=1.0).summary()["expected_precision"] is None


def test_evaluate() -> None:
    """Of the negatives 4, 6 and 8 are really positive: ranks 1, 3 and 5; three are flagged, two rightly."""
    report = build()
    gold = [True] * 4 + [True, False, True, False, True, False]
    scores = report.evaluate(gold)
    assert scores.average_precision == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert scores.auc == pytest.approx((3 + 2 + 1) / 9)
    assert (scores.gold, scores.flagged) == (3, 3)
    assert scores[6:] == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert scores.precision_at_100 == scores.precision_at_500 == 0.5
    for kind in (np.array, torch.tensor):
        assert report.evaluate(kind(gold)) == scores
    some = report.evaluate(gold, torch.arange(10) < 6)  # rows 4 and 5
    assert (some.gold, some.flagged, some.precision, some.recall) == (1, 2, 0.5, 1.0)
    nobody = report.evaluate(gold, torch.zeros(10, dtype=torch.bool))
    assert math.isnan(nobody.auc) and math.isnan(nobody.precision_at_100) and nobody.f1 == 0
    with pytest.raises(InvalidInputError, match="one value per row"):
        report.evaluate(gold[:9])
    for rows in (torch.arange(6), torch.tensor([4, 5]), torch.ones(9, dtype=torch.bool)):
        with pytest.raises(InvalidInputError, match="rows must be a mask"):
            report.evaluate(gold, rows)


def test_scores_of_a_set() -> None:
    truth = np.arange(600) % 3 == 0
    scores = score_detection(-np.arange(600.0), truth, np.arange(600) < 150)
    assert (scores.precision_at_100, scores.precision_at_500) == (0.34, 167 / 500)
    assert (scores.precision, scores.recall) == (50 / 150, 50 / 200)
    assert scores.f1 == pytest.approx(2 * 50 / 350)
    assert math.isnan(score_detection(np.ones(3), np.ones(3, dtype=bool), np.ones(3, dtype=bool)).auc)


def test_review_sample() -> None:
    report = build(flag=0.05)
    sample = report.review_sample(3, seed=1)
    assert len(sample) == len(set(sample.tolist())) == 3
    assert report.flagged[sample].all()
    assert torch.equal(sample, report.review_sample(3, seed=1))
    assert sorted(report.review_sample().tolist()) == [4, 5, 6, 7, 8]
    drawn = [tuple(report.review_sample(1, seed=seed).tolist()) for seed in range(60)]
    assert set(drawn) == {(4,), (5,), (6,), (7,), (8,)}
    with pytest.raises(InvalidInputError, match="size must be at least 1"):
        report.review_sample(0)


def test_reviewed_precision() -> None:
    """Wilson's interval of 8 of 10, as the formula gives it with pencil and paper."""
    assert NoiseReport.reviewed_precision([True] * 8 + [False] * 2) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 5)[:2] == (0, 0) and wilson_interval(5, 5)[2] == 1
    with pytest.raises(InvalidInputError, match="no verdicts"):
        NoiseReport.reviewed_precision([])


def test_clean_rows_tell_their_label() -> None:
    """Row 6 is known to be ``b``, and row 5 to be negative; row 2 is known and therefore never weak."""
    clean = [None, None, "b", None, None, "none", "b", None, None, None]
    score = torch.tensor(SCORE)
    score[5], score[6] = 0.0, 1.0
    report = build(
        mode="extrinsic",
        score=score,
        flag=0.5,
        reannotate=True,
        floor=0.75,
        rows={"clean_labels": clean, "types": KINDS},
    )
    assert report.weak.tolist() == [False, False, False, True, *[False] * 6]
    assert report.suggestion[6] == 2 and report.suggestion_conf[6] == 1
    assert actions(report) == "kkkrAkAkkk"
    assert report.corrected()[6] == "b"


def test_many_labels() -> None:
    """Votes are counted in blocks."""
    number = 5001
    labels = [f"label {row}" for row in range(number - 1)] + ["none"]
    rows = NoiseRows.check(torch.ones(number, 1), labels, negative_label="none", least_positives=1)
    evidence = torch.arange(number, dtype=torch.int32).roll(1)[:, None]
    report = NoiseReport.build(
        rows=rows,
        mode="intrinsic",
        score=torch.zeros(number),
        support=torch.ones(number),
        evidence=evidence,
        cosine=torch.ones(number, 1),
        expected_fn=ExpectedCount(0, 0, 0),
        labelling=Labelling(0.5, 0.5),
        recall=1.0,
        floor=0.0,
        policy=Policy(),
    )
    expected = rows.codes[evidence.squeeze(1).long()]
    assert torch.equal(report.suggestion[1:], expected[1:])
    assert report.suggestion[0] == -1 or report.suggestion[0] == 0
