"""Where shards are computed: on this machine, or on a cluster that joblib knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kgneg.core.errors import MissingExtraError
from kgneg.core.validation import choose

__all__ = ["BACKENDS", "engine"]

#: Processes of this machine, threads, one after the other; or a cluster, which may be one of this machine.
BACKENDS = ("loky", "threading", "sequential", "ray", "dask")


@contextmanager
def engine(backend: str, address: str | None = None, jobs: int = 1) -> Iterator[str]:
    """Get a backend of joblib ready, and leave a cluster that was reached for this.

    A cluster that the caller has reached before is used, and not left.

    :param backend: one of :data:`BACKENDS`
    :param address: of a running cluster; ``None`` takes that of the environment (Ray: ``RAY_ADDRESS``), or starts one
        on this machine
    :param jobs: processes of a cluster on this machine; -1 is one per core
    :yields: the name for joblib
    """
    choose("backend", backend, BACKENDS)
    if backend == "ray":
        with _ray(address, jobs):
            yield backend
    elif backend == "dask":
        with _dask(address, jobs):
            yield backend
    else:
        yield backend


@contextmanager
def _ray(address: str | None, jobs: int) -> Iterator[None]:
    import os

    try:
        import ray  # type: ignore[import-not-found,unused-ignore]
        from ray.util.joblib import register_ray  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise MissingExtraError("Ray is not installed: pip install 'kgneg[ray]'") from error
    ours = not ray.is_initialized()
    if ours and (address is not None or "RAY_ADDRESS" in os.environ):
        ray.init(address=address)
    elif ours:
        ray.init(num_cpus=None if jobs == -1 else jobs, include_dashboard=False)
    register_ray()
    try:
        yield
    finally:
        if ours:
            ray.shutdown()


@contextmanager
def _dask(address: str | None, jobs: int) -> Iterator[None]:
    try:
        from dask.distributed import Client  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise MissingExtraError("Dask is not installed: pip install 'kgneg[dask]'") from error
    if address is None:
        try:
            Client.current()
        except ValueError:
            pass  # there is none
        else:
            yield
            return
    # joblib finds the client that was made last
    local = {"n_workers": None if jobs == -1 else jobs, "threads_per_worker": 1, "dashboard_address": None}
    with Client(address) if address is not None else Client(**local):
        yield
