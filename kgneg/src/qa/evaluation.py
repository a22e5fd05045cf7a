"""How well scorers answer questions that they have not learnt from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.qa.benchmarks import find_benchmarks, read_benchmark
from kgneg.qa.questions import QuestionSet
from kgneg.qa.scorers import Scorer
from kgneg.report import Table

__all__ = ["SetResult", "ZeroShotResult", "evaluate_zero_shot", "judge_choices", "wilson_interval"]

_Z = 1.959963984540054  # 95 %


class SetResult(NamedTuple):
    """How well the questions of a set were answered."""

    #: the share of right answers, in ``[0, 1]``; of choices that share the highest score each counts in part
    accuracy: float
    #: how many questions there are
    size: int
    #: the interval of Wilson, 95 per cent
    low: float
    high: float
    #: what guessing is worth
    chance: float


@dataclass(frozen=True)
class ZeroShotResult:
    """How well a scorer answers the questions of several sets.

    :param sets: set -> its figures
    """

    sets: Mapping[str, SetResult]

    @property
    def mean(self) -> float:
        """The mean accuracy over sets, in ``[0, 1]``."""
        return sum(one.accuracy for one in self.sets.values()) / len(self.sets)

    @property
    def chance(self) -> float:
        """The mean over sets of what guessing is worth."""
        return sum(one.chance for one in self.sets.values()) / len(self.sets)

    def table(self) -> Table:
        """Return the figures as a table, in per cent."""
        rows = [
            (name, f"{one.size:,}", _cent(one.accuracy), f"{_cent(one.low)} to {_cent(one.high)}", _cent(one.chance))
            for name, one in self.sets.items()
        ]
        if len(rows) > 1:
            total = sum(one.size for one in self.sets.values())
            rows.append(("mean", f"{total:,}", _cent(self.mean), "", _cent(self.chance)))
        caption = "Accuracy in per cent with the 95 per cent interval of Wilson, and what guessing is worth."
        return Table(("set", "questions", "accuracy", "interval", "chance"), tuple(rows), caption)

    def markdown(self) -> str:
        """Return the figures as a table in Markdown."""
        table = self.table()
        marks = ["---" if table.is_text(place) else "--:" for place in range(len(table.columns))]
        return "\n".join("| " + " | ".join(row) + " |" for row in (table.columns, tuple(marks), *table.rows)) + "\n"

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON can spell them."""
        return {"sets": {name: one._asdict() for name, one in self.sets.items()}, "mean": self.mean}


def evaluate_zero_shot(scorer: Scorer, sets: Mapping[str, str | Path | QuestionSet] | str | Path) -> ZeroShotResult:
    """Let a scorer answer the questions of benchmarks: the choice with the highest score is its answer.

    :param scorer: the scorer
    :param sets: name -> a file, see :func:`~kgneg.qa.read_benchmark`, or questions; or a folder, see
        :func:`~kgneg.qa.find_benchmarks`
    :returns: the figures
    :raises InvalidInputError: if there is no set, a file is malformed, or scores do not fit
    """
    given = find_benchmarks(sets) if isinstance(sets, str | Path) else sets
    if not given:
        raise InvalidInputError("there is no set of questions to answer")
    read = {name: one if isinstance(one, QuestionSet) else read_benchmark(name, one) for name, one in given.items()}
    return ZeroShotResult({name: judge_choices(scorer, one) for name, one in read.items()})


def judge_choices(scorer: Scorer, questions: QuestionSet) -> SetResult:
    """Let a scorer answer questions.

    :param scorer: the scorer
    :param questions: the questions
    :returns: the figures
    :raises InvalidInputError: if there is no question, or scores are missing or no numbers
    """
    if not len(questions):
        raise InvalidInputError("there are no questions to answer")
    scores, sizes = scorer.scores(questions.questions, questions.choices), questions.sizes
    if [len(one) for one in scores] != sizes.tolist():
        raise InvalidInputError(f"{type(scorer).__name__} does not give one score per choice")
    table = torch.nn.utils.rnn.pad_sequence([one.float().cpu() for one in scores], True, -math.inf)
    wrong = table.isnan().any(-1).nonzero()
    if len(wrong):
        raise InvalidInputError(f"the scores of question {int(wrong[0])} hold NaN")
    best = table == table.max(-1, keepdim=True).values
    best &= torch.arange(table.shape[1]) < sizes[:, None]
    right = best.gather(1, questions.labels[:, None])[:, 0].double() / best.sum(-1)
    low, high = wilson_interval(float(right.sum()), len(questions))
    return SetResult(float(right.mean()), len(questions), low, high, float(sizes.double().reciprocal().mean()))


def wilson_interval(right: float, size: int) -> tuple[float, float]:
    """Return the 95 per cent interval of a share.

    Source: Wilson, Journal of the American Statistical Association 1927.

    :param right: how many are right
    :param size: of how many, at least 1
    :returns: the lower and the upper end, in ``[0, 1]``

    >>> [round(one, 3) for one in wilson_interval(50, 100)]
    [0.404, 0.596]
    """
    share, spread = right / size, _Z**2 / size
    middle = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / size + spread / (4 * size))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _cent(share: float) -> str:
    return f"{100 * share:.1f}"
