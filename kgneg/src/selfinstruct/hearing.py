"""What several judges say about the same triples, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.clusters import head_numbers
from kgneg.selfinstruct.fusion import JudgeFusion
from kgneg.selfinstruct.judge import Judge

__all__ = [
    "Opinions",
    "checked_triples",
    "crossed",
    "hear",
    "joined",
    "ruled_first",
    "split_rows",
    "undecidable",
    "without",
]

_CONTRADICTION, _SEPARATOR = "contradiction", "\x1f"
_FAILURES = ("endpoint", "budget", "malformed", "gave up")


@dataclass(frozen=True, eq=False)
class Opinions:
    """Verdicts of judges.

    :param probability: shape: ``(n, judges)``, P(true), NaN where there is none
    :param contradictory: shape: ``(n,)``, whether a judge affirmed a statement and its negation
    :param failed: shape: ``(n,)``, whether a judge was asked and could not answer
    :param reasons: ``n`` texts, why verdicts are missing
    """

    probability: np.ndarray
    contradictory: np.ndarray
    failed: np.ndarray
    reasons: tuple[str, ...]

    @property
    def unclear(self) -> np.ndarray:
        """shape: ``(n,)``, which rows nobody should decide about by what the other judges say."""
        return np.asarray(self.contradictory | self.failed)

    def rows(self, places: np.ndarray) -> Opinions:
        """Return some rows.

        :param places: shape: ``(m,)``, row numbers
        :returns: their opinions
        """
        reasons = tuple(self.reasons[place] for place in places.tolist())
        return Opinions(self.probability[places], self.contradictory[places], self.failed[places], reasons)

    def followed(self, places: np.ndarray, later: Opinions) -> Opinions:
        """Return what is unclear, and why, after others were asked about some rows.

        :param places: shape: ``(m,)``, their row numbers
        :param later: what was said about them
        :returns: opinions of all rows, without verdicts; of the rows that nobody else was asked about, none is unclear
        """
        contradictory, failed = np.zeros((2, len(self.reasons)), dtype=bool)
        contradictory[places] = self.contradictory[places] | later.contradictory
        failed[places] = self.failed[places] | later.failed
        reasons = ["rule"] * len(self.reasons)
        for place, reason in zip(places.tolist(), later.reasons, strict=True):
            first = self.reasons[place] if self.unclear[place] else ""
            reasons[place] = "; ".join(filter(None, [first, reason]))
        return Opinions(np.empty((len(reasons), 0)), contradictory, failed, tuple(reasons))

    def __add__(self, other: Opinions) -> Opinions:
        return Opinions(
            np.concatenate([self.probability, other.probability]),
            np.concatenate([self.contradictory, other.contradictory]),
            np.concatenate([self.failed, other.failed]),
            self.reasons + other.reasons,
        )


def undecidable(reason: str) -> bool:
    """Say whether a reason for no verdict is for people to look at, and not that a judge has no opinion.

    :param reason: what a judge gave
    :returns: whether asking failed (an endpoint, a budget, a malformed reply), or the judge contradicted itself

    >>> undecidable("endpoint: status 500"), undecidable("unsure")
    (True, False)
    """
    return reason.startswith((*_FAILURES, _CONTRADICTION))


def hear(judges: Sequence[Judge], candidates: Candidates) -> Opinions:
    """Ask judges one after another.

    :param judges: the judges
    :param candidates: ``n`` triples
    :returns: their opinions
    :raises InvalidInputError: if a judge does not give one verdict per candidate
    """
    table = np.full((len(candidates), len(judges)), np.nan)
    contradictory, failed = np.zeros((2, len(candidates)), dtype=bool)
    why: list[list[str]] = [[] for _ in range(len(candidates))]
    for column, judge in enumerate(judges if len(candidates) else ()):
        said = judge.judge(candidates)
        if len(said) != len(candidates):
            raise InvalidInputError(
                f"the judge {judge.name} gave {len(said)} verdicts for {len(candidates)} candidates: it must give one "
                "for each, or NaN"
            )
        table[:, column] = said.probability
        for row in np.flatnonzero(np.isnan(said.probability)).tolist():
            reason = said.reasons[row] or "no verdict"
            contradictory[row] |= reason.startswith(_CONTRADICTION)
            failed[row] |= reason.startswith(_FAILURES)
            why[row].append(f"{judge.name}: {reason}")
    return Opinions(table, contradictory, failed, tuple("; ".join(one) for one in why))


def ruled_first(rules: Sequence[Judge], candidates: Candidates) -> tuple[np.ndarray, np.ndarray, Opinions]:
    """Ask judges that decide alone where they have a verdict; one that says true wins over one that says false.

    :param rules: the judges
    :param candidates: ``n`` triples
    :returns: P(true), shape: ``(n,)``, NaN where no rule has a verdict; where one has, shape: ``(n,)``; what was said
    """
    said = hear(rules, candidates)
    ruled = ~np.isnan(said.probability).all(axis=1)
    score = np.full(len(candidates), np.nan)
    score[ruled] = np.nanmax(said.probability[ruled], axis=1) if ruled.any() else 0.0
    return score, ruled, said


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


def checked_triples(true: Candidates, false: Candidates) -> tuple[Candidates, np.ndarray]:
    """Return each checked triple once, and what was found about it.

    :param true: triples that people found true
    :param false: triples that people found false
    :returns: the distinct triples in their order, and shape ``(n,)``, whether each is true
    :raises InvalidInputError: if a triple is among both

    >>> pair = Candidates(["cat", "cat"], ["IsA"] * 2, ["pet", "pet"])
    >>> len(checked_triples(pair, pair[:0])[0])
    1
    """
    both = sorted(set(true.keys()).intersection(false.keys()))
    if both:
        raise InvalidInputError(
            f"{len(both)} checked triples are both true and false, the first is {tuple(both[0].split(_SEPARATOR))!r}: "
            "leave each in one of seed_pos and seed_neg (--true and --false)"
        )
    every, truth = joined(true, false), np.repeat([True, False], [len(true), len(false)])
    first: dict[str, int] = {}
    for row, key in enumerate(every.keys()):
        first.setdefault(key, row)
    rows = np.fromiter(first.values(), dtype=np.int64, count=len(first))
    return every[rows], truth[rows]


def without(pool: Candidates, others: Candidates) -> Candidates:
    """Return the triples that are not among others.

    :param pool: ``n`` triples
    :param others: triples to leave out
    :returns: the rest, in its order

    >>> list(without(Candidates(["a", "b"], ["r"] * 2, ["c"] * 2), Candidates(["a "], ["r"], ["c"])).triples())
    [('b', 'r', 'c')]
    """
    known = set(others.keys())
    return pool[[row for row, key in enumerate(pool.keys()) if key not in known]]


def split_rows(heads: Sequence[str], share: float, generator: torch.Generator) -> np.ndarray:
    """Draw rows to be held out: all rows of a head, or none, as what is known of a head tells about its other rows.

    Heads are drawn whatever their size, so large ones are held out as often as small ones. One is left to learn from.

    :param heads: the head of each of ``n`` rows
    :param share: about this part of the rows, in [0, 1]; more if the last head that is drawn is large, and nothing if
        there is one head alone
    :param generator: of random numbers
    :returns: shape: ``(n,)``, which rows are held out

    >>> split_rows(["cat", "dog"] * 3, 0.5, torch.Generator().manual_seed(0)).sum()
    np.int64(3)
    """
    place = head_numbers(heads)
    rows, room = np.bincount(place), round(share * len(heads))
    taken = np.zeros(len(rows), dtype=bool)
    for group in torch.randperm(len(rows), generator=generator).tolist()[: len(rows) if share == 1 else -1]:
        if room > 0:
            taken[group], room = True, room - int(rows[group])
    return np.asarray(taken[place], dtype=bool)


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
