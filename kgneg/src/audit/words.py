"""Numbers as reports write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["NONE", "interval", "myriad", "percent", "ratio", "short", "times"]

#: Stands for what is not known.
NONE = "\N{EN DASH}"
_LONGEST = 70  # characters of a text in an example


def short(text: str) -> str:
    """Return a text, cut after 70 characters.

    :param text: the text
    :returns: the text, or its beginning
    """
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def _digits(value: float) -> str:
    """Return a number with about three digits."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def percent(share: float | None) -> str:
    """Return a share in per cent.

    :param share: the share
    :returns: about three digits

    >>> percent(0.1234)
    '12.3'
    """
    return NONE if share is None else _digits(100 * share)


def myriad(share: float | None) -> str:
    """Return a share in parts of 10,000.

    :param share: the share
    :returns: about three digits
    """
    return NONE if share is None else _digits(1e4 * share)


def times(factor: float | None) -> str:
    """Return a factor.

    :param factor: the factor
    :returns: about three digits
    """
    return NONE if factor is None else _digits(factor)


def interval(found: Mapping[str, Any], factor: float) -> str:
    """Return a share and its interval.

    :param found: ``share``, ``low`` and ``high``
    :param factor: what all three are multiplied by
    :returns: such as ``1.2 [1.1, 1.3]``
    """
    if found["share"] is None:
        return NONE
    value, low, high = (_digits(factor * found[name]) for name in ("share", "low", "high"))
    return f"{value} [{low}, {high}]"


def ratio(found: Mapping[str, Any]) -> str:
    """Return a ratio and its interval.

    :param found: ``ratio``, ``low`` and ``high``
    :returns: such as ``1.2 [1.1, 1.3]``
    """
    return interval({"share": found["ratio"], "low": found["low"], "high": found["high"]}, 1)
