"""Run a study: in this process, or with many worker processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_count
from kgneg.studies.kinds import StudyKind
from kgneg.studies.opening import OpenStudy, open_study
from kgneg.studies.queue import SILENCE
from kgneg.studies.result import StudyResult
from kgneg.studies.storage import StorageAddress

__all__ = ["run_study"]

_PAUSE = 0.5
_PATIENCE = 30.0  # seconds that a worker has to put its trial down


def run_study(
    settings: StudyKind,
    storage: str,
    *,
    name: str | None = None,
    workers: int = 1,
    threads: int = 1,
    timeout: float | None = None,
    logs: str | Path | None = None,
    data: Any = None,
    accept_versions: bool = False,
    silence: float = SILENCE,
    progress: bool | None = None,
) -> StudyResult:
    """Run the trials of a study that are not finished yet.

    The same call goes on after an interruption, or with more ``trials``; any number of programs may call it at the same
    time, on one machine or several, and share the work.

    :param settings: the settings, of either kind
    :param storage: where the study is kept: ``study.log``, ``sqlite:///study.db``, ``postgresql://...``,
        ``grpc://host:port``
    :param name: the name of the study in the storage; ``None`` takes that of the graph
    :param workers: the number of processes; one works in this process
    :param threads: threads of torch in each worker; more than one pays off with large models only, and never where the
        processors are shared with others
    :param timeout: seconds after which no trial is begun any more
    :param logs: a folder for what the worker processes log; ``None`` keeps nothing
    :param data: the triples or interactions, if they are in memory already; with one worker only
    :param accept_versions: whether to go on with other versions of the libraries than the study began with
    :param silence: how long, in seconds, a worker on another machine may be silent until its trial is given up
    :param progress: whether to show a progress bar; ``None`` shows it on a terminal
    :returns: what is known of all trials; :attr:`~kgneg.studies.StudyResult.problems` tells what went wrong
    :raises InvalidInputError: if there is another study of that name, triples cannot be read, or a sampler cannot be
        constructed

    >>> import tempfile
    >>> from kgneg.studies import StudySettings
    >>> settings = StudySettings(dataset="nations", samplers=("basic",), trials=1, epochs=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = run_study(settings, f"{folder}/study.log", progress=False)
    >>> result.states()
    {'complete': 1}
    """
    validate_count("workers", workers)
    validate_count("threads", threads)
    if timeout is not None and not timeout > 0:
        raise InvalidInputError(f"timeout must be above 0 seconds, got {timeout!r}")
    if not silence > 0:
        raise InvalidInputError(f"silence must be above 0 seconds, got {silence!r}")
    if workers > 1 and data is not None:
        raise InvalidInputError("triples in memory cannot be shared with other processes; use one worker, or files")
    many_on_sqlite = workers > 1 and StorageAddress.parse(storage).kind == "sqlite"
    opened = open_study(
        settings,
        storage,
        name=name,
        data=data,
        accept_versions=accept_versions,
        silence=silence,
        new=not many_on_sqlite,
    )
    opened.try_samplers()
    opened.queue.fail_stale()
    opened.queue.fill()
    with _bar(opened, progress) as refresh:
        if workers == 1:
            problems = _work_here(opened, threads, timeout, refresh)
        else:
            task = {
                "settings": settings.to_dict(),
                "storage": storage,
                "name": opened.study.study_name,
                "threads": threads,
                "timeout": timeout,
                "accept_versions": accept_versions,
                "silence": silence,
            }
            problems = _work_there(task, workers, None if logs is None else Path(logs), refresh)
    failed = opened.queue.failures()
    if len(failed) > settings.failures and not opened.queue.is_done():
        reason = failed[-1].user_attrs["failure"]["reason"]
        problems.append(f"{len(failed)} trials have failed, more than {settings.failures}; the last one: {reason}")
    return StudyResult.of(opened.study, opened.address, problems)


@contextmanager
def _bar(opened: OpenStudy, progress: bool | None) -> Iterator[Callable[[], None]]:
    """Show how many trials are finished; yield what brings it up to date."""
    from tqdm.auto import tqdm

    with tqdm(
        total=opened.settings.trials, desc="study", unit="trial", disable=None if progress is None else not progress
    ) as bar:

        def refresh() -> None:
            if bar.disable:
                return
            finished = [one for one in opened.queue.trials() if one.state.name in ("COMPLETE", "PRUNED")]
            best = max((one.value for one in finished if one.state.name == "COMPLETE" and one.value), default=None)
            bar.n = min(len(finished), opened.settings.trials)
            bar.set_postfix_str("" if best is None else f"best {opened.settings.objective} {best:.4f}")

        refresh()
        yield refresh
        refresh()


def _work_here(opened: OpenStudy, threads: int, timeout: float | None, refresh: Callable[[], None]) -> list[str]:
    """Work in this process, and leave its random streams and threads as they were."""
    import torch

    from kgneg.core.seeding import global_streams_kept

    before = torch.get_num_threads()
    deadline = None if timeout is None else time.monotonic() + timeout
    with global_streams_kept():
        try:
            torch.set_num_threads(threads)
            opened.worker(deadline).work(refresh)
        finally:
            torch.set_num_threads(before)
    return []


def _work_there(task: dict[str, Any], workers: int, logs: Path | None, refresh: Callable[[], None]) -> list[str]:
    """Start worker processes and wait for them; return what went wrong."""
    started: list[tuple[subprocess.Popen[str], Path | None]] = []
    stamp = f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{os.getpid()}"
    with _terminated_like_interrupted():
        try:
            for number in range(workers):
                log = None if logs is None else logs / f"{stamp}-{number}.log"
                started.append((_start(task, log), log))
            while any(process.poll() is None for process, _ in started):
                refresh()
                time.sleep(_PAUSE)
        except BaseException:
            _stop_all([process for process, _ in started])
            raise
    return [_problem(process, log) for process, log in started if process.returncode]


def _start(task: dict[str, Any], log: Path | None) -> subprocess.Popen[str]:
    """Start one worker. Its task comes by standard input, where nobody sees the password of a data base."""
    command = [sys.executable, "-P", "-m", "kgneg.studies"]
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    with open(log or os.devnull, "a", encoding="utf-8") as errors:  # noqa: PTH123
        process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, text=True
        )
    if process.stdin is None:
        raise RuntimeError("the worker has no standard input")
    try:
        with process.stdin:
            process.stdin.write(json.dumps(task) + "\n")
    except BrokenPipeError:
        pass  # it has died already, which is reported later
    return process


def _problem(process: subprocess.Popen[str], log: Path | None) -> str:
    """Say how a worker ended."""
    code = process.returncode
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    lines = [] if log is None else log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = f": {lines[-1]}" if lines and code > 0 else ""
    return f"worker {process.pid} {how}{said}" + ("" if log is None else f" (see {log})")


def _stop_all(processes: list[subprocess.Popen[str]]) -> None:
    """Ask workers to put their trials down, and wait; those that do not are killed."""
    signals = (signal.SIGINT, signal.SIGTERM) if os.name == "posix" else (signal.SIGTERM, signal.SIGTERM)
    for which in signals:
        for process in processes:
            if process.poll() is None:
                process.send_signal(which)
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and any(process.poll() is None for process in processes):
            time.sleep(0.05)
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Treat SIGTERM, which schedulers send, as Ctrl-C; only possible in the main thread."""

    def stop(signum: int, frame: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
