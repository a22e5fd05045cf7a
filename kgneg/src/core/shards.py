"""A map over Parquet files that goes on where it was stopped: one output per shard, and a note about each."""

from __future__ import annotations

import inspect
import json
import logging
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError, KgnegError
from kgneg.core.shard_files import Shard, find_shards, plan_shards, tidy
from kgneg.core.storage import atomic_path, writing
from kgneg.core.validation import validate_count

__all__ = ["ShardError", "ShardInputError", "ShardRun", "map_shards"]

logger = logging.getLogger(__name__)


class ShardError(KgnegError, RuntimeError):
    """Some shards failed; the others are finished and are not computed again."""

    #: name of the shard -> what went wrong
    failed: dict[str, str]

    def __init__(self, message: str, failed: dict[str, str]) -> None:
        super().__init__(message)
        self.failed = failed


class ShardInputError(ShardError, InvalidInputError):
    """All shards that failed did so because their input, or a setting, cannot be used."""


class _Failure(NamedTuple):
    """Why a shard failed, as texts: not every error can be sent between processes."""

    reason: str
    #: where it happened; empty for errors that are raised on purpose
    trace: str
    #: whether the input cannot be used
    unusable: bool


class ShardRun(NamedTuple):
    """What a call of :func:`map_shards` did."""

    #: the output shards of this call, in the order of the inputs
    outputs: list[Path]
    #: how many were computed
    computed: int
    #: how many were finished before
    skipped: int


def _function_key(function: Callable[..., Any]) -> str:
    """Return a key for what a function does, or raise when it cannot be told from outside."""
    fingerprint = getattr(function, "fingerprint", None)
    if isinstance(fingerprint, str):
        return fingerprint
    if inspect.isfunction(function) and function.__closure__ is None:
        try:
            return content_key(function.__module__, function.__qualname__, inspect.getsource(function))
        except OSError:
            logger.debug("no source of %r can be found", function)
    raise InvalidInputError(
        f"it cannot be told what {function!r} depends on: give key=, and change it whenever the function or its "
        "settings change"
    )


def _compute(shard: Shard, function: Callable[[Any], Any], key: str, content: str) -> None:
    """Write the output of a shard, and then the note about it."""
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    began = time.perf_counter()
    table = shard.read()
    result = function(table)
    if not isinstance(result, pyarrow.Table):
        raise InvalidInputError(f"the function must return a pyarrow.Table, got {type(result).__name__}")
    shard.note.unlink(missing_ok=True)  # an old note must not vouch for a new output
    with writing(shard.output), atomic_path(shard.output) as temporary:
        parquet.write_table(result, temporary)
        size = temporary.stat().st_size
    note = {
        "output": shard.output.name,
        "input": str(shard.source),
        "row_groups": shard.groups,
        "input_hash": content,
        "key": key,
        "rows_in": table.num_rows,
        "rows_out": result.num_rows,
        "bytes": size,
        "seconds": round(time.perf_counter() - began, 3),
    }
    with writing(shard.note), atomic_path(shard.note) as temporary:
        temporary.write_text(json.dumps(note, indent=1), encoding="utf-8")


def _run(shard: Shard, function: Callable[[Any], Any], key: str) -> tuple[str, bool, _Failure | None]:
    """Compute a shard unless it is finished: its name, whether it was computed, and the failure if there was one."""
    try:
        content = shard.content()
        if shard.finished(content, key):
            return shard.output.name, False, None
        _compute(shard, function, key, content)
    except KgnegError as error:  # the other shards go on, and the caller hears of it
        return shard.output.name, True, _Failure(str(error), "", isinstance(error, InvalidInputError))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        return shard.output.name, True, _Failure(reason, traceback.format_exc(), False)
    return shard.output.name, True, None


def _answers(
    shards: list[Shard], function: Callable[[Any], Any], key: str, n_jobs: int, backend: str | None
) -> Iterator[tuple[str, bool, _Failure | None]]:
    """Yield what :func:`_run` returns, in the order in which shards get ready, or, with Ray, when all are ready."""
    import joblib  # type: ignore[import-untyped]

    try:
        # only the configuration finds backends that joblib registers when they are first named, such as Dask
        with nullcontext() if backend is None else joblib.parallel_config(backend):
            # Ray's backend cannot yield while it works
            way = "list" if backend == "ray" else "generator_unordered"
            parallel = joblib.Parallel(n_jobs=n_jobs, batch_size=1, return_as=way)
    except (ValueError, ImportError) as error:
        raise InvalidInputError(
            f"joblib cannot use the backend {backend!r} ({error}). Register it first: ray.util.joblib.register_ray() "
            "for 'ray'; for 'dask', make a dask.distributed.Client."
        ) from error
    try:
        yield from parallel(joblib.delayed(_run)(shard, function, key) for shard in shards)
    finally:
        if backend in (None, "loky") and n_jobs != 1:  # else idle workers stay for five minutes
            from joblib.externals.loky import get_reusable_executor  # type: ignore[import-untyped]

            get_reusable_executor().shutdown(wait=True)


def map_shards(
    function: Callable[[Any], Any],
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    key: str | None = None,
    n_jobs: int = 1,
    backend: str | None = None,
    shard: tuple[int, int] | None = None,
    row_groups: int | None = None,
    progress: bool | None = None,
) -> ShardRun:
    """Apply a function to Parquet files, one output file each, and skip on a second call what is finished.

    An output appears under its name when it is complete, and then a note beside it with the hash of the input, the key
    of the function, row counts and seconds; :func:`~kgneg.core.shard_files.read_manifest` returns the notes. A shard is
    finished when note, input, key and the size of the output agree. After a kill, only shards that were being computed
    are computed again. A shard that fails does not stop the others.

    :param function: takes and returns a :class:`pyarrow.Table`; it runs in other processes when ``n_jobs`` is not 1
    :param inputs: a folder of Parquet files, one file, or several
    :param output: the folder of the output shards, which are named like the inputs
    :param key: what stands for the function and its settings; a finished shard with another key is computed again.
        ``None`` takes the attribute ``fingerprint`` of the function, or a hash of its own source, which does not see
        changes in other functions that it calls
    :param n_jobs: how many shards to compute at once; -1 is one per core
    :param backend: a backend of joblib; ``None`` is loky, i.e. processes on this machine
    :param shard: ``(i, n)`` takes every ``n``-th shard from the ``i``-th (from 0), for job ``i`` of an array of ``n``
    :param row_groups: cut files into shards of so many row groups; ``None`` takes whole files
    :param progress: whether to show a progress bar; ``None`` shows it on a terminal
    :returns: the output files, and how many shards were computed and skipped
    :raises InvalidInputError: if inputs are missing, names collide, there is no such backend, or a key is needed
    :raises ShardError: at the end, if shards failed; it lists them
    :raises ShardInputError: if all of them failed because something that was given cannot be used
    """
    from tqdm.auto import tqdm

    output = Path(output).absolute()
    if n_jobs != -1:
        validate_count("n_jobs", n_jobs)
    if row_groups is not None:
        validate_count("row_groups", row_groups)
    key = _function_key(function) if key is None else key
    first, step = (0, 1) if shard is None else shard
    if validate_count("shard", first, 0) >= validate_count("the number of jobs in shard", step):
        raise InvalidInputError(f"shard=(i, n) needs 0 <= i < n, got {shard}")
    everything = plan_shards(find_shards(inputs), output, row_groups)
    chosen = everything[first::step]
    output.mkdir(parents=True, exist_ok=True)
    tidy(everything, output)
    disable = None if progress is None else not progress
    answers = _answers(chosen, function, key, n_jobs, backend)
    return _tally(tqdm(answers, total=len(chosen), desc="shards", unit="shard", disable=disable), chosen)


def _tally(answers: Iterable[tuple[str, bool, _Failure | None]], chosen: list[Shard]) -> ShardRun:
    """Count what was done; raise if something was not."""
    computed, skipped = 0, 0
    missing, failed, unusable = {one.output.name for one in chosen}, dict[str, str](), True
    try:
        for name, new, failure in answers:
            missing.discard(name)
            if failure is not None:
                failed[name] = failure.reason
                unusable &= failure.unusable
                if failure.trace:  # else the error at the end says everything
                    logger.error("shard %s failed: %s\n%s", name, failure.reason, failure.trace)
            else:
                computed, skipped = computed + new, skipped + (not new)
    except InvalidInputError:
        raise
    except Exception as error:  # a worker died, and nobody knows of which shard
        failed |= dict.fromkeys(missing, "not known to be finished")
        raise ShardError(
            f"the run stopped ({type(error).__name__}: {error}). Finished shards are kept; call again for the others:"
            f"{_listed(failed)}",
            failed,
        ) from error
    if failed:
        kind = ShardInputError if unusable else ShardError
        if unusable and len(set(failed.values())) == 1:
            others = "" if len(failed) == len(chosen) else ", the others are finished"
            raise kind(f"{len(failed)} of {len(chosen)} shards failed{others}: {next(iter(failed.values()))}", failed)
        raise kind(
            f"{len(failed)} of {len(chosen)} shards failed; the others are finished, and a second call computes only "
            f"these:{_listed(failed)}",
            failed,
        )
    return ShardRun([one.output for one in chosen], computed, skipped)


def _listed(failed: dict[str, str]) -> str:
    return "".join(f"\n  {name}: {failed[name]}" for name in sorted(failed))
