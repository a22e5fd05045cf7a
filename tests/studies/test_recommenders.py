from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner, Result

from kgneg.cli import main
from kgneg.core.errors import DivergedError, InvalidInputError
from kgneg.recommending import DataSettings, NegativeSources, TrainingPlan, train_recommender
from kgneg.recsys import BUIR
from kgneg.studies import StudyResult, run_study
from kgneg.studies.kinds import settings_from_dict
from kgneg.studies.recommenders import RecommenderStudy

FIX = {"dim": 4, "batch_size": 512}
KEEP = {"data": DataSettings("nations"), "ks": (5, 20), "epochs": 4, "prune_every": 2, "device": "cpu"}


def settings(*models: str, **more: Any) -> RecommenderStudy:
    return RecommenderStudy(models or ("buir-id", "bpr", "ease"), **{"trials": 3, "fixed": FIX, **KEEP, **more})


def study(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["study", *map(str, arguments)])


def test_the_space() -> None:
    ranges = {"lr": {"low": 0.1, "high": 1.0}, "bpr.lr": [0.5], "bpr.negatives": ["uniform", "popularity"]}
    space = settings("buir-id", "bpr", ranges=ranges, fixed={"model.dim": 4, "buir-id.dim": 8}).space
    assert space.fixed["bpr"]["dim"] == 4
    assert space.fixed["buir-id"]["dim"] == 8
    assert space.fixed["bpr"]["epochs"] == 4
    assert space.ranges["buir-id"]["lr"] == {"type": "float", "low": 0.1, "high": 1.0, "log": False, "step": None}
    assert space.ranges["bpr"]["lr"]["choices"] == [0.5]
    assert "dim" not in space.ranges["bpr"]
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    found = space.suggest(trial)
    assert set(trial.params) == {"model", *(f"{found.model}.{name}" for name in space.ranges[found.model])}
    assert len(space) == 1 + sum(map(len, space.ranges.values()))
    json.dumps(space.to_dict(), allow_nan=False)


def test_a_preset_and_fixed_options() -> None:
    space = settings("buir-nb:paper", "lightgcn:layers=1", fixed={}).space
    assert "layers" not in space.ranges["lightgcn"]
    assert space.fixed["lightgcn"]["layers"] == 1
    assert "dim" in space.ranges["buir-nb:paper"]


def test_settings_as_json() -> None:
    one = settings("lightgcn", ranges={"l2": {"type": float, "low": 1e-3, "high": 1.0, "log": True}})
    again = settings_from_dict(json.loads(json.dumps(one.to_dict())))
    assert isinstance(again, RecommenderStudy)
    assert again.to_dict() == one.to_dict()
    assert again.space == one.space


@pytest.mark.parametrize(
    ("models", "changes", "message"),
    [
        ((), {"trials": 0}, "trials must be at least 1"),
        ((), {"fixed": {"epochs": 3}}, "epochs is a setting of the study"),
        (("bpr:epochs=3",), {}, "epochs is a setting of the study"),
        (("bpr", "bpr:dim=3"), {"fixed": {}}, "models must differ"),
        (("bpr",), {"fixed": {"layers": 3}}, "unknown parameter 'layers'"),
        (("bpr",), {"ranges": {"dim": [3]}}, "dim is both fixed and searched"),
        (("bpr",), {"ranges": {"lr": {"low": 3, "high": 1}}}, "is empty"),
        (("bpr",), {"fixed": {"dim": 4, "num_negatives": 0}}, "num_negatives must be at least 1"),
        ((), {"metric": "recall@7"}, "the metric must be one of"),
        ((), {"search": "grid"}, "search"),
        ((), {"sources": NegativeSources(texts="x")}, "texts would have no effect"),
    ],
)
def test_refusals(models: tuple[str, ...], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        settings(*models, **changes)


def test_a_study_goes_on_and_its_best_trial_can_be_repeated(tmp_path: Path) -> None:
    storage = str(tmp_path / "study.log")
    first = run_study(settings(trials=2), storage, progress=False)
    assert first.states() == {"complete": 2}
    result = run_study(settings(trials=5), storage, progress=False)
    assert result.states() == {"complete": 5}
    assert result.trials[:2] == first.trials
    assert {trial["model"] for trial in result.trials} <= {"buir-id", "bpr", "ease"}
    for trial in result.trials:
        assert trial["value"] == trial["validation"]["recall@20"]
        if trial["model"] != "ease":
            assert sorted(trial["intermediate"]) == ["2", "4"]
            assert trial["value"] == max(trial["intermediate"].values())

    written = result.write(tmp_path / "out")
    assert set(written) >= {"results.json", "trials.csv", "report.html", "best.json", "history.png"}
    best = result.best
    assert best is not None
    again = train_recommender(TrainingPlan.read(written["best.json"]), progress=False)
    assert again.run.validation.metrics == best["validation"]
    assert again.run.test.metrics == best["test"]
    page = written["report.html"].read_text(encoding="utf-8")
    assert "validation recall@20" in page
    assert "14 users" in page
    assert "MRR" not in page
    rows = list(csv.DictReader(written["trials.csv"].read_text(encoding="utf-8").splitlines()))
    assert [row["model"] for row in rows] == [trial["model"] for trial in result.trials]
    assert "sampler" not in rows[0]

    with pytest.raises(InvalidInputError, match=r"has other settings\. interactions"):
        run_study(settings(data=DataSettings("nations", split_seed=1)), storage, progress=False)
    with pytest.raises(InvalidInputError, match=r"search: .*tpe.* before"):
        run_study(settings(search="random"), storage, progress=False)


def test_pruned_and_failed_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Always(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    monkeypatch.setattr("kgneg.studies.worker.make_pruner", lambda settings: Always())
    result = run_study(settings("bpr", trials=1), str(tmp_path / "pruned.log"), progress=False)
    assert result.states() == {"pruned": 1}
    assert (result.trials[0]["epochs"], list(result.trials[0]["intermediate"])) == (2, ["2"])
    assert result.trials[0]["validation"] == {"recall@20": result.trials[0]["value"]}
    result.write(tmp_path / "out")

    def fail(*args: Any, **options: Any) -> None:
        raise DivergedError("the loss is nan")

    monkeypatch.setattr(BUIR, "fit", fail)
    failed = run_study(settings("buir-id", max_failures=1), str(tmp_path / "failed.log"), progress=False)
    assert failed.states()["fail"] == 2
    assert failed.trials[0]["failure"] == "trial failed: DivergedError: the loss is nan"
    assert "2 trials have failed, more than 1" in failed.problems[0]


def test_two_kinds_do_not_mix(tmp_path: Path) -> None:
    from kgneg.studies import StudySettings

    storage = str(tmp_path / "study.log")
    run_study(settings("ease", trials=1, fixed={}), storage, progress=False)
    graphs = StudySettings(dataset="nations", samplers=("basic",), trials=1, epochs=1)
    with pytest.raises(InvalidInputError, match="has other settings"):
        run_study(graphs, storage, progress=False)


def test_the_command(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (
        "--data", "nations", "--model", "bpr", "--epochs", 4, "--prune-every", 2, "--k", "5,20", "--metric", "ndcg@5",
        "--fix", "dim=4", "--range", "bpr.lr=1e-3:1e-1:log", "--device", "cpu", "--split", "random",
    )  # fmt: skip
    done = study(*arguments, "--trials", 1, "--out", out)
    assert done.exit_code == 0, done.stderr
    assert "bpr: validation ndcg@5 0." in done.stdout
    assert "on the test pairs" in done.stdout
    again = study(*arguments, "--trials", 2, "--out", out, "--quiet")
    assert again.exit_code == 0, again.stderr
    assert StudyResult.load(str(out / "study.log")).states() == {"complete": 2}
    status = study("--out", out, "--status")
    assert status.stdout.splitlines()[2].split() == ["complete", "2"]
    trained = CliRunner().invoke(
        main, ["rec", "train", "--config", str(out / "best.json"), "--out", str(tmp_path / "best")]
    )
    assert trained.exit_code == 0, trained.stderr
    best = json.loads((out / "best.json").read_text(encoding="utf-8"))["metadata"]
    found = json.loads((tmp_path / "best" / "results.json").read_text(encoding="utf-8"))
    assert found["test"]["metrics"] == best["test"]


@pytest.mark.slow
def test_two_workers(tmp_path: Path) -> None:
    done = study(
        "--data", "nations", "--model", "bpr", "--model", "ease", "--epochs", 2, "--fix", "dim=4", "--trials", 4,
        "--workers", 2, "--out", tmp_path,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[2].split() == ["complete", "4"]
    assert len(list((tmp_path / "workers").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "nations", "--sampler", "basic"), "--data searches recommenders, which have no --sampler"),
        (("--data", "nations", "--loss", "nssa", "--optimizer", "adam"), "which have no --loss, --optimizer"),
        (("--dataset", "nations", "--sampler", "basic", "--k-core", 3), "which have no --k-core"),
        (("--dataset", "nations", "--sampler", "basic", "--metric", "recall@20"), "which have no --metric"),
        (("--data", "nations", "--model", "transe"), "unknown model 'transe'"),
        (("--data", "nations", "--k", "5,2000", "--metric", "recall@5"), "a list of 2000 items is longer"),
        (("--data", "none.csv"), "none.csv"),
        (("--data", "nations", "--fix", "dimm=3"), "unknown parameter 'dimm'"),
        (("--data", "nations", "--model", "bpr:negatives=text", "--encoder", "nothing/there"), "nothing/there"),
    ],
)
def test_refused_commands(arguments: tuple[Any, ...], message: str, tmp_path: Path) -> None:
    done = study(*arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.stderr
    assert done.stdout == ""
    assert message in done.stderr.splitlines()[-1]
