"""The loss that scorers learn by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import validate_number
from kgneg.integrations.sentence_transformers import EntityLoss
from kgneg.qa.questions import QuestionSet
from kgneg.qa.scorers import TrainableScorer

__all__ = ["ChoiceMarginLoss", "margin_loss"]

_DRAWS = 0x63686F69


def margin_loss(scores: FloatTensor, sizes: LongTensor, labels: LongTensor, margin: float = 1.0) -> FloatTensor:
    r"""Return the multi-class margin loss of questions that may have different numbers of choices.

    .. math:: \ell = \frac{1}{m} \sum_{i \neq y} \max(0, \eta - s_y + s_i)

    Source: Ma et al., AAAI 2021.

    :param scores: shape: ``(k,)``, of the choices of all questions, one after the other
    :param sizes: shape: ``(b,)``, how many choices a question has
    :param labels: shape: ``(b,)``, the place of the right one
    :param margin: how far the right score is to be above the others
    :returns: the mean over questions

    >>> margin_loss(torch.tensor([2.0, 1.5, 0.0]), torch.tensor([3]), torch.tensor([0]))
    tensor(0.1667)
    """
    right = sizes.cumsum(0) - sizes + labels
    owner = torch.repeat_interleave(torch.arange(len(sizes), device=scores.device), sizes)
    missing = (margin - scores[right][owner] + scores).clamp(min=0)
    wrong = torch.ones_like(scores).index_fill(0, right, 0.0)
    return (missing * wrong / sizes[owner]).sum() / len(sizes)


class ChoiceMarginLoss(EntityLoss):
    """The margin loss over the choices of questions, for any scorer that can be trained.

    The trainer gives the number of each question; texts are read anew, since choices belong to their question.

    :param scorer: what scores choices
    :param questions: the questions
    :param margin: how far the right score is to be above the others
    :param seed: the seed of what the scorer draws
    """

    def __init__(self, scorer: TrainableScorer, questions: QuestionSet, *, margin: float = 1.0, seed: int = 0) -> None:
        number = torch.arange(len(questions))
        super().__init__(scorer.model, number, questions.labels, int(questions.sizes.max()), 1.0)
        self.scorer, self.questions, self.seed = scorer, questions, seed
        self.margin = validate_number("margin", margin, above=True)

    def forward(self, features: Iterable[Any], labels: LongTensor) -> FloatTensor:
        """Return the mean loss of a batch.

        :param features: of the questions, which are read again with their choices
        :param labels: shape: ``(b, 2)``, the number of each question and the place of its right choice
        """
        query, right = labels.unbind(-1)
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, _DRAWS, self.step))
        self.advance()
        rows = query.tolist()
        choices = [self.questions.choices[one] for one in rows]
        scores = self.scorer.batch_scores([self.questions.questions[one] for one in rows], choices, generator)
        sizes = torch.tensor([len(one) for one in choices], device=scores.device)
        return margin_loss(scores, sizes, right.to(scores.device), self.margin)
