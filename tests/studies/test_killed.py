from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.studies import StudyResult

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="sends signals")]

TRIALS = 7
SETTINGS = (
    "--dataset", "nations", "--sampler", "basic", "--sampler", "kgneg-uniform", "--model", "distmult", "--loss", "nssa",
    "--trials", TRIALS, "--epochs", 30, "--fix", "batch_size=64", "--fix", "model.embedding_dim=16",
    "--fix", "sampler.num_negs_per_pos=5", "--prune-every", 20, "--startup", 2, "--workers", 2,
    "--training-loop", "kgneg", "--device", "cpu",
)  # fmt: skip


def start(storage: str, out: Path) -> subprocess.Popen[str]:
    """Start the command with a process group of its own."""
    command = [sys.executable, "-P", "-m", "kgneg.cli", "study", *map(str, SETTINGS)]
    return subprocess.Popen(
        [*command, "--storage", storage, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(storage: str, process: subprocess.Popen[str]) -> StudyResult:
    """Wait until some trials are finished and both workers are within another."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
        try:
            found = StudyResult.load(storage)
        except InvalidInputError:  # not begun yet
            continue
        running = [trial for trial in found.trials if trial["state"] == "running" and trial["configuration"]]
        if len(found.finished) >= 2 and len(running) == 2:
            return found
    os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError(f"it never got so far: {process.communicate()}")


def begun(out: Path) -> Counter[int]:
    """Return how often each trial was begun, as the workers tell."""
    texts = [path.read_text(encoding="utf-8") for path in (out / "workers").iterdir()]
    return Counter(int(number) for text in texts for number in re.findall(r"trial (\d+) begins", text))


def by_number(result: StudyResult) -> dict[int, Mapping[str, Any]]:
    return {trial["number"]: trial for trial in result.trials}


def check_all_killed(storage: str, out: Path) -> None:
    process = start(storage, out)
    wait_for(storage, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = by_number(StudyResult.load(storage))
    finished = {number for number, trial in before.items() if trial["state"] in ("complete", "pruned")}
    stale = {number for number, trial in before.items() if trial["state"] == "running"}
    assert len(finished) >= 2
    assert stale, "nobody was within a trial"

    again = start(storage, out)
    stderr = again.communicate(timeout=240)[1]
    assert again.returncode == 0, stderr
    result = StudyResult.load(storage)
    after = by_number(result)
    assert {number: after[number] for number in finished} == {number: before[number] for number in finished}
    for number in stale:
        assert after[number]["state"] == "fail"
        assert after[number]["failure"].startswith("worker gone: process ")
    assert len(result.finished) == TRIALS
    assert {trial["state"] for trial in result.trials} <= {"complete", "pruned", "fail"}
    assert sorted(trial["place"] for trial in result.finished) == list(range(TRIALS))
    times = begun(out)
    assert set(times.values()) == {1}, f"a trial was begun twice: {times}"
    assert {trial["number"] for trial in result.finished} <= set(times)

    repeated = {trial["retry_of"]: trial for trial in result.trials if trial["retry_of"] is not None}
    assert set(repeated) == {number for number in stale if before[number]["params"]}
    for number, trial in repeated.items():
        assert trial["configuration"] == before[number]["configuration"]
        assert trial["seed"] == before[number]["seed"]
    assert (out / "best.json").is_file()


def test_killed_on_a_journal(tmp_path: Path) -> None:
    check_all_killed(str(tmp_path / "study.log"), tmp_path / "out")


def test_killed_on_postgresql(tmp_path: Path, postgresql: str) -> None:
    check_all_killed(postgresql, tmp_path / "out")


def test_one_worker_killed(tmp_path: Path) -> None:
    storage, out = str(tmp_path / "study.log"), tmp_path / "out"
    process = start(storage, out)
    running = [trial for trial in wait_for(storage, process).trials if trial["state"] == "running"]
    os.kill(running[0]["worker"]["pid"], signal.SIGKILL)
    stderr = process.communicate(timeout=240)[1]
    assert process.returncode == 1
    assert "was killed by signal 9" in stderr
    result = StudyResult.load(storage)
    assert len(result.finished) == TRIALS, "the other worker does the rest"
    assert [trial["state"] for trial in result.trials].count("fail") == 1
    assert set(begun(out).values()) == {1}


def test_interrupted(tmp_path: Path) -> None:
    storage, out = str(tmp_path / "study.log"), tmp_path / "out"
    process = start(storage, out)
    wait_for(storage, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode != 0
    states = StudyResult.load(storage).states()
    assert "running" not in states, "workers put their trials down"
    assert states["fail"] == 2
