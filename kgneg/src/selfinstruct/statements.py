"""The templates of one relation, and which of them fits a tail."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from kgneg.core.errors import InvalidInputError

__all__ = ["Statements", "filled"]

#: either part of a triple in a template
_SLOT = re.compile(r"\{(head|tail)\}")
_CLAUSE = ("clause", "clause_positive", "clause_negated")
_PATTERNS = ("whole", "clause")
_FIELDS = {"positive", "negated", "strip", "strip_end", *_PATTERNS, *_CLAUSE}
_ENDS = tuple(".?!\u3002\uff1f\uff01")


class Statements(NamedTuple):
    """How a relation is said, and denied; the n-th negated sentence is the negation of the n-th positive one.

    :param positive: sentences with ``{head}`` and ``{tail}``
    :param negated: the negation of each
    :param strip: beginnings of tails that the sentence says already
    :param strip_end: endings of tails that the sentence says already; with the other wordings they stay
    :param whole: regular expressions; a tail that begins like one of them keeps its beginning and its ending
    :param clause: regular expressions of beginnings of tails that need other wordings
    :param clause_positive: these wordings
    :param clause_negated: the negation of each
    """

    positive: tuple[str, ...]
    negated: tuple[str, ...]
    strip: tuple[str, ...] = ()
    strip_end: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    clause: tuple[str, ...] = ()
    clause_positive: tuple[str, ...] = ()
    clause_negated: tuple[str, ...] = ()

    @classmethod
    def read(cls, where: str, entry: Any) -> Statements:
        """Return the templates that a file has for a relation.

        :param where: what they are called in messages
        :param entry: what the file says
        :returns: the templates
        :raises InvalidInputError: if something is wrong with them
        """
        if not isinstance(entry, Mapping) or not {"positive", "negated"} <= set(entry) <= _FIELDS:
            optional = ", ".join(sorted(_FIELDS - {"positive", "negated"}))
            raise InvalidInputError(f"{where} needs 'positive' and 'negated', and may have {optional}, got {entry!r}")
        lists: dict[str, tuple[str, ...]] = {}
        for field, values in entry.items():
            if not isinstance(values, (list, tuple)) or not all(isinstance(one, str) for one in values):
                raise InvalidInputError(f"{where} has the {field} {values!r}, expected a list of texts")
            lists[field] = tuple(values)
        for field in ("strip", "strip_end"):  # the longest that fits is the one that goes
            lists[field] = tuple(sorted(lists.get(field, ()), key=lambda one: (-len(one), one)))
        made = cls(**lists)
        made._check(where)
        return made

    def _check(self, where: str) -> None:
        if not self.positive or len(self.positive) != len(self.negated):
            raise InvalidInputError(
                f"{where} has {len(self.positive)} positive and {len(self.negated)} negated sentences, expected "
                "equally many, at least one of each: number k of one list is the negation of number k of the other"
            )
        if len({bool(getattr(self, name)) for name in _CLAUSE}) > 1 or len(self.clause_positive) != len(
            self.clause_negated
        ):
            raise InvalidInputError(f"{where} must have all of {', '.join(_CLAUSE)} or none, the last two equally long")
        for text in (*self.whole, *self.clause):
            try:
                re.compile(text)
            except re.error as error:
                raise InvalidInputError(f"{where}: {text!r} is no regular expression ({error}). Correct it.") from error
        said, denied = (*self.positive, *self.clause_positive), (*self.negated, *self.clause_negated)
        for text in (*said, *denied):
            if sorted(_SLOT.findall(text)) != ["head", "tail"] or "{" in _SLOT.sub("", text):
                raise InvalidInputError(
                    f"{where}: {text!r} must have {{head}} and {{tail}} once each and no other brace"
                )
        for text, negation in zip(said, denied, strict=True):
            if text == negation:
                raise InvalidInputError(
                    f"{where}: {text!r} is its own negation, so every judge would contradict itself. "
                    "Write what denies it under negated."
                )

    def fitted(self, tail: str) -> tuple[str, bool]:
        """Return what is put into the sentence for a tail, and whether it needs the other wordings.

        :param tail: the tail, without spaces around it and a final stop
        :returns: the text without what the sentence says already, unless nothing is left; and the answer
        """
        whole = _begins(tail, self.whole)
        text = tail if whole else _without_beginning(tail, self.strip)
        if _begins(text, self.clause):
            return text, True
        return text if whole else _without_ending(text, self.strip_end), False


def filled(template: str, head: str, tail: str, named: Callable[[str], str] = str) -> str:
    """Return a sentence with its parts; what braces the parts have stays as it is.

    :param template: the template
    :param head: the text for ``{head}``
    :param tail: the text for ``{tail}``
    :param named: what puts names into the words of the template itself
    :returns: the sentence, with one stop and a capital where it begins

    >>> filled("{head} is no {tail}.", "cat", "fish")
    'Cat is no fish.'
    """
    parts, sentence = {"head": head, "tail": tail}, ""
    for number, piece in enumerate(_SLOT.split(template)):
        if number % 2:
            sentence += parts[piece]
        elif number and sentence.endswith(_ENDS) and piece.startswith((".", "\u3002")):
            sentence += named(piece[1:])  # one stop is enough
        else:
            sentence += named(piece)
    first = sentence.split(" ", 1)[0]
    return sentence if any(map(str.isupper, first[1:])) else sentence[:1].upper() + sentence[1:]  # such as iPhone


def _begins(tail: str, patterns: Sequence[str]) -> bool:
    return any(re.match(one, tail, re.IGNORECASE) for one in patterns)


def _without_beginning(tail: str, beginnings: Sequence[str]) -> str:
    for beginning in beginnings:
        if len(tail) > len(beginning) and tail[: len(beginning)].casefold() == beginning.casefold():
            return tail[len(beginning) :].lstrip() or tail
    return tail


def _without_ending(tail: str, endings: Sequence[str]) -> str:
    for ending in endings:
        if len(tail) > len(ending) and tail[-len(ending) :].casefold() == ending.casefold():
            return tail[: -len(ending)].rstrip() or tail
    return tail
