"""Who works on a trial, and whether it is still alive."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["is_gone", "this_worker"]


@cache
def _machine() -> str:
    """Return what tells this machine, since its last start, from others; containers count as machines."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # no Linux
        return f"{uuid.getnode():012x}"
    return f"{boot} {space}"


def _started(pid: int) -> int | None:
    """Return when a process was started, in ticks since the start of the machine; ``None`` if it does not run."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()  # the name of the program may have blanks and brackets
    return None if state in "ZXx" else int(rest[18])


def this_worker() -> dict[str, Any]:
    """Return what tells this process from all others, for :func:`is_gone`.

    :returns: ``host``, ``machine``, ``pid`` and ``started`` (``None`` where the system does not tell)

    >>> is_gone(this_worker())
    False
    """
    return {"host": platform.node(), "machine": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}


def is_gone(worker: Mapping[str, Any]) -> bool | None:
    """Return whether a process has ended.

    :param worker: from :func:`this_worker`, of any process
    :returns: ``True`` if it has ended, ``False`` if it runs, and ``None`` if that cannot be told: it runs on another
        machine, or the system does not tell when a process was started (only Linux does)
    """
    here = this_worker()
    if (worker.get("host"), worker.get("machine")) != (here["host"], here["machine"]):
        return None
    if worker.get("started") is None or here["started"] is None:
        return None
    return bool(_started(int(worker["pid"])) != worker["started"])
