"""Folders of output: each belongs to one kind of work, and files of others are not touched."""

from __future__ import annotations

import json
from pathlib import Path

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path, writing

__all__ = ["MARK", "claim", "kind_of"]

#: The file that says what a folder is for.
MARK = "_kgneg.json"
# being written by another job, or left by one that was killed
_OWN_TEMPORARY = f".{MARK}."
_REMEDY = "Give a new or an empty folder, or move what is there."


def kind_of(folder: str | Path) -> str | None:
    """Return what a folder is for.

    :param folder: any folder
    :returns: the kind of output that it was claimed for; ``None`` if it was not claimed
    :raises InvalidInputError: if its mark is damaged
    """
    mark = Path(folder) / MARK
    if not mark.is_file():
        return None
    try:
        return str(json.loads(mark.read_text(encoding="utf-8"))["kind"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{mark} does not say what the folder is for ({error!r}). {_REMEDY}") from error


def claim(out: str | Path, kind: str, *, sign: str | None = None) -> None:
    """Mark a folder as one for output of a kind; do nothing if it is one already.

    :param out: the folder; it is created
    :param kind: what is written there, such as ``"run"``
    :param sign: the name of a file that nothing else writes; a folder that has it is one of this kind without a mark
    :raises InvalidInputError: if it holds output of another kind, or files of others
    """
    out = Path(out)
    # in this order: whatever another job writes there comes after its mark
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    mark = out / MARK
    found = kind_of(out)
    if found is not None:
        if found != kind:
            raise InvalidInputError(f"{out} holds the output of {found}, not of {kind}. {_REMEDY}")
        return
    foreign = [name for name in there if not name.startswith(_OWN_TEMPORARY)]
    if foreign and sign not in foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise InvalidInputError(f"{out} holds {foreign[0]}{more}, which no {kind} has written. {_REMEDY}")
    with writing(mark), atomic_path(mark) as temporary:
        temporary.write_text(json.dumps({"kind": kind}), encoding="utf-8")
