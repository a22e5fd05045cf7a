from __future__ import annotations

import json
from typing import Any

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.recommending import FLOORS, ModelChoice, describe_models
from kgneg.recsys import MODELS, TrainedRecommender
from kgneg.recsys.settings import TrainSettings


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("buir-nb", "buir-nb", {}),
        ("buir-nb:paper", "buir-nb:paper", {}),
        ("buir-nb:paper:dim=8,lr=0.1", "buir-nb:paper", {"dim": 8, "lr": 0.1}),
        ("ease:l2=3", "ease", {"l2": 3}),
        (
            'lightgcn:negatives="mixture:popularity=0.3,uniform=0.7",dim=8',
            "lightgcn",
            {"negatives": "mixture:popularity=0.3,uniform=0.7", "dim": 8},
        ),
    ],
)
def test_parsing(text: str, name: str, options: dict[str, Any]) -> None:
    choice = ModelChoice.parse(text)
    assert (choice.name, choice.options, choice.label) == (name, options, text)
    assert ModelChoice(**json.loads(json.dumps(choice.to_dict()))) == choice
    built = choice.build(**({"seed": 7} if choice.is_trained else {}))
    for option, value in choice.own.items():
        settings = built.training_settings.to_dict() if isinstance(built, TrainedRecommender) else {}
        assert {**settings, **built.options}[option] == value
    if isinstance(built, TrainedRecommender):
        assert built.training_settings.seed == 7


def test_a_label_spells_the_options() -> None:
    label = ModelChoice("lightgcn", {"negatives": "mixture:popularity=1,uniform=1", "dim": 8}).label
    assert label == 'lightgcn:negatives="mixture:popularity=1,uniform=1",dim=8'
    assert ModelChoice.parse(str(label)).options == {"negatives": "mixture:popularity=1,uniform=1", "dim": 8}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("buirnb", "unknown model 'buirnb', .* did you mean 'buir-nb'"),
        ("buir-nb:papr", "no preset 'papr'"),
        ("buir-nb:dimm=8", "unknown option of the model buir-nb 'dimm'; known: dim"),
        ("buir-nb:encoder=id", "unknown option of the model buir-nb 'encoder'"),
        ("lightgcn:encoder=id", "unknown option of the model lightgcn 'encoder'"),
        ("bpr:layers=2", "unknown option of the model bpr 'layers'"),
        ("ease:epochs=3", "unknown option of the model ease 'epochs'"),
        ("buir-nb:dim=8,dim=9", "the option dim is given twice"),
        ("buir-nb:epochs=0", "epochs must be at least 1"),
        ("buir-nb:lr=fast", "lr must be a finite number"),
        ("buir-nb:negatives=uniform", "buir-nb draws no negatives"),
        ("lightgcn:negatives=popular", "unknown kind of negatives 'popular'; known: popularity"),
        ("lightgcn:negatives=uniform,negatives.alpha=1", "unknown option of the negatives uniform 'alpha'"),
        ("lightgcn:negatives.alpha=1", "unknown kind of negatives"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ModelChoice.parse(text)


def test_options_that_json_cannot_spell() -> None:
    with pytest.raises(InvalidInputError, match="JSON can spell"):
        ModelChoice("ease", {"l2": object()})


def test_descriptions() -> None:
    found = {one["name"]: one for one in describe_models()}
    assert list(found) == list(MODELS)
    assert set(FLOORS) <= set(found)
    json.dumps(found, allow_nan=False)
    for name, one in found.items():
        assert one["citation"], name
        options = {option["name"]: option for option in one["options"]}
        assert set(one["ranges"]) <= set(options), name
        for option in options:
            assert ModelChoice(name).knows(option)
            assert options[option]["description"], f"{name}.{option} is not documented"
        assert (set(TrainSettings.names()) <= set(options)) is one["trained"]
        ModelChoice(name, {option: one["default"] for option, one in options.items()})
    assert found["buir-nb"]["presets"]["paper"]["dim"] == 250
