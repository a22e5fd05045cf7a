"""What several judges say about the same triples, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.fusion import JudgeFusion
from kgneg.selfinstruct.judge import Judge

__all__ = ["Opinions", "crossed", "hear", "joined", "split_rows"]

_CONTRADICTION = "contradiction"


@dataclass(frozen=True, eq=False)
class Opinions:
    """Verdicts of judges.

    :param probability: shape: ``(n, judges)``, P(true), NaN where there is none
    :param contradictory: shape: ``(n,)``, whether a judge affirmed a statement and its negation
    :param reasons: ``n`` texts, why verdicts are missing
    """

    probability: np.ndarray
    contradictory: np.ndarray
    reasons: tuple[str, ...]

    def rows(self, places: np.ndarray) -> Opinions:
        """Return some rows.

        :param places: shape: ``(m,)``, row numbers
        :returns: their opinions
        """
        reasons = tuple(self.reasons[place] for place in places.tolist())
        return Opinions(self.probability[places], self.contradictory[places], reasons)

    def __add__(self, other: Opinions) -> Opinions:
        return Opinions(
            np.concatenate([self.probability, other.probability]),
            np.concatenate([self.contradictory, other.contradictory]),
            self.reasons + other.reasons,
        )


def hear(judges: Sequence[Judge], candidates: Candidates) -> Opinions:
    """Ask judges one after another.

    :param judges: the judges
    :param candidates: ``n`` triples
    :returns: their opinions
    """
    table = np.full((len(candidates), len(judges)), np.nan)
    contradictory = np.zeros(len(candidates), dtype=bool)
    why: list[list[str]] = [[] for _ in range(len(candidates))]
    for column, judge in enumerate(judges if len(candidates) else ()):
        said = judge.judge(candidates)
        table[:, column] = said.probability
        for row in np.flatnonzero(np.isnan(said.probability)).tolist():
            reason = said.reasons[row] or "no verdict"
            contradictory[row] |= reason.startswith(_CONTRADICTION)
            why[row].append(f"{judge.name}: {reason}")
    return Opinions(table, contradictory, tuple("; ".join(one) for one in why))


def joined(first: Candidates, second: Candidates) -> Candidates:
    """Return triples one after another.

    :param first: ``n`` triples
    :param second: ``m`` triples
    :returns: ``n + m`` triples
    """
    if not len(second):
        return first
    return Candidates(
        heads=[*first.heads, *second.heads],
        relations=[*first.relations, *second.relations],
        tails=[*first.tails, *second.tails],
    )


def split_rows(truth: np.ndarray, share: float, generator: torch.Generator) -> np.ndarray:
    """Draw rows to be held out.

    :param truth: shape: ``(n,)``
    :param share: of the rows, in [0, 1]
    :param generator: of random numbers
    :returns: shape: ``(n,)``, which rows are held out
    """
    apart = np.zeros(len(truth), dtype=bool)
    order = torch.randperm(len(truth), generator=generator).numpy()
    apart[order[: round(share * len(truth))]] = True
    return apart


def crossed(
    fusion: JudgeFusion,
    verdicts: np.ndarray,
    relations: Sequence[str],
    truth: np.ndarray,
    critic: np.ndarray | None,
    *,
    folds: int = 5,
) -> np.ndarray:
    """Return fused log odds of rows, each from a fusion with the same settings that has not seen it.

    :param fusion: its settings count
    :param verdicts: shape: ``(n, judges)``
    :param relations: the relation of each row
    :param truth: shape: ``(n,)``
    :param critic: shape: ``(n,)``, log odds, or ``None``
    :param folds: parts of the rows
    :returns: shape: ``(n,)``
    """
    fold = np.empty(len(truth), dtype=np.int64)
    order = np.argsort(truth, kind="stable")  # as many true ones in each fold
    fold[order] = np.arange(len(truth)) % folds
    names = np.asarray(relations, dtype=object)
    found = np.empty(len(truth))
    for one in range(folds):
        out = fold == one
        other = JudgeFusion(shrinkage=fusion.shrinkage, minimum=2, penalty=fusion.penalty)
        seen, rest = (None, None) if critic is None else (critic[~out], critic[out])
        other.fit(verdicts[~out], names[~out].tolist(), truth[~out], seen)
        found[out] = other.log_odds(verdicts[out], names[out].tolist(), rest)
    return found
