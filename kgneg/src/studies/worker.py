"""A worker: takes trials from the queue of a study and runs them, until all are finished."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kgneg.core.errors import KgnegError
from kgneg.studies.kinds import StudyKind, settings_from_dict
from kgneg.studies.objective import LostTrialError, TrialFailedError, run_trial, trial_seed
from kgneg.studies.queue import INTERRUPTED, PROGRAM, TRIAL, Beat, TrialQueue, origin_of
from kgneg.studies.search import make_pruner, make_search

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

__all__ = ["Worker", "main"]

logger = logging.getLogger(__name__)

INTERRUPTED_CODE = 130
_SHORTEST, _LONGEST = 0.2, 5.0  # seconds between two looks for something to do


@dataclass
class Worker:
    """Runs the trials of a study, one after the other.

    :param study: the study
    :param queue: its trials
    :param settings: its settings
    :param space: its search space
    :param data: what its trials train with and are judged on
    :param deadline: when to take no more trials, as :func:`time.monotonic` has it
    :param is_wanted: tells whether to take another trial
    """

    study: optuna.Study
    queue: TrialQueue
    settings: StudyKind
    space: Any
    data: Any
    deadline: float | None = None
    is_wanted: Callable[[], bool] = lambda: True

    def work(self, on_trial: Callable[[], object] = lambda: None) -> None:
        """Run trials until every place of the study has a finished one, time is up, or too many have failed.

        While others run the last trials, it waits: should one of them die, its trial is taken over.

        :param on_trial: called after each trial
        """
        pause = _SHORTEST
        while self.is_wanted() and (self.deadline is None or time.monotonic() < self.deadline):
            self.queue.fail_stale()
            if len(self.queue.failures()) > self.settings.failures:
                logger.warning("too many trials have failed; no more are begun")
                return
            self.queue.fill()
            taken = self.queue.take()
            if taken is not None:
                self.run(taken)
                on_trial()
                pause = _SHORTEST
            elif self.queue.is_done():
                return
            else:
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST)

    def run(self, taken: FrozenTrial) -> None:
        """Run one trial and tell the study what came out.

        :param taken: a trial that this process has taken
        """
        number = taken.number
        seed = trial_seed(self.settings.seed, origin_of(taken))
        logger.info("trial %d begins, seed %d", number, seed)
        try:
            with self.queue.beating(number) as beat:
                self.study.sampler = make_search(self.settings, number)
                self.study.pruner = make_pruner(self.settings)
                trial = self.queue.trial(number)
                score = self._score(trial, seed, beat)
        except LostTrialError as error:
            logger.warning("trial %d: %s", number, error)
        except TrialFailedError as error:
            logger.warning("trial %d failed: %s", number, error)
            self.queue.fail(number, TRIAL, str(error))
        except KeyboardInterrupt:
            self.queue.fail(number, INTERRUPTED, "the worker was asked to stop")
            raise
        except BaseException as error:
            self.queue.fail(number, PROGRAM, f"{type(error).__name__}: {error}"[:1000])
            raise
        else:
            self._tell(trial, score)

    def _score(self, trial: optuna.Trial, seed: int, beat: Beat) -> float | None:
        """Return the score of a trial, or ``None`` if it is pruned."""
        import optuna
        import torch

        configuration = self.space.suggest(trial)
        trial.set_user_attr("seed", seed)
        trial.set_user_attr("threads", torch.get_num_threads())
        trial.set_user_attr("configuration", configuration.to_dict())

        def check() -> None:
            if beat.lost:
                raise LostTrialError("others have given it up; it is left")

        try:
            return run_trial(trial, self.settings, configuration, seed, self.data, check)
        except optuna.TrialPruned:
            return None

    def _tell(self, trial: optuna.Trial, score: float | None) -> None:
        """Finish a trial, unless others have given it up at the last moment."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        state = TrialState.PRUNED if score is None else TrialState.COMPLETE
        try:
            self.study.tell(trial, score, state=state)
        except (UpdateFinishedTrialError, ValueError) as error:
            logger.warning("trial %d: its score is lost: %s", trial.number, error)
        else:
            logger.info("trial %d is %s, score %s", trial.number, state.name.lower(), score)


def _stop(signum: int, frame: Any) -> None:
    """Stop as with Ctrl-C, and do not be disturbed while doing so."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def _work(task: Mapping[str, Any]) -> None:
    """Do what a task says."""
    import torch

    from kgneg.studies.opening import open_study

    torch.set_num_threads(task["threads"])
    parent = os.getppid()
    deadline = None if task["timeout"] is None else time.monotonic() + task["timeout"]
    opened = open_study(
        settings_from_dict(task["settings"]),
        task["storage"],
        name=task["name"],
        accept_versions=task["accept_versions"],
        silence=task["silence"],
    )
    opened.worker(deadline, lambda: os.getppid() == parent).work()


def main() -> int:
    """Run a worker whose task comes as JSON on standard input.

    :returns: the exit code: 0, 1 after an error, 130 if it was asked to stop
    """
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, _stop)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("kgneg").setLevel(logging.INFO)
    try:
        _work(json.loads(sys.stdin.readline()))
    except KeyboardInterrupt:
        logger.info("stopped")
        return INTERRUPTED_CODE
    except KgnegError as error:
        logger.error("%s", error)
        return 1
    except Exception:
        logger.exception("the worker has failed")
        return 1
    return 0
