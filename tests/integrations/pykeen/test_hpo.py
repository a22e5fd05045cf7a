"""Hyper-parameter studies of PyKEEN."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from pykeen.datasets import Nations
from pykeen.hpo import hpo_pipeline
from pykeen.hpo.hpo import ExtraKeysError, HpoPipelineResult

from kgneg.integrations.pykeen import SAMPLERS, KgnegNegativeSampler, ModelAwareNegativeSampler

#: those that work in PyKEEN's own loop, which is the only one that its studies give a negative sampler
HERE = [sampler for sampler in SAMPLERS if not issubclass(sampler, ModelAwareNegativeSampler)]
every_sampler = pytest.mark.parametrize("sampler", HERE, ids=lambda sampler: sampler.display_name)
PREFIX = "negative_sampler."

SIDES = {"type": "categorical", "choices": ["head", "tail", "alternate", "single"]}
BUDGET = {"type": float, "low": 1.0, "high": 3.0}
COMMON: dict[str, Mapping[str, Any]] = {
    "num_negs_per_pos": {"type": int, "low": 2, "high": 4},
    "filtered": {"type": "categorical", "choices": [True, False]},
    "filterer": {"type": "categorical", "choices": ["exact", "bloom"]},
    "seed": {"type": int, "low": 3, "high": 5},
}
#: a range for every argument that can have one
RANGES: dict[str, dict[str, Mapping[str, Any]]] = {
    "kgneg-uniform": COMMON | {"sides": SIDES},
    "kgneg-bernoulli": COMMON,
    "popularity": COMMON
    | {
        "sides": SIDES,
        "fn_budget": BUDGET,
        "alpha": {"type": float, "low": 0.0, "high": 2.0},
        "smoothing": {"type": float, "low": 0.5, "high": 2.0},
        "counts": {"type": "categorical", "choices": ["end", "both"]},
    },
    "typed": COMMON | {"sides": SIDES, "fn_budget": BUDGET, "support": {"type": float, "low": 0.0, "high": 0.5}},
    "taxonomy": COMMON
    | {
        "sides": SIDES,
        "fn_budget": BUDGET,
        "strategies": {"type": "categorical", "choices": ["edit=1,random=1", "embedding=1"]},
        "depth": {"type": int, "low": 1, "high": 2},
        "k": {"type": int, "low": 2, "high": 4},
        "normalised": {"type": "categorical", "choices": [True, False]},
        "ceiling": {"type": float, "low": 0.8, "high": 0.9},
        "missing_text": {"type": "categorical", "choices": ["error", "label"]},
        "encoder": {"type": "categorical", "choices": ["lexical"]},
    },
    "concept": COMMON
    | {
        "sides": SIDES,
        "fn_budget": BUDGET,
        "features": {"type": "categorical", "choices": ["auto", "relations"]},
        "require": {"type": "categorical", "choices": [None]},
        "mode": {"type": "categorical", "choices": ["weighted", "paper"]},
        "budget": {"type": float, "low": 0.1, "high": 0.3},
        "proposal": {"type": "categorical", "choices": ["owners", "uniform"]},
        "encoder": {"type": "categorical", "choices": ["lexical"]},
        "precompute": {"type": "categorical", "choices": [True, False]},
    },
    "lemon": COMMON
    | {
        "sides": SIDES,
        "fn_budget": BUDGET,
        "mode": {"type": "categorical", "choices": ["default", "paper"]},
        "missing_text": {"type": "categorical", "choices": ["error", "label"]},
        "encoder": {"type": "categorical", "choices": ["lexical"]},
        "anchor": {"type": "categorical", "choices": ["kept"]},
        "dim": {"type": int, "low": 2, "high": 3},
        "n_clusters": {"type": int, "low": 4, "high": 6},
        "n_nearest": {"type": int, "low": 1, "high": 2},
        "rank_low": {"type": int, "low": 0, "high": 1},
        "rank_high": {"type": int, "low": 5, "high": 9},
        "min_similarity": {"type": float, "low": -1.0, "high": -0.5},
        "max_similarity": {"type": float, "low": 0.7, "high": 1.0},
        "typed": {"type": "categorical", "choices": [True, False]},
        "uniform_share": {"type": float, "low": 0.1, "high": 0.4},
    },
    "lemon+": COMMON
    | {
        "sides": SIDES,
        "fn_budget": BUDGET,
        "uniform_share": {"type": float, "low": 0.1, "high": 0.4},
        "best_of": {"type": int, "low": 1, "high": 3},
        "n_clusters": {"type": int, "low": 4, "high": 6},
        "n_nearest": {"type": int, "low": 1, "high": 2},
        "curriculum": {"type": float, "low": 0.0, "high": 1.0},
        "missing_text": {"type": "categorical", "choices": ["error", "label"]},
        "encoder": {"type": "categorical", "choices": ["lexical"]},
    },
    "sans": COMMON
    | {
        "sides": SIDES,
        "fn_budget": BUDGET,
        "hops": {"type": int, "low": 1, "high": 4},
        "walks": {"type": int, "low": 1, "high": 9},
        "max_members": {"type": int, "low": 14**2, "high": 14**3},
        "anchor": {"type": "categorical", "choices": ["kept", "replaced"]},
        "uniform_share": {"type": float, "low": 0.1, "high": 1.0},
    },
    "mixture": COMMON
    | {
        "sides": SIDES,
        "fn_budget": BUDGET,
        "components": {"type": "categorical", "choices": ["typed=1,uniform=2", "kgneg-uniform"]},
    },
    "given": COMMON
    | {"sides": SIDES, "fn_budget": BUDGET, "unknown": {"type": "categorical", "choices": ["error", "skip"]}},
}
#: arguments that are files, mappings or come from PyKEEN
WITHOUT_RANGE = {
    *("mapped_triples", "num_entities", "num_relations", "filterer_kwargs"),
    *("texts", "vectors", "types", "components_kwargs", "path", "hierarchy"),
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def study(dataset: Nations, sampler: Any, n_trials: int = 2, **kwargs: Any) -> HpoPipelineResult:
    settings: dict[str, Any] = {
        "model": "TransE",
        "model_kwargs": {"embedding_dim": 8},
        "loss": "softplus",
        "optimizer_kwargs": {"lr": 0.01},
        "training_kwargs": {"num_epochs": 1, "batch_size": 512, "use_tqdm": False},
        "evaluation_kwargs": {"batch_size": 512, "use_tqdm": False},
        "sampler": "random",
        "sampler_kwargs": {"seed": 5},
        "device": "cpu",
    }
    return hpo_pipeline(dataset=dataset, negative_sampler=sampler, n_trials=n_trials, **(settings | kwargs))


def parameters_of(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    return {name.removeprefix(PREFIX): value for name, value in trial.params.items() if name.startswith(PREFIX)}


def check(result: HpoPipelineResult, expected: set[str], n_trials: int = 2) -> None:
    trials = result.study.trials
    assert len(trials) == n_trials
    for trial in trials:
        assert trial.state == optuna.trial.TrialState.COMPLETE, trial.user_attrs
        assert set(parameters_of(trial)) == expected


@every_sampler
def test_default_ranges(
    sampler: type[KgnegNegativeSampler], nations: Nations, kwargs_of: Callable[..., dict[str, Any]]
) -> None:
    result = study(nations, sampler.display_name, negative_sampler_kwargs=kwargs_of(sampler, nations.training))
    check(result, set(sampler.hpo_default))
    counts = {parameters_of(trial)["num_negs_per_pos"] for trial in result.study.trials}
    assert counts <= set(range(1, 101))
    assert len(counts) == 2


@every_sampler
def test_a_range_for_every_argument(
    sampler: type[KgnegNegativeSampler], nations: Nations, kwargs_of: Callable[..., dict[str, Any]]
) -> None:
    ranges = RANGES[sampler.display_name]
    assert set(ranges) == set(inspect.signature(sampler).parameters) - WITHOUT_RANGE
    fixed = {name: value for name, value in kwargs_of(sampler, nations.training).items() if name not in ranges}
    result = study(nations, sampler, negative_sampler_kwargs=fixed, negative_sampler_kwargs_ranges=ranges)
    check(result, set(ranges))
    for trial in result.study.trials:
        assert parameters_of(trial)["num_negs_per_pos"] in (2, 3, 4)
        assert parameters_of(trial)["seed"] in (3, 4, 5)


def test_files_and_mappings_as_choices(nations: Nations, tmp_path: Path) -> None:
    texts = tmp_path / "texts.tsv"
    rows = [f"{label}\tthe state of {label}" for label in nations.training.entity_to_id]
    texts.write_text("\n".join(rows) + "\n", encoding="utf-8")
    ranges = {"texts": {"type": "categorical", "choices": [str(texts), "nations"]}}
    own = {"encoder": "lexical", "num_negs_per_pos": 2}
    result = study(nations, "lemon", negative_sampler_kwargs=own, negative_sampler_kwargs_ranges=ranges)
    assert {trial.state for trial in result.study.trials} == {optuna.trial.TrialState.COMPLETE}
    assert {parameters_of(trial)["texts"] for trial in result.study.trials} <= {str(texts), "nations"}


def test_an_argument_that_does_not_exist_is_refused(nations: Nations) -> None:
    ranges = {"num_negatives": {"type": int, "low": 1, "high": 2}}
    with pytest.raises(ExtraKeysError, match="num_negatives"):
        study(nations, "lemon", negative_sampler_kwargs_ranges=ranges)


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_study_resumes(nations: Nations, tmp_path: Path, kind: str) -> None:
    def storage() -> Any:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / 'study.db'}"
        return JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))

    own = {"study_name": "sides", "load_if_exists": True, "negative_sampler_kwargs": {"encoder": "lexical"}}
    first = study(nations, "lemon", 1, storage=storage(), **own)
    assert len(first.study.trials) == 1
    second = study(nations, "lemon", 1, storage=storage(), **own)
    assert len(second.study.trials) == 2
    assert second.study.trials[0].params == first.study.trials[0].params
