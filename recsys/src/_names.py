"""Which column is what."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from kgneg.core.errors import InvalidInputError

__all__ = ["ColumnChoice", "find_columns", "known_kind"]

#: A name, a position from 0, ``None``: guess, or ``False``: none.
ColumnChoice = str | int | Literal[False] | None

_KNOWN = {
    "user": "user userid uid u userindex customer customerid reviewer reviewerid visitor visitorid member memberid "
    "head",
    "item": "item itemid iid i itemindex movie movieid product productid asin parentasin book bookid isbn artist "
    "artistid song songid track trackid business businessid article articleid anime animeid recipe recipeid tail",
    "rating": "rating ratings score stars overall",
    "time": "time timestamp ts date datetime unixreviewtime unixtime",
}
_KIND_OF = {name: kind for kind, names in _KNOWN.items() for name in names.split()}


def known_kind(name: str) -> str | None:
    """Return what a column is by its name.

    :param name: the name; case and punctuation do not matter
    :returns: user, item, rating, time, or ``None``

    >>> known_kind("movieId"), known_kind("USER_ID"), known_kind("colour")
    ('item', 'user', None)
    """
    return _KIND_OF.get(re.sub(r"[^a-z0-9]", "", name.lower()))


def find_columns(source: str, names: Sequence[str], choices: Mapping[str, ColumnChoice]) -> dict[str, int]:
    """Return the position of each column.

    :param source: what has the columns, for messages
    :param names: what they are called
    :param choices: ``user``, ``item``, ``rating`` and ``time`` -> a choice
    :returns: ``user``, ``item`` and, where they are, ``rating`` and ``time`` -> position
    :raises InvalidInputError: if a column is not there, or cannot be guessed, or is used twice
    """
    found: dict[str, int] = {}
    for kind, choice in choices.items():
        if choice is not None and choice is not False:
            found[kind] = _position(source, names, kind, choice)
    taken = set(found.values())
    for kind, choice in choices.items():
        if choice is None:
            guesses = [at for at, name in enumerate(names) if known_kind(name) == kind and at not in taken]
            if len(guesses) == 1:
                found[kind] = guesses[0]
            elif guesses or kind in ("user", "item"):
                why = "several could be" if guesses else "none has a usual name for"
                raise InvalidInputError(
                    f"{source} has the columns {_listed(names)}; {why} the {kind}. Name it with {kind}=..., on the "
                    f"command line --{kind}"
                    + (
                        ""
                        if kind in ("user", "item")
                        else f"; or say {kind}=False to read without, on the command line --{kind} none"
                    )
                )
    if choices.get("user") is False or choices.get("item") is False:
        raise InvalidInputError("user and item cannot be False: an interaction has both")
    if len(set(found.values())) < len(found):
        said = ", ".join(f"{kind} {names[at]!r}" for kind, at in found.items())
        raise InvalidInputError(f"{source}: a column can be only one thing, got {said}")
    return found


def _position(source: str, names: Sequence[str], kind: str, choice: str | int) -> int:
    text = str(choice)
    if names.count(text) == 1:
        return names.index(text)
    if names.count(text) > 1:
        raise InvalidInputError(
            f"{source} has several columns {text!r}; give the position from 0, like {kind}=0, on the command line "
            f"--{kind} 0"
        )
    if isinstance(choice, int) and not isinstance(choice, bool) and 0 <= choice < len(names):
        return choice
    raise InvalidInputError(f"{source} has no column {choice!r} for the {kind}; it has {_listed(names)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
