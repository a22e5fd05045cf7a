"""Masked language models."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from kgneg.core.errors import InvalidInputError
from kgneg.qa import MaskedScorer, QuestionSet
from kgneg.qa.wording import statements


def by_hand(folder: str, text: str) -> float:
    """Return the mean log-probability of the tokens of a text, one at a time."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForMaskedLM.from_pretrained(folder).eval()
    tokenizer.truncation_side = "left"
    ids = tokenizer(text, truncation=True)["input_ids"]
    found = []
    for place in range(1, len(ids) - 1):
        hidden = torch.tensor([[*ids[:place], tokenizer.mask_token_id, *ids[place + 1 :]]])
        with torch.no_grad():
            found.append(float(model(hidden).logits[0, place].log_softmax(-1)[ids[place]]))
    return sum(found) / len(found)


def test_scores_are_those_of_the_formula(tiny_language_model: str, questions: QuestionSet) -> None:
    scorer = MaskedScorer.of(tiny_language_model, batch_size=5, progress=False)
    found = torch.cat(scorer.scores(questions.questions, questions.choices))
    texts, _ = statements(questions.questions, questions.choices)
    for text, score in zip(texts, found.tolist(), strict=True):
        assert score == pytest.approx(by_hand(tiny_language_model, text), abs=1e-4)
    wide = MaskedScorer.of(tiny_language_model, batch_size=500, progress=False)
    torch.testing.assert_close(torch.cat(wide.scores(questions.questions, questions.choices)), found)
    assert scorer.scores([], []) == []


def test_all_positions_in_training_are_the_same(tiny_language_model: str, questions: QuestionSet) -> None:
    scorer = MaskedScorer.of(tiny_language_model, positions=100, keywords=False, progress=False)
    whole = torch.cat(scorer.scores(questions.questions, questions.choices))
    batch = scorer.batch_scores(questions.questions, questions.choices, torch.Generator().manual_seed(0))
    assert batch.requires_grad
    torch.testing.assert_close(batch.detach(), whole)


def test_telling_words_alone(tiny_language_model: str) -> None:
    scorer = MaskedScorer.of(tiny_language_model, positions=100, progress=False)
    plain = MaskedScorer.of(tiny_language_model, positions=100, keywords=False, progress=False)
    asked, choices = ["the king and"], [["lead the people with metal", "and the"]]
    few, all_words = (one.batch_scores(asked, choices, torch.Generator()).tolist() for one in (scorer, plain))
    assert few[0] != pytest.approx(all_words[0], abs=1e-4)
    assert few[1] != pytest.approx(all_words[1], abs=1e-4)  # king
    dull = scorer.batch_scores(["the and"], [["a", "with the"]], torch.Generator())
    torch.testing.assert_close(dull, plain.batch_scores(["the and"], [["a", "with the"]], torch.Generator()))


def test_positions_are_drawn(tiny_language_model: str, questions: QuestionSet) -> None:
    scorer = MaskedScorer.of(tiny_language_model, positions=1, progress=False)
    draws = [
        scorer.batch_scores(questions.questions, questions.choices, torch.Generator().manual_seed(seed)).detach()
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_long_texts_lose_their_beginning(tiny_language_model: str) -> None:
    scorer = MaskedScorer.of(tiny_language_model, progress=False)
    question = " ".join(["metal"] * 60)
    (found,) = scorer.scores([question], [["bake bread", "cook soup"]])
    assert found[0] != found[1]


def test_a_model_without_the_layer_says_so(tiny_encoder: str, caplog: pytest.LogCaptureFixture) -> None:
    before = torch.get_rng_state()
    first, second = (MaskedScorer.of(tiny_encoder, seed=3, progress=False) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert "it says nothing before it is trained" in caplog.text
    asked, choices = ["we bake"], [["bread", "soup"]]
    torch.testing.assert_close(first.scores(asked, choices)[0], second.scores(asked, choices)[0])


def test_refusals(tmp_path: object) -> None:
    with pytest.raises(InvalidInputError, match=r"masked language model .* cannot be loaded"):
        MaskedScorer.of(f"{tmp_path}/nothing")
