"""True labels, to compare a report with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from kgneg.audit.words import percent
from kgneg.cleaning.material import read_labels
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import BoolTensor
from kgneg.report import Table
from kgneg.samplers.noise import DetectionScores, NoiseReport

__all__ = ["Gold", "LevelScores", "read_gold"]

logger = logging.getLogger(__name__)


class LevelScores(NamedTuple):
    """How good a level really is, on the rows whose truth is known."""

    #: rows of at least this probability are flagged
    level: float
    #: how many rows that are
    flagged: int
    #: the share of hidden positives among them; ``None`` without any
    precision: float | None
    #: the share of the hidden positives that is among them; ``None`` if there are none
    recall: float | None


@dataclass(frozen=True, eq=False)
class Gold:
    """The truth about rows.

    :param report: the report that it is about
    :param labels: the true label of each row, ``None`` where it is not known
    """

    report: NoiseReport
    labels: tuple[str | None, ...]

    @property
    def known(self) -> BoolTensor:
        """Shape ``(n,)``: negatives whose truth is known."""
        return torch.tensor([label is not None for label in self.labels]) & self.report.negative

    @property
    def positive(self) -> BoolTensor:
        """Shape ``(n,)``: which rows are really positive, as far as it is known."""
        negative = str(self.report.classes[0])
        return torch.tensor([label is not None and label != negative for label in self.labels])

    def scores(self) -> DetectionScores:
        """Return average precision, AUC, and precision, recall and F1 of the flagged rows."""
        return self.report.evaluate(self.positive, self.known)

    def suggested(self) -> tuple[int, int]:
        """Return of how many flagged hidden positives the suggestion is right, and how many there are."""
        rows = (self.report.flagged & self.known & self.positive).nonzero().squeeze(-1).tolist()
        given = [str(self.report.classes[code]) if code >= 0 else None for code in self.report.suggestion.tolist()]
        return sum(given[row] == self.labels[row] for row in rows), len(rows)

    def table(self) -> Table:
        """Return the scores as a table for people."""
        scores = self.scores()
        right, flagged = self.suggested()
        both = 0 < scores.gold < int(self.known.sum())  # otherwise there is nothing to rank
        rows = (
            ("negatives whose truth is known", f"{int(self.known.sum()):,}"),
            ("hidden positives among them", f"{scores.gold:,}"),
            ("average precision, %", percent(scores.average_precision if both else None)),
            ("AUC, %", percent(scores.auc if both else None)),
            ("precision among the first 100, %", percent(scores.precision_at_100)),
            ("flagged", f"{scores.flagged:,}"),
            ("precision of the flags, %", percent(scores.precision)),
            ("recall of the flags, %", percent(scores.recall)),
            ("F1 of the flags, %", percent(scores.f1)),
            ("right flags with the right suggestion, %", percent(right / flagged if flagged else None)),
        )
        return Table(("by the true labels", "number"), rows)

    def curve(self, levels: list[float]) -> list[LevelScores]:
        """Return how good levels really are.

        :param levels: probabilities
        :returns: the scores at each of them
        """
        score, truth = self.report.score[self.known].double(), self.positive[self.known]
        total = int(truth.sum())
        found = []
        for level in levels:
            flagged = (score >= level) & (score > 0)
            number, hits = int(flagged.sum()), int((flagged & truth).sum())
            found.append(LevelScores(level, number, hits / number if number else None, hits / total if total else None))
        return found


def read_gold(path: str | Path, format: str, negative_label: str, report: NoiseReport) -> Gold:
    """Read true labels.

    :param path: a table with the columns ``id`` and ``label``, or JSON in the format of the input
    :param format: the format of the input
    :param negative_label: the label of negatives
    :param report: the report to compare with
    :returns: the labels of its rows
    :raises InvalidInputError: if the file is malformed, or has none of the negatives
    """
    labels = read_labels(path, format, negative_label)
    gold = Gold(report, tuple(labels.get(str(name)) for name in report.ids))
    known = int(gold.known.sum())
    if not known:
        raise InvalidInputError(f"{path}: none of its {len(labels)} ids is a negative of this report")
    negatives = int(report.negative.sum())
    if known < negatives:
        logger.warning("%s: it has the truth of %d of %d negatives; the others are left out", path, known, negatives)
    return gold
