"""Bi-encoders."""

from __future__ import annotations

import pytest
import torch

from kgneg.core.encode import LexicalEncoder
from kgneg.core.errors import InvalidInputError
from kgneg.qa import BiEncoderScorer, QuestionSet, Scorer

ASKED, CHOICES = ["metal workers weld", "the {answer} soup"], [["welders of metal", "a zoo"], ["cook", "x", "soup"]]


def test_cosines() -> None:
    scorer = BiEncoderScorer("lexical", scale=2.0, progress=False)
    assert isinstance(scorer, Scorer)
    found = scorer.scores(ASKED, CHOICES)
    encoder = LexicalEncoder()
    for asked, choices, scores in zip(["metal workers weld", "the _ soup"], CHOICES, found, strict=True):
        question = torch.as_tensor(encoder.encode([asked]))
        vectors = torch.as_tensor(encoder.encode(choices))
        torch.testing.assert_close(scores, 2 * torch.nn.functional.cosine_similarity(question, vectors))
    assert scorer.scores([], []) == []


def test_statements() -> None:
    scorer = BiEncoderScorer("lexical", pairing="statement", progress=False)
    assert scorer.scores(["a b"], [["", "zzz"]])[0].argmax() == 0
    assert scorer.options == {"pairing": "statement", "scale": 10.0}


def test_batches_are_the_same(tiny_encoder: str, questions: QuestionSet) -> None:
    scorer = BiEncoderScorer(tiny_encoder, progress=False)
    whole = torch.cat(scorer.scores(questions.questions, questions.choices))
    batch = scorer.batch_scores(questions.questions, questions.choices, torch.Generator())
    assert batch.requires_grad
    torch.testing.assert_close(batch.detach(), whole, atol=1e-4, rtol=1e-4)


def test_refusals() -> None:
    with pytest.raises(InvalidInputError, match="pairing must be one of answer, statement"):
        BiEncoderScorer("lexical", pairing="both")
    with pytest.raises(InvalidInputError, match="LexicalEncoder is no sentence-transformers model"):
        _ = BiEncoderScorer("lexical").model
