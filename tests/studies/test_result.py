from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from kgneg.report import render_html
from kgneg.report.plots import colour
from kgneg.studies import StorageAddress, StudyResult, StudySettings
from kgneg.studies.page import build_report, draw

METRICS = {"mrr": 0.1, "hits_at_1": 0.0, "hits_at_3": 0.1, "hits_at_10": 0.5}


def result_of(path: Path, rows: list[tuple[str, float, float | None, str]], **attributes: Any) -> StudyResult:
    """Make a study from states, seconds, scores and samplers."""
    address = StorageAddress.parse(str(path / "study.log"))
    study = optuna.create_study(storage=address.open(), study_name="a<b", direction="maximize")
    settings = StudySettings(dataset="nations", samplers=("basic", "typed"), fixed={"model.embedding_dim": 8})
    dataset = {"name": "x&y", "note": "", "entities": 2, "relations": 1, "train": 3, "valid": 1, "test": 1}
    kept = {"definition": settings.definition("0", None), "settings": settings.to_dict(), "dataset": dataset}
    study.set_user_attr("kgneg", kept)
    lr = optuna.distributions.FloatDistribution(0, 1)
    for place, (state, seconds, score, sampler) in enumerate(rows):
        configuration = {"sampler": sampler, "model": "transe", "loss": "nssa", "sampler_kwargs": {}}
        measured = {"seconds": seconds, "epochs": 2, "validation": METRICS, "configuration": configuration}
        failure = {"why": "trial failed", "reason": "too little memory"} if state == "FAIL" else None
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState[state],
                value=score if state == "COMPLETE" else None,
                params={"optimizer.lr": 0.1 * (place + 1)},
                distributions={"optimizer.lr": lr},
                intermediate_values={1: score} if score is not None else {},
                user_attrs={"place": place, **measured, "failure": failure, "seed": place, **attributes},
            )
        )
    return StudyResult.of(study, address)


MIXED = [
    ("COMPLETE", 3.0, 0.5, "basic"),
    ("COMPLETE", 1.0, 0.2, "typed"),
    ("PRUNED", 0.5, 0.9, "basic"),
    ("COMPLETE", 2.0, 0.2, "basic"),
    ("FAIL", 0.1, None, "typed"),
    ("COMPLETE", 4.0, 0.5, "typed"),
    ("COMPLETE", 1.5, 0.3, "typed"),
]


def test_best_and_front(tmp_path: Path) -> None:
    result = result_of(tmp_path, MIXED)
    assert result.states() == {"complete": 5, "pruned": 1, "fail": 1}
    assert result.best is not None
    assert result.best["number"] == 0, "the first of equal scores; a pruned trial is never the best"
    assert [trial["number"] for trial in result.front()] == [1, 6, 0]
    assert result.trials[2]["value"] == 0.9
    assert result.trials[4]["failure"] == "trial failed: too little memory"


def test_a_line_per_trial(tmp_path: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(result_of(tmp_path, MIXED).to_csv())))
    assert [line["state"] for line in lines] == [state.lower() for state, *_ in MIXED]
    assert [line["seconds"] for line in lines][:2] == ["3.0", "1.0"]
    assert lines[4]["failure"] == "trial failed: too little memory"
    assert float(lines[6]["optimizer.lr"]) == pytest.approx(0.7)


def test_report(tmp_path: Path) -> None:
    result = replace(result_of(tmp_path, MIXED), problems=("worker 7 was killed by signal 9",))
    figures = draw(result)
    assert [figure.name for figure in figures] == ["history", "pareto", "importance"]
    assert all(figure.png.startswith(b"\x89PNG") for figure in figures)
    html = render_html(build_report(result, figures))
    assert html.count("<svg") == 3
    assert "Study a&lt;b on x&amp;y" in html
    assert "worker 7 was killed by signal 9" in html
    assert "too little memory" in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert [figure.svg for figure in draw(result)] == [figure.svg for figure in figures]


def test_each_sampler_has_its_own_look(tmp_path: Path) -> None:
    for figure in draw(result_of(tmp_path, MIXED))[:2]:
        assert colour(0) in figure.svg, "basic"
        assert colour(1) in figure.svg, "typed"
        assert colour(2) not in figure.svg


@pytest.mark.parametrize(
    ("rows", "names", "why"),
    [
        ([], [], "too few trials: 0 are complete"),
        (MIXED[2:3], ["history"], "too few trials: 0 are complete"),
        (MIXED[:4], ["history", "pareto"], "too few trials: 3 are complete"),
        ([MIXED[0]] * 4, ["history", "pareto"], "all complete trials have the same score"),
    ],
)
def test_with_little(
    rows: list[tuple[str, float, float | None, str]], names: list[str], why: str, tmp_path: Path
) -> None:
    result = result_of(tmp_path, rows)
    assert isinstance(result.importance, str)
    assert why in result.importance
    figures = draw(result)
    assert [figure.name for figure in figures] == names
    assert why in render_html(build_report(result, figures))
