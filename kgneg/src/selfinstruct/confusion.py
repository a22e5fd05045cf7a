"""How often judges say yes to true and to false triples, by relation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Confusion"]

_SWEEPS = 200
_TOLERANCE = 1e-7
# what a judge is taken for before it is known: right four times in five, as sure of it as after two rows of each kind
_TRUSTED = np.array([[8.0, 2.0], [2.0, 8.0]])
_PRIOR_TRUE = (1.0, 1.0)
_RARE = 1e-3


@dataclass(frozen=True, eq=False)
class Confusion:
    """Shares of "yes" among true and false triples, per judge and relation.

    :param relations: the relations that were seen
    :param yes: shape: ``(relations + 1, judges, 2)``, P(yes | false) and P(yes | true); the last one is over all
    :param true: shape: ``(relations + 1,)``, the share of true triples
    """

    relations: tuple[str, ...]
    yes: np.ndarray
    true: np.ndarray

    @classmethod
    def supervised(
        cls, verdicts: np.ndarray, relations: Sequence[str], truth: np.ndarray, *, shrinkage: float
    ) -> Confusion:
        """Count, and draw each relation to all together.

        :param verdicts: shape: ``(n, judges)``, P(true), NaN where there is none
        :param relations: the relation of each row
        :param truth: shape: ``(n,)``, in [0, 1]
        :param shrinkage: rows at which a relation counts as much as all together
        :returns: the shares

        >>> said, truth = np.array([[1.0], [1.0], [0.0], [0.0]]), np.array([1, 0, 0, 0])
        >>> Confusion.supervised(said, ["r"] * 4, truth, shrinkage=1.0).yes[-1].round(2).tolist()
        [[0.28, 0.87]]
        """
        names, place = _places(relations)
        return cls._counted(names, place, verdicts, np.asarray(truth, dtype=np.float64), shrinkage)

    @classmethod
    def unsupervised(cls, verdicts: np.ndarray, relations: Sequence[str], *, shrinkage: float) -> Confusion:
        """Find the shares by expectation and maximisation, without any label.

        Two judges alone do not fix them, so each is drawn to being right four times in five.

        :param verdicts: shape: ``(n, judges)``, P(true), NaN where there is none
        :param relations: the relation of each row
        :param shrinkage: rows at which a relation counts as much as all together
        :returns: the shares
        """
        names, place = _places(relations)
        spoken = ~np.isnan(verdicts)
        votes = np.where(spoken, verdicts, 0.0).sum(axis=1)
        truth = np.where(spoken.any(axis=1), votes / np.maximum(spoken.sum(axis=1), 1), 0.5)
        made = cls._counted(names, place, verdicts, truth, shrinkage)
        for _ in range(_SWEEPS):
            odds = made.evidence(verdicts, relations).sum(axis=1) + made.prior(relations)
            renewed = 1 / (1 + np.exp(-odds))
            moved, truth = float(np.abs(renewed - truth).max(initial=0.0)), renewed
            made = cls._counted(names, place, verdicts, truth, shrinkage)
            if moved < _TOLERANCE:
                break
        return made

    @classmethod
    def _counted(
        cls,
        names: tuple[str, ...],
        place: np.ndarray,
        verdicts: np.ndarray,
        truth: np.ndarray,
        shrinkage: float,
    ) -> Confusion:
        spoken = ~np.isnan(verdicts)
        said = np.where(spoken, verdicts, 0.0)
        number = len(names)
        yes = np.empty((number + 1, verdicts.shape[1], 2))
        both = np.stack([1 - truth, truth], axis=1)  # (n, 2)
        for kind in range(2):
            weight = both[:, kind : kind + 1] * spoken
            agreed = weight * said
            prior = _TRUSTED[kind] / 5
            rate = (agreed.sum(axis=0) + prior[1]) / (weight.sum(axis=0) + prior.sum())
            counts, found = (_sums(place, table, number) for table in (weight, agreed))
            # where nobody ever says yes, or no, a little is left of the other kind
            share = shrinkage * max(float(both[:, kind].mean()), _RARE) if len(both) else shrinkage
            yes[:number, :, kind] = (found + share * rate) / (counts + share)
            yes[number, :, kind] = rate
        every = (truth.sum() + _PRIOR_TRUE[1]) / (len(truth) + sum(_PRIOR_TRUE))
        own = (np.bincount(place, truth, number) + shrinkage * every) / (
            np.bincount(place, minlength=number) + shrinkage
        )
        return cls(relations=names, yes=yes, true=np.append(own, every))

    def evidence(self, verdicts: np.ndarray, relations: Sequence[str]) -> np.ndarray:
        """Return what each verdict adds to the log odds; a verdict between yes and no adds less.

        :param verdicts: shape: ``(n, judges)``
        :param relations: the relation of each row
        :returns: shape: ``(n, judges)``, 0 where there is no verdict
        """
        shares = self.yes[self._rows(relations)]
        spoken = ~np.isnan(verdicts)
        said = np.where(spoken, verdicts, 0.5)[..., None]
        likely = np.log(said * shares + (1 - said) * (1 - shares))
        return np.asarray(np.where(spoken, likely[..., 1] - likely[..., 0], 0.0))

    def prior(self, relations: Sequence[str]) -> np.ndarray:
        """Return the log odds of a triple of a relation before anybody speaks.

        :param relations: the relation of each row
        :returns: shape: ``(n,)``
        """
        share = np.clip(self.true[self._rows(relations)], 1e-6, 1 - 1e-6)
        return np.asarray(np.log(share) - np.log1p(-share))

    def state(self) -> dict[str, Any]:
        """Return everything as JSON has it.

        :returns: names and plain values
        """
        return {"relations": list(self.relations), "yes": self.yes.tolist(), "true": self.true.tolist()}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Confusion:
        """Undo :meth:`state`.

        :param state: names and plain values
        :returns: the shares
        """
        shape = len(state["yes"]), len(state["yes"][0]), 2  # there may be no judge
        yes = np.array(state["yes"], dtype=np.float64).reshape(shape)
        return cls(tuple(state["relations"]), yes, np.array(state["true"], dtype=np.float64))

    def _rows(self, relations: Sequence[str]) -> np.ndarray:
        place = {name: row for row, name in enumerate(self.relations)}
        return np.array([place.get(name, len(self.relations)) for name in relations], dtype=np.int64)


def _places(relations: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    names = tuple(sorted(set(relations)))
    place = {name: row for row, name in enumerate(names)}
    return names, np.array([place[name] for name in relations], dtype=np.int64)


def _sums(place: np.ndarray, table: np.ndarray, number: int) -> np.ndarray:
    """Sum the rows of each relation."""
    found = np.zeros((number, table.shape[1]))
    np.add.at(found, place, table)
    return found
