"""Rankers that are trained and kept."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.encode import LexicalEncoder
from kgneg.core.errors import InvalidInputError
from kgneg.datasets import Taxonomy
from kgneg.skills import ConceptRanker, ConceptSet, Examples, Recipe, load_ranker, save_ranker, train_ranker

pytest.importorskip("accelerate")

QUICK: dict[str, Any] = {"steps": 30, "batch_size": 4, "lr": 3e-3, "trainable_layers": None, "bonus": 0.0}


def best(ranker: Any, examples: Examples) -> float:
    """Return the share of the texts whose first concept is right."""
    top = ranker.scores(examples.texts).argmax(-1)
    right = set(zip(examples.queries.tolist(), examples.concepts.tolist(), strict=True))
    return sum((row, one) in right for row, one in enumerate(top.tolist())) / len(examples.texts)


@pytest.mark.parametrize(
    "recipe",
    [
        {"strategies": {"sibling": 1, "edit": 1, "random": 2}},
        {"strategies": {"embedding:2": 2}, "refresh": 10, "labels": "trained"},
        {"method": "softmax"},
        {"method": "classifiers", "strategies": {"random": 4}, "lr": 0.1, "epochs": 60},
    ],
)
def test_it_learns_and_is_kept(
    recipe: dict[str, Any], concepts: ConceptSet, examples: Examples, tiny_encoder: str, tmp_path: Path
) -> None:
    untrained = ConceptRanker(concepts.labels, tiny_encoder, progress=False)
    ranker = train_ranker(
        concepts, examples, tmp_path / "r", Recipe(**QUICK | recipe), encoder=tiny_encoder, progress=False
    )
    assert best(ranker, examples) > max(best(untrained, examples), 0.8)
    assert not (tmp_path / "r" / ".training").exists()
    stored = load_ranker(tmp_path / "r", progress=False)
    torch.testing.assert_close(stored.ranker.scores(["join steel"]), ranker.scores(["join steel"]))
    assert list(stored.concepts.names) == list(concepts.names) and stored.concepts.neighbours("sibling") is not None
    assert stored.record["examples"]["pairs"] == 7 and stored.record["report"]["losses"]
    again = train_ranker(
        concepts, examples, tmp_path / "r", Recipe(**QUICK | recipe), encoder=tiny_encoder, progress=False
    )
    torch.testing.assert_close(again.scores(["join steel"]), ranker.scores(["join steel"]))


def test_fixed_labels_stay(concepts: ConceptSet, examples: Examples, tiny_encoder: str, tmp_path: Path) -> None:
    before = ConceptRanker(concepts.labels, tiny_encoder, progress=False)
    recipe = Recipe(**QUICK | {"steps": 3, "strategies": {"random": 2}})
    ranker = train_ranker(concepts, examples, tmp_path / "r", recipe, encoder=tiny_encoder, progress=False)
    assert isinstance(ranker, ConceptRanker)
    torch.testing.assert_close(ranker.vectors, before.vectors)
    assert not torch.allclose(ranker.scores(["join steel"]), before.scores(["join steel"]))


def test_other_arguments_need_another_folder(
    concepts: ConceptSet, examples: Examples, tiny_encoder: str, tmp_path: Path
) -> None:
    recipe = Recipe(**QUICK | {"method": "softmax", "steps": 2})
    train_ranker(concepts, examples, tmp_path / "r", recipe, encoder=tiny_encoder, progress=False)
    with pytest.raises(InvalidInputError, match="trained otherwise"):
        train_ranker(
            concepts, examples, tmp_path / "r", Recipe(**QUICK | {"method": "softmax", "steps": 3}),
            encoder=tiny_encoder, progress=False,
        )  # fmt: skip
    unfinished = tmp_path / "u" / ".training"
    unfinished.mkdir(parents=True)
    (unfinished / "key.json").write_text('"other"', encoding="utf-8")
    (unfinished / "checkpoint-2").mkdir()
    with pytest.raises(InvalidInputError, match="unfinished training with other arguments"):
        train_ranker(concepts, examples, tmp_path / "u", recipe, encoder=tiny_encoder, progress=False)
    (unfinished / "checkpoint-2").rmdir()  # nothing was done yet
    train_ranker(concepts, examples, tmp_path / "u", recipe, encoder=tiny_encoder, progress=False)


def _train(folder: str, encoder: str, steps: int) -> None:
    torch.set_num_threads(1)
    links = [("weld", "metal"), ("cut", "metal"), ("bake", "food"), ("cook", "food")]
    concepts = ConceptSet.of(Taxonomy.from_pairs(links))
    examples = Examples.of([("join steel", 5), ("make loaves", 0), ("hot oven", 1), ("the king", 2)])
    recipe = Recipe(steps=steps, batch_size=2, strategies={"sibling": 1, "random": 1}, trainable_layers=None, lr=1e-3)
    train_ranker(concepts, examples, folder, recipe, encoder=encoder, progress=False)


@pytest.mark.slow
def test_a_killed_training_goes_on(tiny_encoder: str, tmp_path: Path, other_process: Callable[..., Any]) -> None:
    _train(str(tmp_path / "whole"), tiny_encoder, 200)
    process = other_process(_train, str(tmp_path / "killed"), tiny_encoder, 200)
    deadline = time.monotonic() + 100
    while not list((tmp_path / "killed").glob(".training/checkpoint-*/trainer_state.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed" / "ranker.json").exists()
    _train(str(tmp_path / "killed"), tiny_encoder, 200)
    whole, killed = (load_ranker(tmp_path / one, progress=False).ranker for one in ("whole", "killed"))
    torch.testing.assert_close(killed.scores(["join steel"]), whole.scores(["join steel"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "svm"}, "bi-encoder"),
        ({"strategies": {"siblings": 1}}, "sibling"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"trainable_layers": 0}, "trainable_layers must be at least 1"),
        ({"max_length": 2}, "max_length must be at least 3"),
        ({"strategies": {"random:many": 1}}, "random has no options"),
        ({"method": "softmax", "strategies": {"random": 1}}, "leave the strategies out"),
        ({"lr": 0.0}, "lr must"),
        ({"strategies": {}}, "at least one strategy"),
        ({"strategies": {"sibling": 0}}, "at least 1, got 0"),
        ({"refresh": 5, "strategies": {"random": 1}}, "refresh needs"),
        ({"labels": "trained", "method": "softmax"}, "labels='trained'"),
    ],
)
def test_recipes_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Recipe(**options)


def test_encoders_that_cannot_be_trained(concepts: ConceptSet, examples: Examples, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="method='classifiers' takes others, too"):
        train_ranker(concepts, examples, tmp_path / "r", encoder="lexical", progress=False)
    ranker = train_ranker(
        concepts, examples, tmp_path / "c", Recipe(method="classifiers", strategies={"sibling": 2}),
        encoder="lexical", progress=False,
    )  # fmt: skip
    assert best(ranker, examples) > 0.9


def test_what_is_in_a_folder_stays(concepts: ConceptSet, examples: Examples, tiny_encoder: str, tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    precious = tmp_path / "training" / "gold.csv"
    precious.write_text("mine", encoding="utf-8")
    recipe = Recipe(**QUICK | {"method": "softmax", "steps": 1})
    with pytest.raises(InvalidInputError, match="holds other things"):
        train_ranker(concepts, examples, tmp_path, recipe, encoder=tiny_encoder, progress=False)
    with pytest.raises(InvalidInputError, match="is no folder"):
        train_ranker(concepts, examples, precious, recipe, encoder=tiny_encoder, progress=False)
    assert precious.read_text(encoding="utf-8") == "mine"


def test_refusals_before_any_work(concepts: ConceptSet, examples: Examples, tiny_encoder: str, tmp_path: Path) -> None:
    class Own:
        def encode(self, texts: list[str]) -> Any:
            pytest.fail("work was done")

    with pytest.raises(InvalidInputError, match="type Own cannot be kept"):
        train_ranker(concepts, examples, tmp_path / "r", Recipe(method="classifiers"), encoder=Own(), progress=False)
    with pytest.raises(InvalidInputError, match=r"trainable_layers must be in \[1, 2\]"):
        train_ranker(
            concepts, examples, tmp_path / "r", Recipe(trainable_layers=5), encoder=tiny_encoder, progress=False
        )
    letters = ConceptSet(["a", "b"], ["x", "y"], [(), ()])
    with pytest.raises(InvalidInputError, match="nothing to look for"):
        train_ranker(letters, Examples.of([("steel", 0)]), tmp_path / "r", encoder=tiny_encoder, progress=False)
    everything = Examples.of([("steel", number) for number in range(7)])
    with pytest.raises(InvalidInputError, match="has all 7 concepts"):
        train_ranker(concepts, everything, tmp_path / "r", encoder=tiny_encoder, progress=False)
    assert not (tmp_path / "r").exists()


def test_one_pair(concepts: ConceptSet, tmp_path: Path) -> None:
    recipe = Recipe(method="classifiers", strategies={"random": 1}, epochs=1)
    train_ranker(concepts, Examples.of([("steel", 0)]), tmp_path / "r", recipe, encoder="lexical", progress=False)


def test_other_relations_are_another_training(
    taxonomy: Taxonomy, concepts: ConceptSet, examples: Examples, tmp_path: Path
) -> None:
    recipe = Recipe(method="classifiers", strategies={"relation": 2})
    train_ranker(concepts, examples, tmp_path / "r", recipe, encoder="lexical", progress=False)
    index = taxonomy.relations["occupation"]
    skill, occupation = index.pairs()
    other = CandidateIndex.from_pairs(skill, 1 - occupation, num_rows=index.num_rows, num_columns=index.num_columns)
    turned = dataclasses.replace(taxonomy, relations={"occupation": other})
    with pytest.raises(InvalidInputError, match="trained otherwise"):
        train_ranker(
            ConceptSet.of(turned, "skill"), examples, tmp_path / "r", recipe, encoder="lexical", progress=False
        )


def test_options_of_matcher_and_encoder_are_kept(concepts: ConceptSet, tmp_path: Path) -> None:
    ranker = ConceptRanker(
        concepts.labels, LexicalEncoder(64), matcher=concepts.matcher(ambiguous="drop"), bonus=0.5, progress=False
    )
    save_ranker(tmp_path, ranker, concepts)
    again = load_ranker(tmp_path, progress=False).ranker
    texts = ["make loaves", "bake bread"]
    torch.testing.assert_close(again.scores(texts), ranker.scores(texts))


def test_damaged_folders(concepts: ConceptSet, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="holds no ranker"):
        load_ranker(tmp_path)
    save_ranker(tmp_path, ConceptRanker(concepts.labels, "lexical", progress=False), concepts)
    assert load_ranker(tmp_path, progress=False).ranker.scores(["weld"]).shape == (1, 7)
    path = tmp_path / "ranker.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"format": "other"}), encoding="utf-8")
    with pytest.raises(InvalidInputError, match="no ranker of this version"):
        load_ranker(tmp_path)
    path.write_text(json.dumps({one: content[one] for one in content if one != "labels"}), encoding="utf-8")
    with pytest.raises(InvalidInputError, match="'labels' is missing"):
        load_ranker(tmp_path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="is damaged"):
        load_ranker(tmp_path)
    with pytest.raises(InvalidInputError, match="does not fit 2"):
        short = ConceptSet(["a", "b"], ["weld", "cut"], [(), ()])
        save_ranker(tmp_path, ConceptRanker(concepts.labels, "lexical", progress=False), short)


def test_texts_that_are_cut_are_counted(concepts: ConceptSet, tiny_encoder: str) -> None:
    ranker = ConceptRanker(concepts.labels, tiny_encoder, progress=False)
    assert ranker.truncated(["weld", "weld " * 40]) == 1 and ranker.truncated([]) == 0
    assert ConceptRanker(concepts.labels, "lexical", progress=False).truncated(["weld " * 999]) == 0
