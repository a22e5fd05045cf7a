"""Exceptions that a caller may want to catch. Every message names the value, the limit and a remedy."""

from __future__ import annotations

__all__ = [
    "DivergedError",
    "ExhaustedPoolError",
    "InvalidInputError",
    "KeyOverflowError",
    "KgnegError",
    "MissingExtraError",
    "MissingTextError",
]


class KgnegError(Exception):
    """Base class of all errors raised on purpose by kgneg."""


class InvalidInputError(KgnegError, ValueError):
    """The input cannot be used; the message says what was found, what is allowed, and what to do."""


class KeyOverflowError(InvalidInputError):
    """A graph is too large for one 64-bit key per triple."""


class MissingTextError(InvalidInputError):
    """Some entities have no text."""


class ExhaustedPoolError(KgnegError, RuntimeError):
    """There is nothing left to draw: every candidate is a known triple."""


class MissingExtraError(KgnegError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class DivergedError(KgnegError, RuntimeError):
    """Training has left the numbers: a loss or a parameter is infinite or NaN; the last good state was kept."""
