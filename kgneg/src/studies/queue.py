"""Who runs which trial: no trial twice, none too many, and nothing lost when a worker is killed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kgneg.studies.workers import is_gone, this_worker

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

__all__ = ["GONE", "INTERRUPTED", "PROGRAM", "SURPLUS", "TRIAL", "Beat", "TrialQueue"]

logger = logging.getLogger(__name__)

#: Why a trial failed: its worker is gone, its worker was asked to stop, an error of the program, a place that was
#: taken, or by itself.
GONE, INTERRUPTED, PROGRAM, SURPLUS, TRIAL = "worker gone", "interrupted", "program error", "surplus", "trial failed"
_AGAIN = (GONE, INTERRUPTED)
#: How long a worker elsewhere may be silent, in seconds, and how often it says something.
SILENCE = 120.0
_BEAT = SILENCE / 6
_LONG = 10  # times the silence: too old at first sight, if the clocks are right


class TrialQueue:
    """The places of a study, ``0`` to ``places - 1``, each of which gets one finished trial.

    A place is filled by a waiting trial. Taking a waiting trial is atomic in every storage of Optuna. Several workers
    may fill the same place at the same time; then only the trial with the lowest number runs, and the others fail as
    surplus, which is decided after the trial was taken, when all lower numbers are known. If a trial fails, its place
    is filled again; if its worker was killed or stopped, then with the same parameters and seed, once.

    :param study: the study
    :param storage: its storage
    :param places: how many trials are to be finished
    :param silence: how long, in seconds, a worker on another machine may be silent until its trial is given up
    """

    def __init__(self, study: optuna.Study, storage: Any, places: int, *, silence: float = SILENCE) -> None:
        self.study = study
        self.storage = storage
        self.places = places
        self.silence = silence
        self._id: int = storage.get_study_id_from_name(study.study_name)
        self._heard: dict[int, tuple[Any, float]] = {}

    def trials(self) -> list[FrozenTrial]:
        """Return all trials, as they are now."""
        found: list[FrozenTrial] = self.storage.get_all_trials(self._id, deepcopy=False)
        return found

    def by_place(self) -> dict[int, list[FrozenTrial]]:
        """Return the trials of each place, oldest first."""
        found: dict[int, list[FrozenTrial]] = {place: [] for place in range(self.places)}
        for trial in sorted(self.trials(), key=lambda one: one.number):
            place = trial.user_attrs.get("place")
            if place in found:
                found[place].append(trial)
        return found

    def is_done(self) -> bool:
        """Return whether every place has a finished trial."""
        return all(any(_is_finished(trial) for trial in found) for found in self.by_place().values())

    def failures(self) -> list[FrozenTrial]:
        """Return the trials that failed by themselves, oldest first."""
        return [trial for trial in self.trials() if _is_failed(trial) and _why(trial) == TRIAL]

    def fill(self) -> None:
        """Give every place without a live trial a waiting one."""
        for place, found in self.by_place().items():
            if not all(_is_failed(trial) for trial in found):
                continue
            attributes: dict[str, Any] = {"place": place}
            last = next((trial for trial in reversed(found) if _why(trial) != SURPLUS), None)
            if last is None or _why(last) not in _AGAIN or "retry_of" in last.user_attrs or not last.params:
                self.study.enqueue_trial({}, user_attrs=attributes)
                continue
            attributes |= {"retry_of": last.number, "origin": origin_of(last)}
            self.study.enqueue_trial(dict(last.params), user_attrs=attributes)

    def take(self) -> FrozenTrial | None:
        """Take a waiting trial; it runs from now on, and in this process.

        :returns: the trial, or ``None`` if none is waiting
        """
        for number in self._waiting():
            trial_id = self._trial_id(number)
            if not self._set_state(trial_id, "RUNNING"):
                continue
            self.storage.set_trial_user_attr(trial_id, "worker", this_worker())
            place = self.storage.get_trial(trial_id).user_attrs["place"]
            earlier = [one for one in self.by_place()[place] if one.number < number and not _is_failed(one)]
            if not earlier:
                return self.storage.get_trial(trial_id)  # type: ignore[no-any-return]
            self.fail(number, SURPLUS, f"trial {earlier[0].number} has this place")
        return None

    def _waiting(self) -> list[int]:
        return [trial.number for found in self.by_place().values() for trial in found if trial.state.name == "WAITING"]

    def fail(self, number: int, why: str, reason: str) -> bool:
        """Mark a trial as failed.

        :param number: its number
        :param why: one of the causes of this module
        :param reason: for people
        :returns: whether it was this call that did it
        """
        from optuna.exceptions import UpdateFinishedTrialError

        trial_id = self._trial_id(number)
        try:
            self.storage.set_trial_user_attr(trial_id, "failure", {"why": why, "reason": reason})
        except UpdateFinishedTrialError:
            return False
        return self._set_state(trial_id, "FAIL")

    def fail_stale(self) -> list[int]:
        """Mark trials whose worker has died as failed.

        On this machine a worker has died when its process is gone; elsewhere, when it has been silent for too long.

        :returns: the numbers of the trials that this call marked
        """
        marked = []
        for trial in self.trials():
            if trial.state.name == "RUNNING" and self._is_stale(trial):
                worker = trial.user_attrs.get("worker", {})
                reason = f"process {worker.get('pid', '?')} on {worker.get('host', 'an unknown host')} has ended"
                if self.fail(trial.number, GONE, reason):
                    logger.warning("trial %d: %s; it is marked as failed", trial.number, reason)
                    marked.append(trial.number)
        return marked

    def _is_stale(self, trial: FrozenTrial) -> bool:
        gone = is_gone(trial.user_attrs.get("worker", {}))
        if gone is not None:
            return gone
        beat, now = trial.user_attrs.get("beat"), time.monotonic()
        known, since = self._heard.get(trial.number, (None, now))
        if trial.number not in self._heard or known != beat:
            self._heard[trial.number] = (beat, now)
            since = now
        return now - since > self.silence or (beat is not None and time.time() - beat > _LONG * self.silence)

    def _trial_id(self, number: int) -> int:
        return int(self.storage.get_trial_id_from_study_id_trial_number(self._id, number))

    def _set_state(self, trial_id: int, name: str) -> bool:
        """Change the state of a trial; only one process can."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            return bool(self.storage.set_trial_state_values(trial_id, state=TrialState[name]))
        except UpdateFinishedTrialError:
            return False

    def trial(self, number: int) -> optuna.Trial:
        """Return a running trial in the form that suggests parameters.

        :param number: its number
        :returns: the trial
        """
        import optuna

        return optuna.trial.Trial(self.study, self._trial_id(number))

    @contextmanager
    def beating(self, number: int) -> Iterator[Beat]:
        """Say regularly that a trial is alive, while the block runs.

        :param number: the number of the trial
        :yields: what tells whether the trial still belongs to this process
        """
        beat = Beat(self.storage, self._trial_id(number), min(_BEAT, self.silence / 6))
        beat.start()
        try:
            yield beat
        finally:
            beat.stop()


class Beat(threading.Thread):
    """A thread that writes the time to a running trial.

    :param storage: the storage
    :param trial_id: the id of the trial
    :param seconds: the time between two writes
    """

    def __init__(self, storage: Any, trial_id: int, seconds: float) -> None:
        super().__init__(name=f"beat of {trial_id}", daemon=True)
        self._storage, self._trial_id, self._seconds = storage, trial_id, seconds
        self._stop_now = threading.Event()
        #: Whether others have given the trial up.
        self.lost = False

    def run(self) -> None:
        """Write until it is told to stop, or the trial is taken away."""
        from optuna.exceptions import UpdateFinishedTrialError

        while True:
            try:
                self._storage.set_trial_user_attr(self._trial_id, "beat", round(time.time(), 1))
            except UpdateFinishedTrialError:
                self.lost = True
                return
            except Exception as error:  # the storage may be back at the next beat
                logger.warning("cannot tell the storage that the trial is alive: %s", error)
            if self._stop_now.wait(self._seconds):
                return

    def stop(self) -> None:
        """Stop, and wait until the last write is done."""
        self._stop_now.set()
        self.join(timeout=60)


def origin_of(trial: FrozenTrial) -> int:
    """Return the number that the seed of a trial derives from.

    :param trial: the trial
    :returns: its own number, or that of the killed trial that it repeats
    """
    return int(trial.user_attrs.get("origin", trial.number))


def _is_finished(trial: FrozenTrial) -> bool:
    return trial.state.name in ("COMPLETE", "PRUNED")


def _is_failed(trial: FrozenTrial) -> bool:
    return trial.state.name == "FAIL"


def _why(trial: FrozenTrial) -> str | None:
    """Return why a trial failed."""
    found: str | None = trial.user_attrs.get("failure", {}).get("why")
    return found
