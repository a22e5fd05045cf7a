"""Cross-encoders."""

from __future__ import annotations

import pytest
import torch
from sentence_transformers import SentenceTransformer

from kgneg.core.errors import InvalidInputError
from kgneg.qa import CrossEncoderScorer, QuestionSet


def test_scores(tiny_encoder: str, questions: QuestionSet) -> None:
    before = torch.get_rng_state()
    scorer = CrossEncoderScorer.of(tiny_encoder, seed=1, progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    found = scorer.scores(questions.questions, questions.choices)
    assert [len(one) for one in found] == [2, 3, 2, 2] and scorer.scores([], []) == []
    batch = scorer.batch_scores(questions.questions, questions.choices, torch.Generator())
    torch.testing.assert_close(batch.detach(), torch.cat(found), atol=1e-4, rtol=1e-4)
    alone = scorer.scores(questions.questions[2:3], questions.choices[2:3])
    torch.testing.assert_close(alone[0], found[2], atol=1e-4, rtol=1e-4)
    same = CrossEncoderScorer.of(tiny_encoder, seed=1, progress=False)
    torch.testing.assert_close(same.scores(questions.questions, questions.choices)[0], found[0])
    other = CrossEncoderScorer.of(tiny_encoder, seed=2, progress=False)
    assert not torch.allclose(other.scores(questions.questions, questions.choices)[0], found[0])


def test_refusals(tiny_encoder: str) -> None:
    with pytest.raises(InvalidInputError, match="needs a sentence-transformers model, got LexicalEncoder"):
        CrossEncoderScorer.of("lexical")
    with pytest.raises(InvalidInputError, match="the model gives 32 numbers per text"):
        CrossEncoderScorer(SentenceTransformer(tiny_encoder, device="cpu"))
