from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kgneg.compare.names import (
    UnknownNameError,
    describe_samplers,
    find_loss,
    find_model,
    find_sampler,
    is_dataset,
    sampler_options,
    unknown_name,
)
from kgneg.integrations.pykeen import SAMPLERS


def test_near_names_come_first() -> None:
    message = str(unknown_name("thing", "lemmon", {"apple", "lemon", "melon"}))
    assert message == "unknown thing 'lemmon'; known: lemon, apple, melon"
    assert str(unknown_name("thing", "x", ())) == "unknown thing 'x'; known: none"


@pytest.mark.parametrize(
    ("find", "name", "wrong", "near"),
    [
        (find_sampler, "lemon", "lemmon", "lemon"),
        (find_model, "transe", "transee", "transe"),
        (find_loss, "nssa", "nsa", "nssa"),
    ],
)
def test_finding(find: Callable[[str], Any], name: str, wrong: str, near: str) -> None:
    assert find(name) is find(name.upper())
    with pytest.raises(UnknownNameError, match=f"unknown .* {wrong!r}; known: {near}, "):
        find(wrong)


def test_samplers_of_both_are_found_in_any_spelling() -> None:
    assert {find_sampler(known.display_name) for known in SAMPLERS} == set(SAMPLERS)
    assert find_sampler("Kgneg_Uniform") is find_sampler("kgneg-uniform")
    assert find_sampler("basic").__module__.startswith("pykeen.")


def test_options_are_those_of_the_user() -> None:
    assert set(sampler_options(find_sampler("basic"))) == {
        "corruption_scheme", "filtered", "filterer", "filterer_kwargs",
    }  # fmt: skip
    lemon = sampler_options(find_sampler("lemon"))
    assert {"texts", "encoder", "seed"} <= set(lemon)
    assert not {"self", "mapped_triples", "num_entities", "num_relations", "num_negs_per_pos"} & set(lemon)


def test_descriptions_are_complete() -> None:
    found = describe_samplers()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    names = [sampler["name"] for sampler in found]
    assert names[: len(SAMPLERS)] == [known.display_name for known in SAMPLERS]
    assert {"basic", "bernoulli", "pseudotyped"} <= set(names)
    for sampler in found:
        assert sampler["description"].endswith(".")
        assert sampler["citation"]
        assert ":class:" not in json.dumps(sampler)
        if sampler["source"] == "kgneg":
            assert all(option["description"] for option in sampler["options"]), sampler["name"]
    by_name = {sampler["name"]: sampler for sampler in found}
    assert by_name["lemon"]["needs_text"]
    assert not by_name["basic"]["needs_text"]
    assert [one["name"] for one in by_name["given"]["options"] if one["required"]] == ["path"]


def test_datasets() -> None:
    assert is_dataset("umls")
    assert is_dataset("FB15k-237")
    assert not is_dataset("no-such-graph")
