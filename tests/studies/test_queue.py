from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import optuna
import pytest

from kgneg.studies.queue import GONE, SURPLUS, TRIAL, TrialQueue
from kgneg.studies.storage import storage_from
from kgneg.studies.workers import is_gone, this_worker


def queue_of(path: Path, places: int = 3, **options: Any) -> TrialQueue:
    storage = storage_from(str(path))
    study = optuna.create_study(storage=storage, study_name="one", direction="maximize", load_if_exists=True)
    return TrialQueue(study, storage, places, **options)


@pytest.fixture(params=["study.log", "study.db"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def finish(queue: TrialQueue, number: int, value: float = 0.5) -> None:
    queue.study.tell(queue.trial(number), value)


def test_each_place_once(path: Path) -> None:
    queue, other = queue_of(path), queue_of(path)
    queue.fill()
    other.fill()
    taken = [one.number for one in (queue.take(), other.take(), queue.take()) if one is not None]
    assert taken == [0, 1, 2]
    assert queue.take() is None
    for number in taken:
        assert not queue.is_done()
        finish(queue, number)
    assert other.is_done()
    other.fill()
    assert len(other.trials()) == 3


def test_a_place_that_was_filled_twice(path: Path) -> None:
    queue = queue_of(path, places=1)
    queue.study.enqueue_trial({}, user_attrs={"place": 0})
    queue.study.enqueue_trial({}, user_attrs={"place": 0})
    taken = queue.take()
    assert taken is not None
    assert taken.number == 0
    assert queue.take() is None
    last = queue.trials()[1]
    assert (last.state.name, last.user_attrs["failure"]["why"]) == ("FAIL", SURPLUS)
    finish(queue, 0)
    assert queue.is_done()


def test_many_threads_take_each_trial_once(tmp_path: Path) -> None:
    taken: list[int] = []
    start = threading.Barrier(4)

    def work() -> None:
        queue = queue_of(tmp_path / "study.log", places=8)
        start.wait()
        while not queue.is_done():
            queue.fill()
            trial = queue.take()
            if trial is not None:
                taken.append(trial.number)
                finish(queue, trial.number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    queue = queue_of(tmp_path / "study.log", places=8)
    finished = [trial for trial in queue.trials() if trial.state.name == "COMPLETE"]
    assert len(taken) == len(set(taken)) == len(finished) == 8
    assert sorted(trial.user_attrs["place"] for trial in finished) == list(range(8))


def test_killed_trials_are_repeated_once(path: Path) -> None:
    queue = queue_of(path, places=1)
    queue.fill()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for number in range(3):
        taken = queue.take()
        assert taken is not None
        assert taken.number == number
        x = queue.trial(number).suggest_float("x", 0, 1)
        assert queue.fail_stale() == [], "this process lives"
        gone = {**this_worker(), "pid": dead.pid, "started": 1}
        queue.storage.set_trial_user_attr(queue._trial_id(number), "worker", gone)
        assert queue.fail_stale() == [number]
        assert queue.trials()[number].user_attrs["failure"]["why"] == GONE
        assert not queue.failures(), "it did not fail by itself"
        queue.fill()
        new = queue.trials()[number + 1]
        if number == 0:
            assert new.user_attrs["retry_of"] == 0
            assert new.user_attrs["origin"] == 0
            assert new.system_attrs["fixed_params"] == {"x": x}
        elif number == 1:
            assert "retry_of" not in new.user_attrs, "what killed two workers is not tried a third time"
            assert new.system_attrs["fixed_params"] == {}


def test_failures_get_another_configuration(path: Path) -> None:
    queue = queue_of(path, places=1)
    queue.fill()
    assert queue.take() is not None
    queue.trial(0).suggest_float("x", 0, 1)
    assert queue.fail(0, TRIAL, "no memory")
    assert not queue.fail(0, TRIAL, "again")
    assert [trial.number for trial in queue.failures()] == [0]
    queue.fill()
    assert queue.trials()[1].user_attrs == {"place": 0}


def test_silent_workers_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = queue_of(tmp_path / "study.log", places=1, silence=60)
    queue.fill()
    assert queue.take() is not None
    now = [1000.0]
    monkeypatch.setattr("kgneg.studies.queue.time.monotonic", lambda: now[0])
    monkeypatch.setattr("kgneg.studies.queue.is_gone", lambda worker: None)
    trial_id = queue._trial_id(0)
    assert queue.fail_stale() == []
    now[0] += 50
    queue.storage.set_trial_user_attr(trial_id, "beat", 2e9)
    assert queue.fail_stale() == []
    now[0] += 50
    assert queue.fail_stale() == [], "it was heard 50 seconds ago"
    now[0] += 20
    assert queue.fail_stale() == [0]
    with queue.beating(0) as beat:
        beat.join(timeout=10)
        assert beat.lost


def test_who_is_gone() -> None:
    here = this_worker()
    assert here["pid"] == os.getpid()
    assert is_gone(here) is False
    assert is_gone({**here, "started": here["started"] + 1}) is True, "the number belongs to another process now"
    assert is_gone({**here, "host": "elsewhere"}) is None
    assert is_gone({**here, "machine": "before the restart"}) is None
    assert is_gone({}) is None
