"""Shares that are written as text."""

from __future__ import annotations

from collections.abc import Mapping

from kgneg.core.errors import InvalidInputError

__all__ = ["parse_shares"]


def parse_shares(what: str, shares: str | Mapping[str, float]) -> list[tuple[str, float]]:
    """Read shares that may be written in one string.

    :param what: what to call them in messages
    :param shares: ``"name=share,name=share"``, where a name alone has the share 1, or a mapping
    :returns: pairs of a name and a share
    :raises InvalidInputError: if it is neither

    >>> parse_shares("components", "typed=0.5, lemon=0.5")
    [('typed', 0.5), ('lemon', 0.5)]
    """
    if isinstance(shares, Mapping):
        return list(shares.items())
    if not isinstance(shares, str):
        raise InvalidInputError(f"{what} must be a string such as 'typed=1,lemon=1' or a mapping, got {shares!r}")
    pairs = []
    for part in shares.split(","):
        name, sign, share = part.partition("=")
        try:
            pairs.append((name.strip(), float(share) if sign else 1.0))
        except ValueError as error:
            raise InvalidInputError(f"{what}: {part!r} is no name=share; write 'typed=0.5,lemon=0.5'") from error
    return pairs
