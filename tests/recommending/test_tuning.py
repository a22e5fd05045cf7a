from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest

from kgneg.core.errors import DivergedError, InvalidInputError
from kgneg.recommending import DataSettings, load_interactions, objective, suggest
from kgneg.recommending.tuning import model_ranges
from kgneg.recsys import BUIR, MODELS, InteractionSplit, build_recommender, evaluate

SMALL = {"dim": 4, "batch_size": 32, "evaluate_every": 2, "device": "cpu"}


@pytest.fixture
def split(likes: Path) -> InteractionSplit:
    return load_interactions(DataSettings(str(likes))).split


@pytest.mark.parametrize("name", MODELS)
def test_every_suggestion_builds(name: str) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(5):
        trial = study.ask()
        options = suggest(trial, name)
        build_recommender(name, **options)
        assert options == trial.params
        for option, one in model_ranges(name).items():
            inside = (
                options[option] in one["choices"] if "choices" in one else one["low"] <= options[option] <= one["high"]
            )
            assert inside, option


def test_fixed_values_prefix_and_ranges() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    options = suggest(
        trial, "buir-nb:paper", prefix="nb.", ranges={"dim": [8], "layers": {"type": int, "low": 1, "high": 2}}, lr=0.1
    )
    assert options["lr"] == 0.1
    assert options["dim"] == 8
    assert options["layers"] in (1, 2)
    assert {f"nb.{name}" for name in options if name != "lr"} == set(trial.params)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "buir"}, "unknown model 'buir'"),
        ({"name": "ease", "dim": 3}, "unknown option of the model ease 'dim'"),
        ({"name": "ease", "ranges": {"dim": [3]}}, "ease has no option 'dim'"),
        ({"name": "ease", "ranges": {"l2": {"type": float, "low": 3, "high": 1}}}, "range of ease.l2 is empty"),
    ],
)
def test_refusals(options: dict[str, Any], message: str, split: InteractionSplit) -> None:
    trial = optuna.create_study().ask()
    with pytest.raises(InvalidInputError, match=message):
        suggest(trial, **options)
    name = options.pop("name")
    with pytest.raises(InvalidInputError, match=message):
        objective(name, split.train, split.valid, **options)
    with pytest.raises(InvalidInputError, match="a name with a length"):
        objective("ease", split.train, split.valid, metric="recall")


def test_a_plain_study(split: InteractionSplit) -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    score = objective("buir-id", split.train, split.valid, metric="ndcg@5", epochs=6, **SMALL)
    study.optimize(score, n_trials=3)
    for trial in study.trials:
        assert sorted(trial.intermediate_values) == [2, 4, 6]
        assert trial.value == max(trial.intermediate_values.values()), "the epoch that is kept is the best one"
    options = suggest(study.best_trial, "buir-id", epochs=6, **SMALL)  # type: ignore[arg-type]
    model = build_recommender("buir-id", **options, metric="ndcg@5").fit(split.train, split.valid)
    found = evaluate(model, split.valid, ks=[5], metrics=["ndcg"], progress=False)
    assert found.metrics["ndcg@5"] == study.best_value


def test_pruning(split: InteractionSplit) -> None:
    class Always(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    study = optuna.create_study(direction="maximize", pruner=Always())
    study.optimize(objective("bpr", split.train, split.valid, metric="recall@5", epochs=6, **SMALL), n_trials=1)
    assert study.trials[0].state is optuna.trial.TrialState.PRUNED
    assert list(study.trials[0].intermediate_values) == [2]


def test_a_diverged_trial_fails_and_the_study_goes_on(split: InteractionSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise DivergedError("no number")

    monkeypatch.setattr(BUIR, "fit", fail)
    score = objective("buir-id", split.train, split.valid, **SMALL)
    study = optuna.create_study()
    assert math.isnan(score(study.ask()))
    study.optimize(score, n_trials=2)
    assert [trial.state.name for trial in study.trials[1:]] == ["FAIL", "FAIL"]
