from __future__ import annotations

import json
from typing import Any

import optuna
import pytest

from kgneg.compare import SamplerChoice, UnknownNameError
from kgneg.core.errors import InvalidInputError
from kgneg.studies import build_space

#: Samplers with a required option, and a value for it.
REQUIRED = {"mixture": {"components": "typed=0.5,kgneg-uniform=0.5"}}


def names() -> list[str]:
    from pykeen.sampling import negative_sampler_resolver

    import kgneg.integrations.pykeen  # noqa: F401

    return sorted(negative_sampler_resolver.lookup_dict)


@pytest.mark.parametrize("name", names())
def test_every_registered_sampler(name: str) -> None:
    try:
        choice = SamplerChoice(name, REQUIRED.get(name, {}))
    except InvalidInputError as error:
        assert "needs" in str(error)  # a required option without a general value
        pytest.skip(str(error))
    space = build_space([choice], ["transe"], ["nssa"], training_loop="kgneg")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = []
    for _ in range(5):
        trial = study.ask()
        found = space.suggest(trial)
        assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
        assert set(found.sampler_kwargs) <= set(space.parts[found.sampler].known)
        own = {key for key in trial.params if key.startswith(f"{found.sampler}.")}
        assert own == {f"{found.sampler}.{key}" for key in space.parts[found.sampler].ranges}
        seen.append(found.sampler_kwargs)
    assert any(one != seen[0] for one in seen), "there is nothing to search"


def space_of(samplers: tuple[str, ...] = ("basic", "kgneg-uniform"), **options: Any) -> dict[str, Any]:
    return build_space(map(SamplerChoice.parse, samplers), ["transe", "distmult"], ["nssa"], **options).to_dict()


def test_names_and_precedence() -> None:
    found = space_of(fixed={"lr": 0.5, "model.embedding_dim": 8}, ranges={"transe.embedding_dim": [4, 8]})
    assert found["optimizer.lr"] == 0.5
    assert found["distmult.embedding_dim"] == 8
    assert found["transe.embedding_dim"] == {"range": {"type": "categorical", "choices": [4, 8]}}
    assert space_of(fixed={"sampler.num_negs_per_pos": 3})["basic.num_negs_per_pos"] == 3
    assert space_of(("lemon:encoder=lexical,n_clusters=7",))["lemon.n_clusters"] == 7


def test_learning_rates_are_logarithmic() -> None:
    assert space_of()["optimizer.lr"]["range"]["log"] is True


def test_models_keep_their_own_loss() -> None:
    space = build_space([SamplerChoice("basic")], ["transe", "complex"])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = {one.model: one.loss for one in (space.suggest(study.ask()) for _ in range(20))}
    assert found == {"transe": "marginranking", "complex": "softplus"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fixed": {"lrr": 1}}, UnknownNameError, "unknown parameter 'lrr'"),
        ({"fixed": {"transe.embeding_dim": 1}}, UnknownNameError, "transe.embedding_dim"),
        ({"fixed": {"lr": 1}, "ranges": {"optimizer.lr": [1, 2]}}, InvalidInputError, "both fixed and searched"),
        ({"optimizer": "adamm"}, UnknownNameError, "unknown optimizer"),
        ({"training_loop": "lcwa"}, InvalidInputError, "draws no negatives"),
        ({"samplers": ("basic", "dynamic")}, InvalidInputError, "does not show the model to dynamic"),
        ({"training_loop": "x"}, UnknownNameError, "unknown training loop"),
        ({"samplers": ("lemon", "lemon:n_clusters=2")}, InvalidInputError, "give each once"),
        ({"samplers": ()}, InvalidInputError, "at least one sampler"),
        (
            {"samplers": ("lemon:n_clusters=2",), "ranges": {"lemon.n_clusters": [1, 2]}},
            InvalidInputError,
            "give one of the two",
        ),
    ],
)
def test_refusals(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        space_of(**options)


def test_arguments_of_the_loop() -> None:
    space = build_space(
        [SamplerChoice("basic")], ["transe"], ["nssa"], training_loop="kgneg", fixed={"training_loop.updates": "dense"}
    )
    found = space.suggest(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask())
    assert found.training_loop_kwargs == {"updates": "dense"}
    with pytest.raises(UnknownNameError, match=r"unknown parameter 'training_loop\.updates'"):
        space_of(fixed={"training_loop.updates": "dense"})
    with pytest.raises(UnknownNameError, match="unknown parameter"):
        space_of(fixed={"training_loop.negative_sampler": "basic"})
