"""How much of a graph is asked for, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_count
from kgneg.selfinstruct.candidates import Candidates

__all__ = ["DistillSettings", "Distilled"]


@dataclass(frozen=True, kw_only=True)
class DistillSettings:
    """How much is asked for.

    :param heads: heads of each kind
    :param heads_at_once: heads in one reply, at most
    :param tails: tails of each head and relation, at most
    :param negatives: negatives of each head and relation, at most; 0 for none
    :param kinds: kinds of heads; ``None`` for all of the prompts
    :param relations: relations; ``None`` for all of the prompts
    :param temperature: how far replies vary; ``None`` leaves it to the endpoint
    :param max_characters: of a phrase; a reply with a longer one is malformed
    :param seed: the seed that is sent; ``None`` sends none
    :raises InvalidInputError: if a number is out of range, or kinds or relations are none, or one text
    """

    heads: int = 20
    heads_at_once: int = 20
    tails: int = 5
    negatives: int = 3
    kinds: tuple[str, ...] | None = None
    relations: tuple[str, ...] | None = None
    temperature: float | None = 0.7
    max_characters: int = 200
    seed: int | None = 0

    def __post_init__(self) -> None:
        for name in ("heads", "heads_at_once", "tails", "max_characters"):
            validate_count(name, getattr(self, name))
        validate_count("negatives", self.negatives, 0)
        for name in ("kinds", "relations"):
            names = getattr(self, name)
            if names is not None and (isinstance(names, str) or not names):
                raise InvalidInputError(
                    f"{name} must be names in a tuple, at least one, got {names!r}. "
                    "Leave it out to take all of the prompts."
                )


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """A distilled graph.

    :param heads: kind -> its heads
    :param triples: what the model says is true
    :param negatives: what it says is false
    :param kept: negatives that the filter keeps; ``None`` without a filter
    :param counts: what happened
    """

    heads: dict[str, list[str]]
    triples: Candidates
    negatives: Candidates
    kept: Candidates | None
    counts: dict[str, int] = field(default_factory=dict)
