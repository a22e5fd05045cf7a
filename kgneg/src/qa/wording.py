"""How the relations of a knowledge base are put into words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from kgneg.core.errors import InvalidInputError

__all__ = ["ANSWER", "BUILTIN_TEMPLATES", "Templates", "statement", "statements", "strip_beginning"]

#: the templates that come with the package
BUILTIN_TEMPLATES = ("atomic", "conceptnet")
#: where an answer stands in a question; without it, it stands at the end
ANSWER = "{answer}"
_HEAD, _FIELDS = "{head}", {"question", "strip"}


class _Template(NamedTuple):
    question: str
    strip: tuple[str, ...]


class Templates:
    """What is asked for each relation, and what of a tail is no part of the answer.

    :param entries: relation -> ``{"question": ..., "strip": [...]}``: a text with ``{head}`` in it, and beginnings of
        tails that are left out, since the question has said them already. The answer is put at the end of the question,
        or where ``{answer}`` stands
    :param name: what they are called in messages
    :raises InvalidInputError: if an entry is malformed

    >>> Templates.load("atomic").question("PersonX calls a taxi", "xWant")
    'PersonX calls a taxi. As a result, PersonX wanted to'
    >>> Templates.load("atomic").answer("to get home.", "xWant")
    'get home'
    """

    def __init__(self, entries: Mapping[str, Mapping[str, object]], name: str = "templates") -> None:
        self.name = name
        if not isinstance(entries, Mapping) or not entries:
            raise InvalidInputError(f"{name}: expected a table of relations with {_example()}")
        self._entries = {relation: _checked(name, relation, entry) for relation, entry in entries.items()}

    @classmethod
    def load(cls, source: str | Path | Templates) -> Templates:
        """Read templates.

        :param source: ``"atomic"``, ``"conceptnet"``, a JSON file, or templates, which are returned as they are
        :returns: the templates
        :raises InvalidInputError: if there is no such file, or it is malformed
        """
        if isinstance(source, Templates):
            return source
        if source in BUILTIN_TEMPLATES:
            file = resources.files("kgneg.qa") / "templates" / f"{source}.json"
            return cls(json.loads(file.read_text(encoding="utf-8")), str(source))
        path = Path(source)
        if not path.is_file():
            known = ", ".join(BUILTIN_TEMPLATES)
            raise InvalidInputError(f"templates must be {known} or a JSON file, and there is no file {path}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidInputError(f"{path} is no JSON file of templates: {error}") from error
        return cls(content, str(path))

    @property
    def relations(self) -> tuple[str, ...]:
        """The relations that can be asked for."""
        return tuple(self._entries)

    @property
    def strips(self) -> tuple[str, ...]:
        """All beginnings of tails that are left out for some relation, the longest first."""
        found = {one for entry in self._entries.values() for one in entry.strip}
        return tuple(sorted(found, key=lambda one: (-len(one), one)))

    def check(self, relations: Iterable[str]) -> None:
        """Refuse relations that have no template.

        :param relations: the relations
        :raises InvalidInputError: if one has none; the message names it
        """
        for relation in relations:
            self._entry(relation)

    def question(self, head: str, relation: str) -> str:
        """Return the question about a head.

        :param head: the text of the head
        :param relation: the relation
        :returns: the question, which an answer completes, see :func:`statement`
        :raises InvalidInputError: if the relation has no template
        """
        # braces of a head are not the place of the answer
        asked = self._entry(relation).question.replace(_HEAD, _plain(head).replace(ANSWER, ANSWER.strip("{}")))
        return asked[:1].upper() + asked[1:]

    def answer(self, tail: str, relation: str) -> str:
        """Return the answer that a tail is.

        :param tail: the text of the tail
        :param relation: the relation
        :returns: the tail without the beginning that the question has said, and without a full stop
        :raises InvalidInputError: if the relation has no template
        """
        return strip_beginning(tail, self._entry(relation).strip)

    def _entry(self, relation: str) -> _Template:
        found = self._entries.get(relation)
        if found is None:
            raise InvalidInputError(
                f"{self.name} has no template for the relation {relation!r}, only for {', '.join(self._entries)}. "
                f"Write a JSON file that has it, with {_example()}, and give its path"
            )
        return found


def statement(question: str, answer: str) -> str:
    """Return a question and an answer to it as one text.

    :param question: the question, with or without the place of the answer
    :param answer: the answer
    :returns: the text

    >>> statement("Sam is seen as", "kind"), statement("The cat ran since {answer} was fast.", "it")
    ('Sam is seen as kind.', 'The cat ran since it was fast.')
    """
    if ANSWER in question:
        return question.replace(ANSWER, answer)
    end = "" if answer[-1:] in ".!?" else "."
    return f"{question} {answer}{end}"


def statements(questions: Sequence[str], choices: Sequence[Sequence[str]]) -> tuple[list[str], list[int]]:
    """Return each question with each of its choices as one text.

    :param questions: length: q
    :param choices: length: q
    :returns: the texts one after the other, and how many belong to each question
    """
    texts = [statement(question, one) for question, row in zip(questions, choices, strict=True) for one in row]
    return texts, [len(row) for row in choices]


def strip_beginning(text: str, beginnings: Iterable[str]) -> str:
    """Return a text without the first of some beginnings that it has, whatever the case, and without a full stop.

    :param text: the text
    :param beginnings: the beginnings, the longest first
    :returns: the rest; the text as it is where nothing else would be left
    """
    text = _plain(text)
    lowered = text.casefold()
    for one in beginnings:
        if lowered.startswith(one.casefold()) and len(text) > len(one):
            return text[len(one) :].lstrip()
    return text


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip(". ")


def _example() -> str:
    return '{"question": "{head}. PersonX is seen as", "strip": ["to be "]}'


def _checked(name: str, relation: str, entry: object) -> _Template:
    """Return an entry in the form that it is used in."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("question"), str):
        raise InvalidInputError(f"{name}: the relation {relation!r} needs a question, such as {_example()}")
    odd = sorted(set(entry) - _FIELDS)
    if odd:
        raise InvalidInputError(f"{name}: the relation {relation!r} has {odd[0]!r}, expected question and strip")
    if entry["question"].count(_HEAD) != 1:
        raise InvalidInputError(f"{name}: the question of {relation!r} needs {_HEAD} once: {entry['question']!r}")
    strip = entry.get("strip", [])
    if isinstance(strip, str) or not all(isinstance(one, str) and one.strip() for one in strip):
        raise InvalidInputError(f"{name}: strip of {relation!r} must be a list of texts, got {strip!r}")
    return _Template(entry["question"], tuple(sorted(strip, key=lambda one: (-len(one), one))))
