"""Folders of output: each belongs to one kind of work, and files of others are not touched."""

from __future__ import annotations

import json
from pathlib import Path

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path

__all__ = ["MARK", "claim"]

#: The file that says what a folder is for.
MARK = "_kgneg.json"
# being written by another job, or left by one that was killed
_OWN_TEMPORARY = f".{MARK}."


def claim(out: str | Path, kind: str) -> None:
    """Mark a folder as one for output of a kind; do nothing if it is one already.

    :param out: the folder; it is created
    :param kind: what is written there, such as ``"run"``
    :raises InvalidInputError: if it holds output of another kind, or files of others
    """
    out = Path(out)
    remedy = "Give a new or an empty folder, or move what is there."
    # in this order: whatever another job writes there comes after its mark
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    mark = out / MARK
    if mark.is_file():
        try:
            found = json.loads(mark.read_text(encoding="utf-8"))["kind"]
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInputError(f"{mark} does not say what the folder is for ({error!r}). {remedy}") from error
        if found != kind:
            raise InvalidInputError(f"{out} holds the output of {found}, not of {kind}. {remedy}")
        return
    foreign = [name for name in there if not name.startswith(_OWN_TEMPORARY)]
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise InvalidInputError(f"{out} holds {foreign[0]}{more}, which no {kind} has written. {remedy}")
    with atomic_path(mark) as temporary:
        temporary.write_text(json.dumps({"kind": kind}), encoding="utf-8")
