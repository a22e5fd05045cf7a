"""Who PersonX is: the persons of events, and names for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor

__all__ = ["PERSONS", "People", "given_names"]

PERSONS = ("PersonX", "PersonY", "PersonZ")
#: what stands for the persons in marked texts: letters that no text has
_MARKS = ("\ue000", "\ue001", "\ue002")
_SPELLED = re.compile(r"\bperson\s?([xyz])(?=\b|'?s\b)", re.IGNORECASE)
#: capitals alone, but for those that name a thing, such as an X ray or generation Z
_LETTER = re.compile(r"(?<![\w'&-])(?<![Gg]eneration )(?<![Vv]itamin )([XYZ])(?![\w&-]| (?:ray|rays|box|axis)\b)")


@cache
def given_names() -> tuple[str, ...]:
    """Return given names that say nothing about gender."""
    file = resources.files("kgneg.qa") / "templates" / "names.txt"
    return tuple(file.read_text(encoding="utf-8").split())


class People:
    """Finds the persons of events, and gives them names.

    :param names: at least three names; ``None`` takes :func:`given_names`
    :param aliases: names in the texts that stand for persons, such as ``{"John": "PersonX", "Tom": "PersonY"}``
    :param letters: whether the capitals ``X``, ``Y`` and ``Z`` alone are persons, too
    :raises InvalidInputError: if there are fewer than three names, or an alias stands for something else

    >>> people = People(["Kim", "Lee", "Sam"])
    >>> people.fill(people.mark("PersonX helps Person Y's friend"), ("Kim", "Lee", "Sam"))
    "Kim helps Lee's friend"
    """

    def __init__(
        self, names: Sequence[str] | None = None, *, aliases: Mapping[str, str] | None = None, letters: bool = True
    ) -> None:
        if isinstance(names, str):
            raise InvalidInputError(f"names must be several ones, got the text {names!r}")
        self.names = tuple(given_names() if names is None else names)
        if len(set(self.names)) != len(self.names) or len(self.names) < len(PERSONS):
            raise InvalidInputError(f"names must be {len(PERSONS)} different ones or more, got {list(self.names)}")
        self.letters = letters
        self._aliases = []
        for alias, person in (aliases or {}).items():
            if person not in PERSONS:
                raise InvalidInputError(f"the alias {alias!r} stands for {person!r}, expected {', '.join(PERSONS)}")
            self._aliases.append((re.compile(rf"\b{re.escape(alias)}\b"), _MARKS[PERSONS.index(person)]))

    def mark(self, text: str) -> str:
        """Return a text with one letter for each mention of a person, which :meth:`fill` puts a name for.

        :param text: the text
        """
        text = _SPELLED.sub(lambda found: _MARKS["xyz".index(found[1].lower())], text)
        if self.letters:
            text = _LETTER.sub(lambda found: _MARKS["xyz".index(found[1].lower())], text)
        for alias, mark in self._aliases:
            text = alias.sub(mark, text)
        return text

    @staticmethod
    def mentions(marked: str) -> int:
        """Return who is mentioned: 1 for PersonX, 2 for PersonY and 4 for PersonZ, added up.

        :param marked: a marked text

        >>> People.mentions(People().mark("PersonX meets PersonZ"))
        5
        """
        return sum(1 << place for place, mark in enumerate(_MARKS) if mark in marked)

    def draw(self, number: int, generator: torch.Generator) -> LongTensor:
        """Draw names for the three persons of texts.

        :param number: how many texts
        :param generator: the source of randomness
        :returns: shape: ``(number, 3)``, the places of three different names
        """
        chance = torch.rand(number, len(self.names), generator=generator)
        return chance.topk(len(PERSONS), dim=-1).indices

    @staticmethod
    def fill(marked: str, names: Sequence[str] = PERSONS) -> str:
        """Return a marked text with names.

        :param marked: the text
        :param names: length: 3, the names
        """
        for mark, name in zip(_MARKS, names, strict=True):
            marked = marked.replace(mark, name)
        return marked
