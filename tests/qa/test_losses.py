"""The margin loss."""

from __future__ import annotations

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.qa import BiEncoderScorer, QuestionSet
from kgneg.qa.losses import ChoiceMarginLoss, margin_loss


def test_it_is_that_of_torch_for_equal_sizes() -> None:
    scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 3, 1, 2, 2])
    found = margin_loss(scores.view(-1), torch.full((5,), 4), labels, 0.7)
    torch.testing.assert_close(found, torch.nn.functional.multi_margin_loss(scores, labels, margin=0.7))


def test_sizes_may_differ() -> None:
    found = margin_loss(torch.tensor([1.0, 0.5, 0.0, 2.0, 0.0]), torch.tensor([2, 3]), torch.tensor([0, 1]))
    assert found == pytest.approx((0.5 / 2 + 0) / 2)
    assert margin_loss(torch.tensor([5.0, 0.0]), torch.tensor([2]), torch.tensor([0])) == 0


def test_loss_of_a_scorer(tiny_encoder: str, questions: QuestionSet) -> None:
    scorer = BiEncoderScorer(tiny_encoder, progress=False)
    loss = ChoiceMarginLoss(scorer, questions, margin=1.0)
    loss.eval()
    labels = torch.tensor([[1, 1], [3, 0]])
    scores = scorer.scores([questions.questions[one] for one in (1, 3)], [questions.choices[one] for one in (1, 3)])
    expected = margin_loss(torch.cat(scores), torch.tensor([3, 2]), torch.tensor([1, 0]))
    torch.testing.assert_close(loss([], labels).detach(), expected, atol=1e-4, rtol=1e-4)
    loss.train()
    loss([], labels).backward()
    assert loss.step == 1 and any(one.grad is not None for one in scorer.model.parameters())
    with pytest.raises(InvalidInputError, match="margin must be above 0"):
        ChoiceMarginLoss(scorer, questions, margin=0.0)
