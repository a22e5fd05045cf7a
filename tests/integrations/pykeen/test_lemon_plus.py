"""lemon+ by its name in PyKEEN."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from pykeen.datasets import UMLS, Nations
from pykeen.hpo import hpo_pipeline
from pykeen.pipeline import pipeline, pipeline_from_config
from pykeen.sampling import negative_sampler_resolver

from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility import PlausibilityCeiling, budget, prior
from kgneg.integrations.pykeen import KgnegNegativeSampler, KgnegUniformNegativeSampler, LemonPlusNegativeSampler
from kgneg.samplers import LemonPlusCorruptor, MixtureCorruptor, UniformCorruptor

Make = Callable[..., KgnegNegativeSampler]
DEFAULTS = {
    name: parameter.default for name, parameter in inspect.signature(LemonPlusNegativeSampler).parameters.items()
}
SETTINGS: dict[str, Any] = {
    "model": "TransE",
    "model_kwargs": {"embedding_dim": 8},
    "negative_sampler_kwargs": {"encoder": "lexical", "num_negs_per_pos": 4},
    "training_kwargs": {"num_epochs": 2, "batch_size": 512, "use_tqdm": False},
    "evaluation_kwargs": {"batch_size": 512, "use_tqdm": False},
    "random_seed": 7,
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def fewer_positives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_DRAWN", 16_000)
    monkeypatch.setattr(budget, "_OF_PROPOSALS", 1 << 16)
    monkeypatch.setattr(prior, "_NEGATIVES", 200_000)


def parts_of(sampler: KgnegNegativeSampler) -> tuple[LemonPlusCorruptor, UniformCorruptor]:
    assert isinstance(sampler.corruptor, MixtureCorruptor)
    hard, easy = sampler.corruptor.components
    assert isinstance(hard, LemonPlusCorruptor)
    assert isinstance(easy, UniformCorruptor)
    return hard, easy


@pytest.mark.parametrize("name", ["lemon+", "LemonPlus", "lemon-plus", "lemon_plus", "LemonPlusNegativeSampler"])
def test_spellings(name: str) -> None:
    assert negative_sampler_resolver.lookup(name) is LemonPlusNegativeSampler


@pytest.mark.parametrize("name", ["lemon+", "LemonPlus", "lemon-plus"])
@pytest.mark.parametrize("loop", ["slcwa", "kgneg"])
def test_pipelines(nations: Nations, name: str, loop: str) -> None:
    result = pipeline(dataset=nations, negative_sampler=name, training_loop=loop, **SETTINGS)
    assert len(result.losses) == 2
    again = pipeline(dataset=nations, negative_sampler="lemon+", training_loop=loop, **SETTINGS)
    assert again.losses == result.losses


def test_experiment_files() -> None:
    config = {
        "metadata": {},
        "pipeline": {"dataset": "nations", "negative_sampler": "lemon+", "training_loop": "kgneg", **SETTINGS},
    }
    assert len(pipeline_from_config(config).losses) == 2


def test_a_study(nations: Nations) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings = {
        name: value for name, value in SETTINGS.items() if name not in ("random_seed", "negative_sampler_kwargs")
    }
    result = hpo_pipeline(
        dataset=nations, negative_sampler="lemon+", n_trials=2, sampler="random", sampler_kwargs={"seed": 1},
        loss="softplus", negative_sampler_kwargs={"encoder": "lexical"},
        negative_sampler_kwargs_ranges={"curriculum": {"type": float, "low": 0.0, "high": 1.0}},
        **settings,
    )  # fmt: skip
    for trial in result.study.trials:
        assert trial.state == optuna.trial.TrialState.COMPLETE
        tried = {name.removeprefix("negative_sampler.") for name in trial.params}
        assert {*LemonPlusNegativeSampler.hpo_default, "curriculum"} <= tried


def test_what_it_is_made_of(nations: Nations, make: Make) -> None:
    own = {"uniform_share": 0.25, "best_of": 3, "n_nearest": 2, "n_clusters": 6}
    built = make(LemonPlusNegativeSampler, nations.training, fn_budget=1.2, sides="alternate", **own)
    hard, _ = parts_of(built)
    assert isinstance(built.corruptor, MixtureCorruptor)
    assert built.corruptor.shares == pytest.approx((0.75, 0.25))
    assert (hard.best_of, hard.curriculum) == (3, 0)
    assert built.corruptor.sides.policy == "alternate"
    assert hard.ceiling in built.corruptor.constraints  # one ceiling for both
    assert built.operating_point is not None
    free = make(LemonPlusNegativeSampler, nations.training, fn_budget=None, **own)
    assert free.operating_point is None
    assert float(parts_of(free)[0].ceiling.limit) == float("inf")
    assert free.corruptor.sides.policy == DEFAULTS["sides"]


def test_hard_negatives_fit_the_relation_and_are_plausible(umls: UMLS, make: Make) -> None:
    triples = umls.training.mapped_triples
    seen = torch.zeros(2, 135, 46, dtype=torch.bool)
    seen[0, triples[:, 0], triples[:, 1]] = True
    seen[1, triples[:, 2], triples[:, 1]] = True
    means = []
    for best_of in (1, 6):
        built = make(LemonPlusNegativeSampler, umls.training, best_of=best_of, uniform_share=0.0, fn_budget=None,
                     num_negs_per_pos=4, seed=0)  # fmt: skip
        hard = built.corruptor.components[0] if isinstance(built.corruptor, MixtureCorruptor) else built.corruptor
        assert isinstance(hard, LemonPlusCorruptor)
        drawn = built.draw(triples)
        relation = triples[:, 1, None].expand(drawn.entity.shape)
        fits = seen[(drawn.side == 2).long(), drawn.entity.long(), relation]
        assert (fits | drawn.fallback).all()
        means.append(float(hard.ceiling.prior.of_triples(drawn.triples)[~drawn.fallback].mean()))
    assert means[0] < means[1]


def test_the_budget_is_kept(umls: UMLS, make: Make) -> None:
    table = torch.zeros(135, 46, 135, dtype=torch.bool)
    for factory in (umls.validation, umls.testing):
        table[tuple(factory.mapped_triples.unbind(-1))] = True

    def rate(sampler: type[KgnegNegativeSampler], **options: Any) -> float:
        built = make(sampler, umls.training, num_negs_per_pos=16, seed=0, sides="single", **options)
        return float(table[tuple(built.corrupt_batch(umls.training.mapped_triples).flatten(0, 1).T)].double().mean())

    uniform = rate(KgnegUniformNegativeSampler)
    shares = {"uniform_share": 0.3, "best_of": 3}
    free = rate(LemonPlusNegativeSampler, fn_budget=None, **shares) / uniform
    bound = rate(LemonPlusNegativeSampler, fn_budget=1.5, **shares) / uniform
    assert free > 2.5
    assert bound < 1.5 * 1.2


# Curriculum


def test_pools_narrow_down_over_epochs(umls: UMLS, make: Make) -> None:
    options = {
        "uniform_share": 0.5, "num_negs_per_pos": 4, "n_clusters": 12, "n_nearest": 3, "seed": 0, "fn_budget": None,
        "best_of": 2,
    }  # fmt: skip
    built = make(LemonPlusNegativeSampler, umls.training, curriculum=2.0, **options)
    hard, _ = parts_of(built)
    assert hard.curriculum == 2 * 2 * len(umls.training.mapped_triples)  # two epochs of two hard ones each
    widths = []
    for _ in range(3):
        for batch in torch.split(umls.training.mapped_triples, 512):
            built.corrupt_batch(batch)
            widths.append(hard.pool.width)
    assert widths[0] > 6
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == 3
    twin = make(LemonPlusNegativeSampler, umls.training, curriculum=2.0, **options)
    twin.load_state_dict(built.state_dict())
    assert int(parts_of(twin)[0].seen) == int(hard.seen)
    twin.corrupt_batch(umls.training.mapped_triples[:9])
    assert parts_of(twin)[0].pool.width == 3


def test_a_budget_holds_for_the_final_width(nations: Nations, make: Make) -> None:
    points = [
        make(LemonPlusNegativeSampler, nations.training, curriculum=curriculum, fn_budget=1.2).operating_point
        for curriculum in (0.0, 5.0)
    ]
    assert points[0] == points[1]


def test_checkpoints(nations: Nations, tmp_path: Path) -> None:
    own = {**SETTINGS["negative_sampler_kwargs"], "curriculum": 2.0, "n_clusters": 5, "n_nearest": 1, "fn_budget": None}

    def losses(epochs: int, **saved: Any) -> list[float]:
        training = {**SETTINGS["training_kwargs"], "num_epochs": epochs, **saved}
        settings = {**SETTINGS, "negative_sampler_kwargs": own, "training_kwargs": training}
        found: list[float] = pipeline(
            dataset=nations, negative_sampler="lemon+", training_loop="kgneg", **settings
        ).losses
        return found

    saved = {"checkpoint_directory": tmp_path, "checkpoint_name": "half.pt", "checkpoint_frequency": 0}
    whole = losses(4)
    assert losses(2, **saved) == whole[:2]
    assert losses(4, **saved) == pytest.approx(whole, rel=1e-6)


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uniform_share": 1}, "uniform_share=1 leaves nothing to lemon\\+: take kgneg-uniform"),
        ({"uniform_share": 1.5}, "uniform_share must be between 0 and 1"),
        ({"best_of": 0}, "best_of must be at least 1"),
        ({"curriculum": -1.0}, "curriculum"),
        ({"curriculum": float("nan")}, "curriculum"),
        ({"n_clusters": 2, "n_nearest": 3}, "n_nearest=3 exceeds n_clusters=2"),
        ({"fn_budget": 0.5}, "fn_budget must be a finite number of at least 1"),
        ({"sides": "both"}, "side policy"),
        ({"texts": {"a": "b"}, "vectors": torch.zeros(14, 2)}, "texts or vectors, not both"),
    ],
    ids=str,
)
def test_refusals(nations: Nations, make: Make, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make(LemonPlusNegativeSampler, nations.training, **options)


def test_ceilings_survive_copies(nations: Nations, make: Make) -> None:
    built = make(LemonPlusNegativeSampler, nations.training, fn_budget=1.2, num_negs_per_pos=3)
    twin = make(LemonPlusNegativeSampler, nations.training, fn_budget=None, num_negs_per_pos=3)
    twin.load_state_dict(built.state_dict())
    limits = [
        [float(part.limit) for part in sampler.corruptor.modules() if isinstance(part, PlausibilityCeiling)]
        for sampler in (built, twin)
    ]
    assert limits[0] == limits[1]
