"""Decisions by the verdict of one judge and two limits."""

from __future__ import annotations

import hashlib

import numpy as np

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_share
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.decisions import Decisions
from kgneg.selfinstruct.hearing import undecidable
from kgneg.selfinstruct.judge import Judge

__all__ = ["ThresholdDecider"]


class ThresholdDecider:
    """Keep what a judge finds unlikely, drop what it finds likely, and leave the rest for review.

    Nothing is calibrated and nothing is guaranteed; :class:`~kgneg.selfinstruct.filter.SelfInstructFilter` does that.

    :param judge: the judge
    :param keep: candidates of at most this probability are kept, in ``[0, 1]``
    :param drop: candidates of at least this probability are dropped, in ``[0, 1]``, above ``keep``
    :param no_verdict: what becomes of candidates without a verdict; where asking failed, or the judge contradicted
        itself, they are always reviewed
    :raises InvalidInputError: if a limit is out of range
    """

    def __init__(self, judge: Judge, *, keep: float = 0.35, drop: float = 0.65, no_verdict: str = "review") -> None:
        self.judge = judge
        self.keep, self.drop = validate_share("keep", keep), validate_share("drop", drop)
        if self.keep >= self.drop:
            raise InvalidInputError(
                f"keep must be below drop, got {keep} and {drop}. Between them is what is reviewed."
            )
        if no_verdict not in ("keep", "drop", "review"):
            raise InvalidInputError(f"no_verdict must be keep, drop or review, got {no_verdict!r}")
        self.no_verdict = no_verdict

    def fingerprint(self) -> str:
        """Return a hash of the judge and the limits.

        :returns: 32 hexadecimal digits
        """
        settings = f"threshold\x1f{self.judge.fingerprint()}\x1f{self.keep}\x1f{self.drop}\x1f{self.no_verdict}"
        return hashlib.blake2b(settings.encode(), digest_size=16).hexdigest()

    def decide(self, candidates: Candidates) -> Decisions:
        """Decide about candidates.

        :param candidates: ``n`` triples
        :returns: ``n`` decisions; the reasons are those of the judge
        """
        found = self.judge.judge(candidates)
        action = np.full(len(candidates), "review", dtype="U6")
        action[found.probability <= self.keep] = "keep"
        action[found.probability >= self.drop] = "drop"
        for row in np.flatnonzero(np.isnan(found.probability)).tolist():
            action[row] = "review" if undecidable(found.reasons[row]) else self.no_verdict
        return Decisions(action, found.probability, found.reasons)
