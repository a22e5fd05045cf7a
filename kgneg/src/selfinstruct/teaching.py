"""The critic as a student: of people, and of judges where no person has looked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.chat_endpoint import EndpointError
from kgneg.selfinstruct.critic import Critic
from kgneg.selfinstruct.fusion import JudgeFusion
from kgneg.selfinstruct.hearing import Opinions, hear, joined, without
from kgneg.selfinstruct.judge import Judge
from kgneg.selfinstruct.sampling import stratified_sample

__all__ = ["Lesson", "why_silent"]

logger = logging.getLogger(__name__)

_AT_ONCE = 20_000  # rows of the pool that the critic looks at per round


class Lesson:
    """Rounds of asking judges where the critic is unsure, and training it with what they say.

    :param critic: the student; ``None`` only collects what judges say
    :param judges: the teachers
    :param teacher: its settings say how verdicts become labels
    :param checked: triples that people checked
    :param truth: shape: ``(n,)``, what they found
    :param weight: what a judged triple counts, relative to a checked one
    """

    def __init__(
        self,
        critic: Critic | None,
        judges: tuple[Judge, ...],
        teacher: JudgeFusion,
        checked: Candidates,
        truth: np.ndarray,
        weight: float,
    ) -> None:
        self.critic, self.judges, self.teacher = critic, judges, teacher
        self.checked, self.truth, self.weight = checked, truth, weight
        #: what judges say about the checked triples
        self.heard = hear(judges, checked)
        #: triples of the pool on which a judge has an opinion, and those
        self.asked = checked[:0]
        self.told: Opinions = hear(judges, self.asked)
        #: triples about which a judge was asked in vain, and the reason for the first of them
        self.failed, self.fault = 0, ""
        self._pool: dict[str, Any] = {}
        self._note_failures(self.heard)
        self._taught = False  # the critic may have learned other things before

    def offer(self, pool: Candidates | None, others: Candidates, number: int, *, taught: bool) -> Candidates | None:
        """Return the part of a pool that judges are to be asked about.

        :param pool: candidates of unknown truth, or ``None``
        :param others: what is left out: all checked triples
        :param number: how many candidates judges are to be asked about
        :param taught: whether the opinions of judges are learned from checked triples alone
        :returns: the candidates; ``None`` if nobody is to be asked, which :meth:`report` explains
        """
        offered = None if pool is None else without(pool, others)
        silence = why_silent(offered, self.judges, number, taught=taught)
        if pool is not None and offered is not None:
            self._pool = {"pool": len(pool), "pool_checked": len(pool) - len(offered)}
            self._pool |= {"pool_not_asked": f"{len(offered)}: {silence}"} if silence else {}
        return None if silence else offered

    def report(self) -> dict[str, Any]:
        """Return how many triples taught, and what became of asking judges.

        :returns: counts by name; ``verdicts`` has those of each judge on checked triples
        """
        given = (~np.isnan(self.heard.probability)).sum(axis=0).tolist()
        return {
            "learned_from": len(self.checked),
            "judged": len(self.asked),
            "not_answered": self.failed,
            "verdicts": {judge.name: number for judge, number in zip(self.judges, given, strict=True)},
            **self._pool,
        }

    def hold(self, pool: Candidates | None, number: int, rounds: int, generator: torch.Generator) -> None:
        """Train the critic.

        :param pool: candidates of unknown truth, or ``None``
        :param number: how many of them judges are asked about
        :param rounds: in how many rounds
        :param generator: of random numbers
        :raises InvalidInputError: if the critic cannot learn, as all triples are of one kind
        :raises EndpointError: if judges were asked and asking failed for every triple
        """
        if pool is None or not self.judges or not number:
            self._train()
        else:
            self._rounds(pool, min(number, len(pool)), rounds, generator)
        self._check_verdicts()
        if self.critic is not None and not self._taught:
            raise InvalidInputError(
                f"the critic has no examples of both kinds ({int(self.truth.sum())} true and "
                f"{int((~self.truth).sum())} false checked triples, {len(self.asked)} judged ones): give more of them"
            )

    def _rounds(self, pool: Candidates, number: int, rounds: int, generator: torch.Generator) -> None:
        if self.truth.any() and not self.truth.all():
            self._train()
        rest = np.ones(len(pool), dtype=bool)
        for share in np.diff(np.linspace(0, number, rounds + 1).astype(int)).tolist():
            some = np.flatnonzero(rest)
            if len(some) > _AT_ONCE:
                some = some[stratified_sample(pool[some].relations, _AT_ONCE, generator=generator)]
            offered = pool[some]
            chance = self.critic.probability(offered) if self.critic is not None and self._taught else None
            wanted = stratified_sample(list(offered.relations), share, probability=chance, generator=generator)
            rest[some[wanted]] = False
            said = hear(self.judges, offered[wanted])
            self._note_failures(said)
            spoken = np.flatnonzero(~np.isnan(said.probability).all(axis=1))
            self.asked, self.told = joined(self.asked, offered[wanted][spoken]), self.told + said.rows(spoken)
            self._train()

    def _note_failures(self, said: Opinions) -> None:
        self.failed += int(said.failed.sum())
        if said.failed.any():
            self.fault = self.fault or said.reasons[int(said.failed.argmax())]

    def _check_verdicts(self) -> None:
        """Raise if asking failed everywhere; warn of judges that have nothing to say about checked triples."""
        silent = np.isnan(self.heard.probability).all(axis=0)
        if self.failed and silent.all() and np.isnan(self.told.probability).all():
            raise EndpointError(
                f"asking failed for all of {self.failed:,} triples, the first because of {self.fault}. Correct the "
                "cause and repeat the call; what a chat judge has been told is in its cache."
            )
        for judge, none in zip(self.judges, silent.tolist(), strict=True):
            if none and len(self.checked):
                logger.warning(
                    "the judge %s has a verdict on none of %d checked triples", judge.name, len(self.checked)
                )

    def _train(self) -> None:
        """Fit the critic to checked triples, and to what judges alone say of others."""
        if self.critic is None:
            return
        targets, weight = self.truth.astype(np.float64), np.ones(len(self.truth))
        if len(self.asked):
            teacher = JudgeFusion.restore(self.teacher.state())
            if len(self.truth):
                teacher.fit(self.heard.probability, list(self.checked.relations), self.truth)
            else:
                teacher.fit(self.told.probability, list(self.asked.relations))
            guess = 1 / (1 + np.exp(-teacher.log_odds(self.told.probability, list(self.asked.relations))))
            targets = np.concatenate([targets, guess])
            weight = np.append(weight, np.full(len(guess), self.weight if len(self.truth) else 1.0))
        if (targets > 0.5).any() and (targets < 0.5).any():
            self.critic.fit(joined(self.checked, self.asked), targets, weight)
            self._taught = True


def why_silent(pool: Candidates | None, judges: Sequence[Judge], number: int, *, taught: bool) -> str:
    """Say why judges are not asked about a pool.

    :param pool: candidates of unknown truth, or ``None``
    :param judges: the judges
    :param number: how many candidates they are to be asked about
    :param taught: whether their opinions are learned from checked triples alone
    :returns: the reason; empty if they are asked

    >>> why_silent(Candidates(["a"], ["r"], ["b"]), [], 10, taught=False)
    'there are no judges'
    """
    if pool is None:
        return "there is no pool"
    if not judges:
        return "there are no judges"
    if not number:
        return "judged is 0"
    if taught:
        return "judges are asked about every candidate anyway, and the checked triples suffice for the fusion"
    return "" if len(pool) else "all of them are checked triples"
