from __future__ import annotations

import json
from typing import Any

import pytest

from kgneg.compare import CompareSettings, UnknownNameError
from kgneg.core.errors import InvalidInputError


def make(**changes: Any) -> CompareSettings:
    return CompareSettings(**{"dataset": "nations", "samplers": ("basic", "lemon"), **changes})


def test_dictionary_has_what_was_left_open() -> None:
    found = make().to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["loss"], found["dim"], found["seeds"]) == ("marginranking", 64, [0, 1, 2])
    assert [sampler["label"] for sampler in found["samplers"]] == ["basic", "lemon"]
    assert make(loss="NSSA", dim=8).to_dict()["loss"] == "nssa"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": 1.5}, "epochs must be an integer"),
        ({"negatives": -1}, "negatives must be at least 1"),
        ({"batch_size": 0}, "batch_size"),
        ({"dim": 0}, "dim must be at least 1"),
        ({"checked": 0}, "checked"),
        ({"learning_rate": 0.0}, "learning_rate must be a positive number"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"seeds": ()}, "at least one integer"),
        ({"seeds": 3}, "tuple"),
        ({"seeds": (1, 1)}, "seeds must differ"),
        ({"seeds": (-1,)}, "a seed must be at least 0"),
        ({"seeds": (2**32,)}, "below"),
        ({"samplers": ()}, "at least one sampler"),
        ({"samplers": "basic"}, "at least one sampler"),
        ({"samplers": ("basic", "basic")}, "samplers must differ, got basic twice"),
        ({"dataset": None}, "give a dataset, or at least a train and a test file"),
        ({"dataset": None, "train": "a"}, "give a dataset, or at least a train and a test file"),
        ({"train": "a", "test": "b"}, "not both"),
        ({"missing_text": "skip"}, "missing_text must be error or label"),
        ({"samplers": ("basic",), "encoder": "lexical"}, "encoder would have no effect"),
        ({"samplers": ("lemon:encoder=lexical",), "encoder": "lexical"}, "encoder would have no effect"),
        ({"loop": "lcwa"}, "loop must be one of auto, slcwa, kgneg; got 'lcwa'"),
        (
            {"samplers": ("basic", "dynamic:pool=9"), "loop": "slcwa"},
            "does not show the model to dynamic:pool=9: leave",
        ),
        ({"device": "gpu"}, "device must be auto, cpu, cuda"),
        ({"device": "cuda:99"}, "is not there"),
        ({"model": "conve", "dim": 3, "samplers": ("lemmon",)}, "unknown sampler"),
        ({"model": "um", "loss": "nope"}, "unknown loss 'nope'"),
        ({"model": "trnse"}, "unknown model 'trnse'; known: transe"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make(**changes)


def test_unknown_names_can_be_told_apart() -> None:
    with pytest.raises(UnknownNameError):
        make(model="nope")


def test_a_model_without_dimension() -> None:
    assert make(model="fixed").to_dict()["dim"] is None
    with pytest.raises(InvalidInputError, match="has no embedding_dim"):
        make(model="fixed", dim=3)


def test_loops() -> None:
    both = make(samplers=("basic", "dynamic", "nscaching"))
    assert [both.loop_of(choice) for choice in both.choices] == ["slcwa", "kgneg", "kgneg"]
    assert [sampler["loop"] for sampler in both.to_dict()["samplers"]] == ["slcwa", "kgneg", "kgneg"]
    assert [make(loop="kgneg").loop_of(choice) for choice in make().choices] == ["kgneg", "kgneg"]
    assert [make(loop="slcwa").loop_of(choice) for choice in make().choices] == ["slcwa", "slcwa"]
