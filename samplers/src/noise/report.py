"""What a noise filter found."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import BoolTensor, FloatTensor, LongTensor
from kgneg.core.validation import validate_count, validate_share
from kgneg.samplers.noise.posterior import ExpectedCount, Labelling, best_level
from kgneg.samplers.noise.rows import NoiseRows
from kgneg.samplers.noise.scores import DetectionScores, score_detection, wilson_interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ACTIONS", "CurvePoint", "NoiseReport", "Policy"]

#: What to do with a row; ``NoiseReport.action`` holds positions in this tuple.
ACTIONS = ("keep", "eliminate", "reannotate", "review")
KEEP, ELIMINATE, REANNOTATE, REVIEW = range(4)
_AGREE = 2 / 3
_POINTS = 50


class CurvePoint(NamedTuple):
    """What is to be expected of a level."""

    #: rows of at least this probability are flagged
    level: float
    #: how many rows that are
    flagged: int
    #: the expected share of hidden positives among them
    precision: float
    #: the expected share of the hidden positives that is among them
    recall: float


@dataclass(frozen=True)
class Policy:
    """What becomes of flagged rows; see :class:`NoiseFilter`.

    :param flag: ``"f1"`` or a probability
    :param eliminate: a probability, or ``None`` for all flagged rows
    :param reannotate: whether labels may be given
    """

    flag: str | float = "f1"
    eliminate: float | None = None
    reannotate: bool = False

    @classmethod
    def check(cls, *, flag: str | float, eliminate: float | None, reannotate: bool) -> Policy:
        """Check the values.

        :param flag: ``"f1"`` or a probability
        :param eliminate: a probability or ``None``
        :param reannotate: whether labels may be given
        :returns: the policy
        :raises InvalidInputError: if one is out of range
        """
        if isinstance(flag, str) and flag != "f1":
            raise InvalidInputError(f"flag must be 'f1' or a probability, got {flag!r}")
        return cls(
            flag if isinstance(flag, str) else validate_share("flag", flag),
            None if eliminate is None else validate_share("eliminate", eliminate),
            bool(reannotate),
        )


@dataclass(frozen=True, eq=False)
class NoiseReport:
    """A judgement per row, and what it rests on.

    :param ids: a name per row
    :param classes: the labels, the negative one first
    :param labels: shape: ``(n,)``, the given labels, positions in ``classes``
    :param score: shape: ``(n,)``, in ``[0, 1]``: the probability that a negative is really positive; for
        positives 0, or 1 where a clean label says otherwise
    :param support: shape: ``(n,)``, in ``[0, 1]``: the probability of a positive label, by the other rows
    :param action: shape: ``(n,)``, int8, positions in :data:`ACTIONS`. Of the negatives, flagged ones are to be
        eliminated, reviewed or, if wished, reannotated: when at least two thirds of what the neighbouring positives
        lend is one label, and that label occurs with the types of the row. A positive that looks like a negative is to
        be reviewed
    :param suggestion: shape: ``(n,)``, the label that most of the neighbouring positives have, -1 without any
    :param suggestion_conf: shape: ``(n,)``, its share among them, weighted by cosine
    :param evidence: shape: ``(n, m)``, int32, rows of the nearest positives, -1 where there are no more
    :param evidence_cosine: shape: ``(n, m)``, their cosines
    :param expected_fn: how many negatives are expected to be positive
    :param threshold: the probability from which on rows are flagged
    :param mode: ``"intrinsic"`` or ``"extrinsic"``
    :param labelling: how often positives are labelled, as far as the labels tell
    :param recall: which share of the exact neighbours was found
    :param weak: shape: ``(n,)``, positives that lend their label to nobody
    :param fits: shape: ``(n,)``, whether the suggestion occurs with the types of the row
    :param policy: what became of flagged rows
    """

    ids: tuple[Hashable, ...] = field(repr=False)
    classes: tuple[Any, ...]
    labels: LongTensor = field(repr=False)
    score: FloatTensor = field(repr=False)
    support: FloatTensor = field(repr=False)
    action: torch.Tensor = field(repr=False)
    suggestion: LongTensor = field(repr=False)
    suggestion_conf: FloatTensor = field(repr=False)
    evidence: torch.Tensor = field(repr=False)
    evidence_cosine: FloatTensor = field(repr=False)
    expected_fn: ExpectedCount
    threshold: float
    mode: str
    labelling: Labelling
    recall: float
    weak: BoolTensor = field(repr=False)
    fits: BoolTensor = field(repr=False)
    policy: Policy

    @classmethod
    def build(
        cls,
        *,
        rows: NoiseRows,
        mode: str,
        score: FloatTensor,
        support: FloatTensor,
        evidence: torch.Tensor,
        cosine: FloatTensor,
        expected_fn: ExpectedCount,
        labelling: Labelling,
        recall: float,
        floor: float,
        policy: Policy,
    ) -> NoiseReport:
        """Choose suggestions, the threshold and actions.

        :param rows: what was judged
        :param mode: how
        :param score: shape: ``(n,)``
        :param support: shape: ``(n,)``
        :param evidence: shape: ``(n, m)``
        :param cosine: shape: ``(n, m)``
        :param expected_fn: the number of hidden positives
        :param labelling: how often positives are labelled
        :param recall: of the neighbours
        :param floor: the support that a positive needs
        :param policy: what becomes of flagged rows
        :returns: the report
        """
        best = rows.trusted() if mode == "extrinsic" else rows.codes
        weak = (best > 0) & (support < floor)
        if mode == "extrinsic":
            weak &= rows.clean < 0
        suggestion, confidence = _suggest(best, evidence, cosine, weak, len(rows.classes))
        if mode == "extrinsic":
            told = (rows.clean >= 0) & (rows.clean != rows.codes)
            suggestion[told], confidence[told] = rows.clean[told], 1.0
            score = torch.where(told, 1.0, score)
        report = cls(
            ids=rows.ids,
            classes=rows.classes,
            labels=rows.codes,
            score=score,
            support=support,
            action=torch.zeros(len(rows), dtype=torch.int8),
            suggestion=suggestion,
            suggestion_conf=confidence,
            evidence=evidence,
            evidence_cosine=cosine,
            expected_fn=expected_fn,
            threshold=1.0,
            mode=mode,
            labelling=labelling,
            recall=recall,
            weak=weak,
            fits=_fits(rows, best, suggestion),
            policy=policy,
        )
        return report.rethreshold(policy.flag, eliminate=policy.eliminate, reannotate=policy.reannotate)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def negative(self) -> BoolTensor:
        """Shape ``(n,)``: which rows have the negative label."""
        return self.labels == 0

    @property
    def flagged(self) -> BoolTensor:
        """Shape ``(n,)``: which negatives are taken to be positive."""
        return self.negative & (self.score >= self.threshold) & (self.score > 0)

    @property
    def keep(self) -> BoolTensor:
        """Shape ``(n,)``: which rows stay in the data, with the given label or another one."""
        return self.action != ELIMINATE

    @property
    def curve(self) -> list[CurvePoint]:
        """What is to be expected of other thresholds, from the strictest on."""
        ordered = self.score[self.negative].double().sort(descending=True).values
        if not len(ordered):
            return []
        found, total = ordered.cumsum(0), max(float(ordered.sum()), 1e-12)
        steps = torch.logspace(0, math.log10(len(ordered)), _POINTS, dtype=torch.float64).round().long()
        return [
            CurvePoint(float(ordered[k - 1]), k, float(found[k - 1]) / k, float(found[k - 1]) / total)
            for k in torch.unique(steps).tolist()
        ]

    def rethreshold(
        self, flag: str | float = "f1", *, eliminate: float | None = None, reannotate: bool = False
    ) -> NoiseReport:
        """Choose actions anew, without computing anything else again.

        :param flag: ``"f1"``, or the probability from which on rows are flagged
        :param eliminate: from which probability on flagged rows are eliminated; ``None`` eliminates all
        :param reannotate: whether flagged rows may get the suggested label
        :returns: another report
        :raises InvalidInputError: if a value is out of range
        """
        policy = Policy.check(flag=flag, eliminate=eliminate, reannotate=reannotate)
        open_ = self.score[self.negative]
        threshold = best_level(open_.double().numpy()) if policy.flag == "f1" else float(policy.flag)
        changed = replace(self, threshold=threshold, policy=policy)
        flagged = changed.flagged
        action = torch.zeros_like(self.action)
        action[flagged] = REVIEW
        action[flagged & (self.score >= (policy.eliminate or 0.0))] = ELIMINATE
        if policy.reannotate:
            agreed = (self.suggestion > 0) & (self.suggestion_conf >= _AGREE) & self.fits
            action[flagged & agreed & (action == ELIMINATE)] = REANNOTATE
        action[self.weak & ~self.negative] = REVIEW
        # positives that clean rows call something else
        action[~self.negative & (self.score == 1)] = REANNOTATE if policy.reannotate else ELIMINATE
        return replace(changed, action=action)

    def corrected(self) -> list[Any]:
        """Return the label of each row after its action, ``None`` where it is eliminated."""
        new = torch.where(self.action == REANNOTATE, self.suggestion, self.labels)
        return [None if gone else self.classes[code] for code, gone in zip(new.tolist(), ~self.keep, strict=True)]

    def table(self) -> pd.DataFrame:
        """Return a line per row: id, label, action, score, support, suggestion, and ids of the nearest positives."""
        import pandas as pd

        names = np.array([*(str(name) for name in self.classes), None], dtype=object)
        near = [[str(self.ids[row]) for row in rows if row >= 0] for rows in self.evidence.tolist()]
        return pd.DataFrame(
            {
                "id": [str(name) for name in self.ids],
                "label": names[self.labels.numpy()],
                "action": np.array(ACTIONS, dtype=object)[self.action.numpy()],
                "score": self.score.numpy(),
                "support": self.support.numpy(),
                "suggestion": names[self.suggestion.numpy()],
                "suggestion_conf": self.suggestion_conf.numpy(),
                "evidence": near,
            }
        )

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the report in a form that JSON can spell."""
        counts = torch.bincount(self.action.long(), minlength=len(ACTIONS)).tolist()
        return {
            "rows": len(self),
            "negatives": int(self.negative.sum()),
            "mode": self.mode,
            "expected_false_negatives": self.expected_fn._asdict(),
            "threshold": self.threshold,
            "flagged": int(self.flagged.sum()),
            "expected_precision": float(self.score[self.flagged].mean()) if bool(self.flagged.any()) else None,
            "actions": dict(zip(ACTIONS, counts, strict=True)),
            "weak_positives": int(self.weak.sum()),
            "labelled_share": {"least_obvious": self.labelling.least, "most_obvious": self.labelling.most},
            "neighbour_recall": self.recall,
        }

    def evaluate(self, gold: Sequence[bool] | torch.Tensor, rows: BoolTensor | None = None) -> DetectionScores:
        """Compare with what is known to be true.

        :param gold: shape: ``(n,)``, which rows are really positive; read for negatives only
        :param rows: shape: ``(n,)``, the rows to look at; ``None`` takes all negatives
        :returns: average precision, precision at 100 and 500, precision, recall and F1 of the flagged rows
        :raises InvalidInputError: if the lengths differ, or ``rows`` is no mask
        """
        truth = torch.as_tensor(gold).bool()
        if truth.shape != self.labels.shape:
            raise InvalidInputError(f"gold must have one value per row ({len(self)}), got shape {tuple(truth.shape)}")
        some = torch.ones_like(self.negative) if rows is None else torch.as_tensor(rows)
        if some.shape != self.labels.shape or some.dtype != torch.bool:
            raise InvalidInputError(
                f"rows must be a mask of shape ({len(self)},), got {tuple(some.shape)} {some.dtype}"
            )
        use = self.negative & some
        return score_detection(self.score[use].numpy(), truth[use].numpy(), self.flagged[use].numpy())

    def review_sample(self, size: int = 50, *, seed: int = 0) -> LongTensor:
        """Draw flagged rows for people to look at; give what they found to :meth:`reviewed_precision`.

        :param size: how many rows
        :param seed: the seed of the draw
        :returns: shape: ``(min(size, flagged),)``, rows
        """
        rows = self.flagged.nonzero().squeeze(-1)
        generator = torch.Generator().manual_seed(mix_seeds(seed, 0x726576696577))
        return rows[torch.randperm(len(rows), generator=generator)[: validate_count("size", size)]]

    @staticmethod
    def reviewed_precision(verdicts: Sequence[bool]) -> tuple[float, float, float]:
        """Return the share of right flags and its 95 % interval.

        :param verdicts: for each row of a sample whether it really is positive
        :returns: the share, the lower and the upper end (Wilson's interval)
        :raises InvalidInputError: if there are none

        >>> share, low, high = NoiseReport.reviewed_precision([True] * 40 + [False] * 10)
        >>> round(share, 2), round(low, 2), round(high, 2)
        (0.8, 0.67, 0.89)
        """
        if not len(verdicts):
            raise InvalidInputError("there are no verdicts")
        return wilson_interval(sum(map(bool, verdicts)), len(verdicts))


def _suggest(
    codes: LongTensor, evidence: torch.Tensor, cosine: FloatTensor, weak: BoolTensor, classes: int
) -> tuple[LongTensor, FloatTensor]:
    """Return the label that most of the nearest sound positives lend, and its share."""
    rows = evidence.clamp(min=0).long()
    weight = torch.where((evidence >= 0) & ~weak[rows], cosine.clamp(min=0), 0.0)
    best = torch.full((len(codes),), -1)
    share = torch.zeros(len(codes))
    step = max((1 << 24) // classes, 1)
    for begin in range(0, len(codes), step):
        part = slice(begin, begin + step)
        votes = torch.zeros(len(rows[part]), classes).scatter_add_(1, codes[rows[part]], weight[part])
        total = votes.sum(dim=-1)
        value, label = votes.max(dim=-1)
        best[part] = torch.where(total > 0, label, -1)
        share[part] = value / total.clamp(min=1e-12)
    return best, share


def _fits(rows: NoiseRows, codes: LongTensor, suggestion: LongTensor) -> BoolTensor:
    """Return whether each suggestion occurs, among positives, with the types of its row."""
    fits = torch.ones(len(codes), dtype=torch.bool)
    positive = codes > 0
    for column in rows.cells:
        seen = torch.zeros(int(column.max()) + 1, len(rows.classes), dtype=torch.bool)
        seen[column[positive], codes[positive]] = True
        fits &= seen[column, suggestion.clamp(min=0)]
    return fits
