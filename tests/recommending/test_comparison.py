from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from kgneg.compare.runs import RunFailedError
from kgneg.core.errors import DivergedError, InvalidInputError
from kgneg.recommending import ComparisonPlan, DataSettings, ModelChoice, comparison, load_interactions
from kgneg.recommending.comparison import compare_recommenders
from kgneg.recsys import BUIR, build_recommender, evaluate
from kgneg.report import render_text

SHARED = {"dim": 4, "epochs": 4, "batch_size": 32, "evaluate_every": 2, "lr": 0.02}
METRIC = "recall@5"


def plan(path: Path, *models: str, **more: Any) -> ComparisonPlan:
    given = {"shared": SHARED, "ks": (5, 20), "metric": METRIC, "seeds": (0, 1), "device": "cpu", **more}
    return ComparisonPlan(models or ("buir-id", "ease"), DataSettings(str(path)), **given)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were fitted."""
    fitted: list[str] = []
    fit = comparison.run_once

    def count(choice: ModelChoice, *args: Any, **options: Any) -> Any:
        fitted.append(choice.name)
        return fit(choice, *args, **options)

    monkeypatch.setattr(comparison, "run_once", count)
    return fitted


def test_the_figures_are_those_of_single_runs(likes: Path) -> None:
    found = compare_recommenders(plan(likes), progress=False)
    split = load_interactions(DataSettings(str(likes))).split
    for seed in (0, 1):
        model = build_recommender("buir-id", **SHARED, metric=METRIC, seed=seed, device="cpu")
        model.fit(split.train, split.valid)
        alone = evaluate(model, split.test, hide=split.valid, ks=(5, 20), progress=False)
        (run,) = (run for run in found.runs_of("buir-id") if run["seed"] == seed)
        assert run["test"]["metrics"] == alone.metrics
    summary = {entry["model"]: entry for entry in found.summary()}
    assert list(summary) == ["buir-id", "ease", "popularity", "two-hop"]
    values = [run["test"]["metrics"][METRIC] for run in found.runs_of("buir-id")]
    assert summary["buir-id"]["metrics"][METRIC]["mean"] == pytest.approx(statistics.fmean(values))
    assert summary["buir-id"]["metrics"][METRIC]["sd"] == pytest.approx(statistics.stdev(values))
    assert summary["buir-id"]["significance"] is None


def test_differences_are_those_to_the_first(likes: Path) -> None:
    found = compare_recommenders(plan(likes, "two-hop", "popularity", "buir-id", floors=False), progress=False)
    means = {entry["model"]: entry["metrics"][METRIC]["mean"] for entry in found.summary()}
    assert set(found.significance) == {"popularity", "buir-id"}
    for label, one in found.significance.items():
        wanted = means[label] - means["two-hop"]
        assert one["runs"]["difference"] == pytest.approx(wanted)
        assert one["users"]["difference"] == pytest.approx(wanted, abs=1e-6)
        assert one["users"]["low"] <= one["users"]["difference"] <= one["users"]["high"]
        assert one["users"]["wins"] + one["users"]["ties"] + one["users"]["losses"] == one["users"]["users"]
    assert found.significance["popularity"]["users"]["p_sign_flip"] < 0.01, (
        "the data have groups that popularity misses"
    )
    # two models that draw nothing have no p over seeds
    rows = {row[0]: row for row in found.table().rows}
    assert rows["popularity"][4] == "\N{EN DASH}"
    assert rows["buir-id"][4] != "\N{EN DASH}"


def test_models_that_draw_nothing_run_once(likes: Path, counted: list[str]) -> None:
    found = compare_recommenders(plan(likes, seeds=(0, 1, 2)), progress=False)
    assert sorted(counted) == ["buir-id", "buir-id", "buir-id", "ease", "popularity", "two-hop"]
    assert len(found.runs) == 12


def test_finished_runs_are_taken_up(likes: Path, tmp_path: Path, counted: list[str]) -> None:
    runs = tmp_path / "runs"
    first = compare_recommenders(plan(likes), runs=runs, progress=False)
    counted.clear()
    again = compare_recommenders(plan(likes), runs=runs, progress=False)
    assert counted == []
    assert again.to_dict() == first.to_dict()
    compare_recommenders(plan(likes, seeds=(0, 1, 2)), runs=runs, progress=False)
    assert counted == ["buir-id"]
    counted.clear()
    compare_recommenders(plan(likes, shared={**SHARED, "lr": 0.03}), runs=runs, progress=False)
    assert counted == ["buir-id", "buir-id"]
    counted.clear()
    for path in runs.glob("*.users"):
        path.write_bytes(b"half")
    compare_recommenders(plan(likes), runs=runs, progress=False)
    assert len(counted) == 5, "without the figures of users a run is done again"
    counted.clear()
    fresh = compare_recommenders(plan(likes), runs=runs, fresh=True, progress=False)
    assert len(counted) == 5
    assert [run["test"] for run in fresh.runs] == [run["test"] for run in first.runs]
    assert not list(runs.glob("*.training"))


def test_a_failed_run_keeps_the_others(likes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise DivergedError("the loss is nan")

    runs = tmp_path / "runs"
    with monkeypatch.context() as patch:
        patch.setattr(BUIR, "fit", fail)
        with pytest.raises(RunFailedError, match=r"buir-id, seed 0: the loss is nan \(the 1 finished runs are kept\)"):
            compare_recommenders(plan(likes, "ease", "buir-id"), runs=runs, progress=False)
    assert len(list(runs.glob("*.json"))) == 1
    compare_recommenders(plan(likes, "ease", "buir-id"), runs=runs, progress=False)


def test_a_split_for_each_seed(likes: Path) -> None:
    found = compare_recommenders(plan(likes, "ease", resplit=True, shared={}), progress=False)
    one, two = found.runs_of("ease")
    assert one["test"]["metrics"] != two["test"]["metrics"]
    data = load_interactions(DataSettings(str(likes), split_seed=1)).split
    alone = evaluate(build_recommender("ease").fit(data.train), data.test, hide=data.valid, ks=(5, 20), progress=False)
    assert two["test"]["metrics"] == alone.metrics
    with pytest.raises(InvalidInputError, match="split already"):
        compare_recommenders(plan(likes, resplit=True), data=load_interactions(DataSettings(str(likes))))


def test_files(likes: Path, tmp_path: Path) -> None:
    found = compare_recommenders(plan(likes, "lightgcn", "lightgcn:negatives=popularity"), progress=False)
    written = found.write(tmp_path / "out")
    told = json.loads(written["results.json"].read_text(encoding="utf-8"))
    assert told["summary"][1]["model"] == "lightgcn:negatives=popularity"
    assert told["settings"]["models"][1]["options"]["negatives"] == "popularity"
    rows = list(csv.DictReader(written["results.csv"].read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 8
    assert [float(row[METRIC]) for row in rows] == [run["test"]["metrics"][METRIC] for run in found.runs]
    html = written["report.html"].read_text(encoding="utf-8")
    assert html.count("<svg") == 3
    assert "lightgcn:negatives=popularity" in html
    text = render_text(found.table())
    assert text.splitlines()[0].split()[:2] == ["model", "Recall@5"]


def test_one_seed_and_one_model(likes: Path) -> None:
    found = compare_recommenders(plan(likes, "ease", seeds=(3,), floors=False, shared={}), progress=False)
    assert found.summary()[0]["metrics"][METRIC]["sd"] is None
    assert "Differences" not in found.to_html()


@pytest.mark.parametrize(
    ("models", "changes", "message"),
    [
        (("ease", "ease"), {}, "models must differ, got ease twice"),
        (("ease",), {}, "dim, epochs, batch_size, evaluate_every, lr would have no effect"),
        (("buir-id:seed=3",), {}, "the option seed is set by the seeds"),
        (("ease",), {"shared": {}, "seeds": ()}, "at least one integer"),
        (("ease",), {"shared": {}, "seeds": (1, 1)}, "seeds must differ"),
        (("ease",), {"shared": {}, "metric": "recall@7"}, "the metric must be one of recall"),
        (("ease",), {"shared": {}, "metric": "recal@5"}, "got 'recal@5'"),
    ],
)
def test_refusals(models: tuple[str, ...], changes: dict[str, Any], message: str, likes: Path) -> None:
    with pytest.raises(InvalidInputError, match=message):
        plan(likes, *models, **changes)


def test_what_does_not_fit_shows_before_any_training(likes: Path, counted: list[str]) -> None:
    for models, changes, message in (
        (("buir-id",), {"ks": (5, 99)}, "a list of 99 items"),
        (
            ("buir-id", "lightgcn:negatives=text"),
            {},
            "lightgcn:negatives=text: negatives of the kind 'text' need texts",
        ),
    ):
        with pytest.raises(InvalidInputError, match=message):
            compare_recommenders(plan(likes, *models, **changes), progress=False)
    assert counted == []


def test_the_metric_decides_when_training_stops(likes: Path) -> None:
    models = ("buir-id", "buir-id:metric=ndcg@5", "buir-nb:paper", "ease")
    choices = {str(one.label): one.options.get("metric") for one in plan(likes, *models).choices}
    assert [choices[one] for one in models] == [METRIC, "ndcg@5", None, None]
    shared = plan(likes, "buir-id", shared={**SHARED, "metric": "hit@5"})
    assert shared.choices[0].options["metric"] == "hit@5"
    assert "metric" not in plan(likes, "buir-id", metric="recall@20").choices[0].options
    found = compare_recommenders(plan(likes, "buir-id", seeds=(0,), floors=False), progress=False)
    assert found.runs[0]["history"]["metric"] == METRIC


def test_too_long_lists_name_their_option(likes: Path) -> None:
    for models, more, message in (
        (("buir-id:metric=ndcg@50",), {}, "ndcg@50, which decides.*such as --metric ndcg@5, or metric=ndcg@5 as an"),
        (("buir-nb:paper",), {}, "capped_precision@50, which decides when the training of buir-nb:paper stops"),
        (("buir-id",), {"ks": (5, 50)}, "a list of 50 items is longer.*such as --k 5"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            compare_recommenders(plan(likes, *models, **more), progress=False)


def test_models_that_draw_nothing_do_not_differ_by_chance(likes: Path) -> None:
    found = compare_recommenders(plan(likes, "ease", "two-hop", shared={}, seeds=(0, 1, 2)), progress=False)
    for one in found.significance.values():
        assert (one["runs"]["p_t"], one["runs"]["low"], one["runs"]["high"]) == (None, None, None)
    column = found.table().columns.index("p, seeds")
    assert {row[column] for row in found.table().rows} == {"\N{EN DASH}"}


def test_resumed_results_are_in_the_same_order(likes: Path, tmp_path: Path) -> None:
    asked = plan(likes, "buir-id", "ease", ks=(5, 10, 20), seeds=(0,))
    first, again = (compare_recommenders(asked, runs=tmp_path, progress=False) for _ in range(2))
    assert first.to_csv() == again.to_csv()
    assert first.to_csv().splitlines()[0].split(",")[2:6] == ["recall@5", "recall@10", "recall@20", "precision@5"]
    assert first.to_html() == again.to_html()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "temporal"}, "resplit would have no effect"),
        ({"valid": "v.csv", "test": "t.csv"}, "resplit would have no effect"),
        ({"split_seed": 3}, "split_seed would have no effect"),
    ],
)
def test_refused_splits(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ComparisonPlan(("ease",), DataSettings("likes.csv", **settings), resplit=True)
