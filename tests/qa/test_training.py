"""Scorers that are trained and kept."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.integrations.sentence_transformers import EntityLoss
from kgneg.qa import QuestionSet, Scorer, ScorerRecipe, judge_choices, load_scorer, make_scorer, train_scorer
from kgneg.qa.losses import ChoiceMarginLoss

pytest.importorskip("accelerate")

QUICK: dict[str, Any] = {"steps": 40, "batch_size": 4, "lr": 5e-3, "encoder": ""}


@pytest.fixture
def models(tiny_encoder: str, tiny_language_model: str) -> dict[str, str]:
    return {"bi-encoder": tiny_encoder, "cross-encoder": tiny_encoder, "masked": tiny_language_model}


def scored(scorer: Scorer, questions: QuestionSet) -> torch.Tensor:
    return torch.cat(scorer.scores(questions.questions, questions.choices))


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder", pytest.param("masked", marks=pytest.mark.slow)])
def test_it_learns_and_is_kept(kind: str, models: dict[str, str], questions: QuestionSet, tmp_path: Path) -> None:
    recipe = ScorerRecipe(**QUICK | {"kind": kind, "encoder": models[kind]})
    streams = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    scorer = train_scorer(questions, recipe, tmp_path / "s", progress=False)
    assert torch.equal(torch.get_rng_state(), streams[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == streams[1:]
    assert judge_choices(scorer, questions).accuracy == 1.0
    assert [one.name for one in sorted((tmp_path / "s").iterdir())] == ["model", "scorer.json"]
    stored = load_scorer(tmp_path / "s", progress=False)
    torch.testing.assert_close(scored(stored.scorer, questions), scored(scorer, questions))
    assert stored.record["questions"] == 4 and stored.record["recipe"]["kind"] == kind
    losses = stored.record["report"]["losses"]
    assert losses[-1] < losses[0]
    again = train_scorer(questions, recipe, tmp_path / "s", progress=False)
    torch.testing.assert_close(scored(again, questions), scored(scorer, questions))


@pytest.mark.parametrize("kind", ["bi-encoder", pytest.param("masked", marks=pytest.mark.slow)])
def test_an_interrupted_training_goes_on(
    kind: str, models: dict[str, str], questions: QuestionSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = ScorerRecipe(**QUICK | {"kind": kind, "encoder": models[kind], "steps": 20})
    whole = train_scorer(questions, recipe, progress=False)
    advance = EntityLoss.advance

    def stopped(self: EntityLoss) -> None:
        if self.step == 11:
            raise KeyboardInterrupt
        advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(ChoiceMarginLoss, "advance", stopped)
        with pytest.raises(KeyboardInterrupt):
            train_scorer(questions, recipe, tmp_path / "s", progress=False)
    assert list((tmp_path / "s" / ".training").glob("checkpoint-*"))
    with pytest.raises(InvalidInputError, match="an unfinished training with other arguments"):
        train_scorer(questions, dataclasses.replace(recipe, seed=1), tmp_path / "s", progress=False)
    with pytest.raises(InvalidInputError, match="holds no scorer"):
        load_scorer(tmp_path / "s")
    found = train_scorer(questions, recipe, tmp_path / "s", progress=False)
    torch.testing.assert_close(scored(found, questions), scored(whole, questions), atol=1e-4, rtol=1e-3)


def test_in_memory(tiny_encoder: str, questions: QuestionSet) -> None:
    recipe = ScorerRecipe(**QUICK | {"encoder": tiny_encoder, "pairing": "statement", "trainable_layers": 1})
    first, second = (train_scorer(questions, recipe, progress=False) for _ in range(2))
    torch.testing.assert_close(scored(first, questions), scored(second, questions))
    untrained = make_scorer("bi-encoder", tiny_encoder, pairing="statement", progress=False)
    assert not torch.allclose(scored(untrained, questions), scored(first, questions), atol=1e-2)


def test_folders_of_others(tiny_encoder: str, questions: QuestionSet, tmp_path: Path) -> None:
    recipe = ScorerRecipe(**QUICK | {"encoder": tiny_encoder, "steps": 1})
    train_scorer(questions, recipe, tmp_path / "s", progress=False)
    with pytest.raises(InvalidInputError, match="trained otherwise; give another folder"):
        train_scorer(questions, dataclasses.replace(recipe, margin=2.0), tmp_path / "s", progress=False)
    with pytest.raises(InvalidInputError, match="trained otherwise"):
        train_scorer(questions.select(torch.tensor([0, 1])), recipe, tmp_path / "s", progress=False)
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "file").touch()
    with pytest.raises(InvalidInputError, match="holds other things"):
        train_scorer(questions, recipe, tmp_path / "o", progress=False)
    with pytest.raises(InvalidInputError, match="is no folder"):
        train_scorer(questions, recipe, tmp_path / "o" / "file", progress=False)


def test_refusals(questions: QuestionSet) -> None:
    with pytest.raises(InvalidInputError, match="there are no questions to learn from"):
        train_scorer(questions.select(torch.tensor([], dtype=torch.long)))
    with pytest.raises(InvalidInputError, match="a LexicalEncoder cannot be trained"):
        train_scorer(questions, ScorerRecipe(encoder="lexical"))
    with pytest.raises(InvalidInputError, match="kind must be one of"):
        make_scorer("other")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "softmax"}, "kind must be one of bi-encoder, cross-encoder, masked"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"trainable_layers": 0}, "trainable_layers must be at least 1"),
        ({"margin": 0}, "margin must be above 0"),
        ({"warmup": 2}, "warmup must be between 0 and 1"),
        ({"keywords": "no"}, "keywords must be true or false"),
        ({"pairing": "both"}, "pairing must be one of"),
    ],
)
def test_recipes_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ScorerRecipe(**options)
