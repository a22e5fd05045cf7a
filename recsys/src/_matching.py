"""Whether two sets of interactions are about the same users and items."""

from __future__ import annotations

from kgneg.core.errors import InvalidInputError
from kgneg.recsys.interactions import Interactions

__all__ = ["check_tables"]


def check_tables(known: Interactions, given: Interactions, what: str, *, users: bool = True) -> None:
    """Refuse interactions whose tables differ in size, or in labels where both have labels.

    :param known: those that a model was, or will be, fitted to
    :param given: others
    :param what: how these are called in the message
    :param users: whether the users have to be the same too
    :raises InvalidInputError: if the tables differ
    """
    for kind in ("user", "item") if users else ("item",):
        ours, theirs = getattr(known, f"num_{kind}s"), getattr(given, f"num_{kind}s")
        if ours != theirs:
            raise InvalidInputError(
                f"{what} has a table of {theirs} {kind}s, training one of {ours}: split one table, or read the second "
                "file with like=train"
            )
        ours, theirs = getattr(known, f"{kind}_labels"), getattr(given, f"{kind}_labels")
        if ours is not None and theirs is not None and ours is not theirs and ours != theirs:
            raise InvalidInputError(
                f"the {kind}s of {what} have other labels than those of training: split one table, or read the second "
                "file with like=train"
            )
