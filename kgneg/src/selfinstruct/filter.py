"""Which candidate negatives are clearly false: judges, a critic, and a bound on the precision of what is kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError
from kgneg.core.seeding import mix_seeds
from kgneg.core.validation import choose, validate_count, validate_flag, validate_number, validate_share
from kgneg.selfinstruct.bounds import Certificate, certify_below
from kgneg.selfinstruct.calibration import Calibrator
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.clusters import head_numbers
from kgneg.selfinstruct.critic import Critic
from kgneg.selfinstruct.decisions import Decisions
from kgneg.selfinstruct.fusion import JudgeFusion
from kgneg.selfinstruct.hearing import Opinions, checked_triples, crossed, hear, ruled_first, split_rows
from kgneg.selfinstruct.judge import Judge
from kgneg.selfinstruct.teaching import Lesson

__all__ = ["SelfInstructFilter"]

logger = logging.getLogger(__name__)

_FOLDS, _DIGITS = 5, 6
_SLACK = 2e-6  # of scores whose last digit may depend on how an encoder was asked
_PROMISE = ("goal", "target", "level", "batch", "drop", "held_out", "sample")
_SETTINGS = (*_PROMISE, "judged", "rounds", "pool_weight", "ask", "seed")


class SelfInstructFilter:
    """Keep clear negatives, drop those that are likely true, and leave the rest for review.

    :meth:`fit` asks the judges about checked triples and about a sample of the pool, trains the critic, and learns whom
    to believe. Then a threshold is set on checked triples that nothing was learned from, so that what is kept is right
    as often as ``target`` says, with confidence ``level``, for candidates that resemble the checked ones. If no
    threshold reaches that, nothing is kept, and :attr:`certificate` says so.

    :param judges: their verdicts are fused; there may be none
    :param critic: a student of the checked triples and of the judges; ``None`` for judges alone
    :param rules: judges that are asked first, and decide alone where they have a verdict, such as a look-up of known
        triples; no threshold and no promise is about those rows
    :param goal: ``"precision"`` of what is kept, or ``"recall"``, the share of false triples that is kept
    :param target: the share that is promised, in (0, 1); ``None`` promises nothing, and keeps below ``drop``
    :param level: the confidence of the promise
    :param batch: ``None`` promises a precision in the long run, a number what is counted in so many further candidates
    :param drop: candidates with at least this P(true) are dropped, the others that are not kept are reviewed; so are
        all where asking a judge failed
    :param held_out: about the share of checked triples that sets the threshold, by heads; they teach nothing
    :param sample: of what the checked triples are a random sample: ``"heads"``, for triples of heads that nobody has
        looked at, or ``"triples"``, for those among which they were drawn; then triples of one head are independent
    :param calibrator: from log odds to probabilities, by relation
    :param fusion: how verdicts and critic are combined
    :param judged: rows of the pool that judges are asked about; none if they are asked in :meth:`decide` and there are
        enough checked triples for the fusion, as the critic would only repeat them
    :param rounds: in how many rounds; later ones ask where the critic is unsure
    :param pool_weight: what such a row counts for the critic, relative to a checked triple
    :param ask: whether judges are asked about every candidate in :meth:`decide`; if not, the critic decides alone
    :param seed: of all draws
    :raises InvalidInputError: if an argument is out of range, or there is neither judge nor critic
    """

    def __init__(
        self,
        *,
        judges: Sequence[Judge] = (),
        critic: Critic | None = None,
        rules: Sequence[Judge] = (),
        goal: str = "precision",
        target: float | None = 0.9,
        level: float = 0.95,
        batch: int | None = None,
        drop: float = 0.5,
        held_out: float = 0.5,
        sample: str = "heads",
        calibrator: Calibrator | None = None,
        fusion: JudgeFusion | None = None,
        judged: int = 1000,
        rounds: int = 3,
        pool_weight: float = 0.1,
        ask: bool = True,
        seed: int = 0,
    ) -> None:
        self.judges, self.rules, self.critic = tuple(judges), tuple(rules), critic
        self.ask = validate_flag("ask", ask)
        if critic is None and not (self.judges and self.ask):
            raise InvalidInputError("a filter needs judges that are asked, a critic, or both")
        self.goal = choose("goal", goal, ("precision", "recall"))
        self.target = None if target is None else validate_share("target", target)
        self.level, self.drop = validate_share("level", level), validate_share("drop", drop)
        self.batch = None if batch is None else validate_count("batch", batch)
        if self.batch is not None and self.goal == "recall":
            raise InvalidInputError(f"batch={batch} is for goal='precision': leave it out, a recall is of the long run")
        self.held_out = validate_share("held_out", held_out)
        self.sample = choose("sample", sample, ("heads", "triples"))
        self.calibrator = Calibrator() if calibrator is None else calibrator
        self.fusion = JudgeFusion() if fusion is None else fusion
        self.judged, self.rounds = validate_count("judged", judged, 0), validate_count("rounds", rounds)
        self.pool_weight, self.seed = validate_number("pool_weight", pool_weight, above=True), seed
        #: what was promised; ``None`` before a fit or without a target
        self.certificate: Certificate | None = None
        #: counts and settings of the fit, for the record
        self.report: dict[str, Any] = {}
        self.fitted = self._calibrated = False

    def fit(self, seed_pos: Candidates, seed_neg: Candidates, pool: Candidates | None = None) -> SelfInstructFilter:
        """Learn from checked triples and from a pool of unchecked candidates.

        :param seed_pos: triples that people found true
        :param seed_neg: triples that people found false; true and false ones in the proportion of the candidates
        :param pool: candidates of unknown truth, of which a sample is judged; ``None`` for none
        :returns: itself
        :raises InvalidInputError: if there is nothing to learn from, or a triple is both true and false
        :raises EndpointError: if judges were asked and asking failed for every triple
        """
        self.fitted, self.certificate = False, None
        seeds, truth = checked_triples(seed_pos, seed_neg)
        if not len(seeds) and (pool is None or not self.judges):
            raise InvalidInputError("there is nothing to learn from: give checked triples, or judges and a pool")
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, 1))
        share = 0.0 if self.target is None or not len(seeds) else self.held_out
        groups = seeds.heads if self.sample == "heads" else [str(row) for row in range(len(seeds))]
        apart = split_rows(groups, share, generator)
        if share and len(seeds) and not apart.any():
            logger.warning("all %d checked triples share a head: none is held out, and nothing is promised", len(seeds))
        lesson = Lesson(self.critic, self.judges, self.fusion, seeds[~apart], truth[~apart], self.pool_weight)
        # with enough labels and judges that are asked anyway, their opinions would only count twice
        taught = self.ask and int((~apart).sum()) >= self.fusion.minimum
        # what people have checked needs no opinion, and what is held out must not teach
        offered = lesson.offer(pool, seeds, self.judged, taught=taught)
        if len(seeds) and apart.all() and offered is None and (self.critic is not None or len(self.judges) > 1):
            raise InvalidInputError(
                f"held_out={self.held_out:g} leaves none of {len(seeds)} checked triples: there is nothing to learn "
                "from; lower it, or give more triples"
            )
        lesson.hold(offered, self.judged, self.rounds, generator)
        elsewhere = self._fuse(lesson)
        self.fitted = True
        ruled, failed = self._promise(seeds[apart], truth[apart], elsewhere)
        told = lesson.report()
        self.report = told | {
            "checked": len(seeds),
            "held_out": int(apart.sum()) - ruled,
            "held_out_ruled": ruled,
            "not_answered": told["not_answered"] + failed,
            "fusion": self.fusion.mode,
            "promise": None if self.certificate is None else self.certificate.statement(),
        }
        return self

    def decide(self, candidates: Candidates) -> Decisions:
        """Decide about candidates.

        :param candidates: ``n`` triples
        :returns: keep, drop or review for each, P(true), and what decided
        """
        score, found, ruled = self._score(candidates)
        kept = ~found.unclear & (score < self.drop)
        if self.certificate is not None:
            kept &= score <= self.certificate.threshold + _SLACK
        dropped = ~found.unclear & (score >= self.drop)
        kept, dropped = np.where(ruled, [score < 0.5, score > 0.5], [kept, dropped])
        action = np.where(kept, "keep", np.where(dropped, "drop", "review"))
        why = {"keep": "unlikely", "drop": "likely true", "review": "undecided"}
        if self.certificate is not None and not self.certificate.reachable:
            why["review"] = f"{self.goal} >= {self.target:g} not reachable"
        told = ruled | found.unclear | np.isnan(score)
        reason = [found.reasons[row] if told[row] else why[one] for row, one in enumerate(action.tolist())]
        return Decisions(action, score, tuple(reason))

    def run(self, source: str | Path | Sequence[str | Path], out: str | Path, **settings: Any) -> Any:
        """Decide about all triples of TSV or Parquet files, shard by shard, and go on after a stop.

        :param source: files, patterns or folders
        :param out: the folder of the output
        :param settings: and the report that is returned: see :func:`kgneg.selfinstruct.runner.run`
        :returns: the report
        """
        from kgneg.selfinstruct.runner import run

        return run(self, source, out, **settings)

    def fingerprint(self) -> str:
        """Return a hash of everything that decisions depend on; never a secret.

        :returns: the hash, in hexadecimal
        """
        critic = None if self.critic is None else self.critic.fingerprint()
        asked = [judge.fingerprint() for judge in (*self.rules, *(self.judges if self.ask else ()))]
        return content_key(self.state(), {"critic": critic, "judges": asked})

    def state(self) -> dict[str, Any]:
        """Return settings and what was learned, but for the critic, as JSON has it.

        :returns: names and plain values
        """
        return {
            "settings": {name: getattr(self, name) for name in _SETTINGS},
            "judges": [judge.name for judge in self.judges],
            "rules": [judge.name for judge in self.rules],
            "fusion": self.fusion.state(),
            "calibrator": self.calibrator.state(),
            "calibrated": self._calibrated,
            "certificate": None if self.certificate is None else self.certificate.state(),
            "report": self.report,
        }

    def save(self, folder: str | Path) -> None:
        """Write the filter to a folder: JSON, safetensors, and the verdicts of recorded judges; no secrets.

        :param folder: it is created
        """
        from kgneg.selfinstruct.filter_files import save_filter

        save_filter(self, folder)

    @classmethod
    def load(cls, folder: str | Path, **parts: Any) -> SelfInstructFilter:
        """Read a filter.

        :param folder: what :meth:`save` has written
        :param parts: ``judges``, ``rules``, ``encoder``, ``cache``: what the folder cannot hold, see
            :func:`~kgneg.selfinstruct.filter_files.load_filter`
        :returns: the filter
        """
        from kgneg.selfinstruct.filter_files import load_filter

        return load_filter(folder, **parts)

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state` of a fitted filter has returned.

        :param state: names and plain values
        """
        self.fusion = JudgeFusion.restore(state["fusion"])
        self.calibrator = Calibrator.restore(state["calibrator"])
        self._calibrated, self.report, self.fitted = state["calibrated"], state["report"], True
        found = state["certificate"]
        self.certificate = None if found is None else Certificate.restore(found)

    def _fuse(self, lesson: Lesson) -> np.ndarray:
        """Fit fusion and calibrator; return P(true) of rows, each from a fusion that did not see it."""
        checked = len(lesson.checked)
        rows, said = (lesson.checked, lesson.heard) if checked else (lesson.asked, lesson.told)
        verdicts, relations = said.probability if self.ask else said.probability[:, :0], list(rows.relations)
        odds = None if self.critic is None else self.critic.held_out[: len(rows)]
        self.fusion.fit(verdicts, relations, lesson.truth if checked or not len(rows) else None, odds)
        found = self.fusion.log_odds(verdicts, relations, odds)
        kinds = (int(lesson.truth.sum()), int((~lesson.truth).sum()))
        self._calibrated = min(kinds) >= 2 * _FOLDS
        if self._calibrated:
            if self.fusion.mode == "calibrated":
                found = crossed(self.fusion, verdicts, relations, lesson.truth, odds, folds=_FOLDS)
            self.calibrator.fit(found, relations, lesson.truth)
        return self._probability(found, relations)

    def _probability(self, log_odds: np.ndarray, relations: list[str]) -> np.ndarray:
        found = self.calibrator.probability(log_odds, relations) if self._calibrated else 1 / (1 + np.exp(-log_odds))
        return np.asarray(np.round(found, _DIGITS))  # the last bits may depend on the size of a batch

    def _promise(self, checked: Candidates, truth: np.ndarray, elsewhere: np.ndarray) -> tuple[int, int]:
        """Set the threshold on rows that did not teach; return how many of them a rule decided, and asking failed."""
        self.certificate = None
        if self.target is None:
            return 0, 0
        score, found, ruled = self._score(checked)
        score = np.where(found.unclear, np.nan, score)
        self.certificate = certify_below(
            self.drop,
            score[~ruled],
            truth[~ruled],
            self.target,
            goal=self.goal,
            level=self.level,
            others=elsewhere,
            batch=self.batch,
            groups=head_numbers(checked.heads)[~ruled] if self.sample == "heads" else None,
        )
        return int(ruled.sum()), int(found.failed.sum())

    def _score(self, candidates: Candidates) -> tuple[np.ndarray, Opinions, np.ndarray]:
        """Return P(true), what judges said, and which rows a rule has decided."""
        if not self.fitted:
            raise InvalidInputError("this filter has learned nothing yet: call fit first")
        score, ruled, rules = ruled_first(self.rules, candidates)
        rest = candidates[open_ := np.flatnonzero(~ruled)]
        relations = list(rest.relations)
        found = hear(self.judges if self.ask else (), rest)
        odds = None if self.critic is None else self.critic.log_odds(rest)
        score[open_] = self._probability(self.fusion.log_odds(found.probability, relations, odds), relations)
        if self.critic is None:
            score[open_[np.isnan(found.probability).all(axis=1)]] = np.nan
        return score, rules.followed(open_, found), ruled
