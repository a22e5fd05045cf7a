"""Triples as sentences, in a positive and a negated form, by templates that are data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_count
from kgneg.selfinstruct.candidates import Candidates

__all__ = ["BUILTIN_LANGUAGES", "Verbalizer"]

#: the languages whose templates come with the package
BUILTIN_LANGUAGES = ("en", "zh")
_CLAUSE = ("clause", "clause_positive", "clause_negated")
_FIELDS = {"positive", "negated", "strip", *_CLAUSE}
_SLOT = re.compile(r"\{(head|tail)\}")
_STOPS = " \t\r\n.\u3002!\uff01;\uff1b,\uff0c"  # also those of Chinese
#: texts that end with an abbreviation, which keeps its stop
_ABBREVIATED = re.compile(r"(?:^|\W)(?:(?:[A-Za-z]\.){2,}|(?:etc|Inc|Ltd|Corp|Co|Jr|Sr|Mr|Mrs|Dr|St)\.)$")
_ENDS = ".?!\u3002\uff1f\uff01"
_EXAMPLE = '{"relations": {"IsA": {"positive": ["{head} is a {tail}."], "negated": ["{head} is no {tail}."]}}}'


class _Statements(NamedTuple):
    positive: tuple[str, ...]
    negated: tuple[str, ...]
    strip: tuple[str, ...]
    clause: tuple[str, ...] = ()
    clause_positive: tuple[str, ...] = ()
    clause_negated: tuple[str, ...] = ()

    def fits(self, tail: str) -> bool:
        """Return whether a tail begins in a way that needs the other wordings."""
        return any(re.match(one, tail, re.IGNORECASE) for one in self.clause)


class Verbalizer:
    """Puts triples into words: per relation, one or more positive sentences and the negation of each.

    The templates are a JSON file, one object per relation: ``positive`` and ``negated``, equally long lists of
    paraphrases with ``{head}`` and ``{tail}`` in them, and optionally ``strip``, beginnings of tails that the sentence
    says already. ``clause``, ``clause_positive`` and ``clause_negated`` are other wordings for tails that begin with
    one of the regular expressions ``clause``, such as ``"to "`` or ``"PersonY "``. Templates for ATOMIC, ATOMIC 2020,
    CKBP and ConceptNet come with the package, in English and Chinese.

    :param relations: relation -> its templates
    :param aliases: other names of relations
    :param language: the language of the sentences, for the record
    :param names: words that are replaced in heads and tails, for example ``{"PersonX": "Alex"}``
    :param source: what the templates are called in messages
    :raises InvalidInputError: if templates are malformed; the message names the relation

    >>> words = Verbalizer.load("statements")
    >>> words.positive(Candidates.from_triples([("PersonX wins", "xWant", "to celebrate")]))
    ['PersonX wins. As a result, PersonX wants to celebrate.']
    """

    def __init__(
        self,
        *,
        relations: Mapping[str, Mapping[str, Sequence[str]]],
        aliases: Mapping[str, str] | None = None,
        language: str = "en",
        names: Mapping[str, str] | None = None,
        source: str = "templates",
    ) -> None:
        self.language, self.source = language, source
        if not isinstance(relations, Mapping) or not relations:
            raise InvalidInputError(f"{source}: expected relations with templates, such as {_EXAMPLE}")
        self._entries = {relation: _checked(source, relation, entry) for relation, entry in relations.items()}
        self._aliases = dict(aliases or {})
        for alias, relation in self._aliases.items():
            if relation not in self._entries:
                raise InvalidInputError(
                    f"{source}: the alias {alias!r} stands for {relation!r}, which has no templates. Add them."
                )
        self._names = dict(names or {})
        self._words = _words(self._names)

    @classmethod
    def load(
        cls, source: str | Path | Verbalizer = "statements", *, language: str = "en", names: Any = None
    ) -> Verbalizer:
        """Read templates.

        :param source: ``"statements"``, which come with the package, a JSON file, or a verbalizer, which is returned
            as it is
        :param language: ``"en"`` or ``"zh"`` of those that come with the package; a file says itself what it is
        :param names: words that are replaced in heads and tails
        :returns: the verbalizer
        :raises InvalidInputError: if there is no such file or language, or the file is malformed
        """
        if isinstance(source, Verbalizer):
            return source
        if source == "statements":
            if language not in BUILTIN_LANGUAGES:
                raise InvalidInputError(
                    f"language must be one of {', '.join(BUILTIN_LANGUAGES)}, got {language!r}. "
                    f"For another one, write a JSON file such as {_EXAMPLE} and give its path."
                )
            file = resources.files("kgneg.selfinstruct") / "templates" / f"statements_{language}.json"
            return cls._of(json.loads(file.read_text(encoding="utf-8")), f"statements_{language}", language, names)
        path = Path(source)
        if not path.is_file():
            raise InvalidInputError(f"templates must be 'statements' or a JSON file, and there is no file {path}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidInputError(f"{path} is no JSON file of templates ({error}), expected {_EXAMPLE}") from error
        return cls._of(content, str(path), language, names)

    @classmethod
    def _of(cls, content: Any, source: str, language: str, names: Any) -> Verbalizer:
        known = {"relations", "aliases", "language", "about"}
        if not isinstance(content, dict) or "relations" not in content or set(content) - known:
            raise InvalidInputError(f"{source}: expected an object with the keys {sorted(known)}, such as {_EXAMPLE}")
        return cls(
            relations=content["relations"],
            aliases=content.get("aliases"),
            language=content.get("language", language),
            names=names,
            source=source,
        )

    @property
    def relations(self) -> tuple[str, ...]:
        """The relations that have templates, aliases last."""
        return (*self._entries, *self._aliases)

    def fingerprint(self) -> str:
        """Return a hash of everything that the sentences depend on.

        :returns: the hash, in hexadecimal
        """
        entries = {relation: list(map(list, entry)) for relation, entry in self._entries.items()}
        return content_key({"relations": entries, "aliases": self._aliases, "names": self._names})

    def content(self) -> dict[str, Any]:
        """Return the arguments that make this verbalizer again, as JSON has them.

        :returns: names and plain values
        """
        entries = {
            relation: {name: list(texts) for name, texts in entry._asdict().items()}
            for relation, entry in self._entries.items()
        }
        return {"relations": entries, "aliases": self._aliases, "names": self._names, "language": self.language}

    def check(self, relations: Sequence[str]) -> None:
        """Refuse relations without templates.

        :param relations: the relations
        :raises InvalidInputError: if one has none; the message names it and the known ones
        """
        for relation in dict.fromkeys(relations):
            self._entry(relation)

    def paraphrases(self, relation: str) -> int:
        """Return how many paraphrases a relation has.

        :param relation: the relation
        :returns: the number, at least 1
        """
        return len(self._entry(relation).positive)

    def positive(self, candidates: Candidates, paraphrase: int = 0) -> list[str]:
        """Return the sentences that say that the triples are true.

        :param candidates: the triples, ``n`` of them
        :param paraphrase: which wording; counted round when a relation has fewer
        :returns: shape: ``(n,)``, the sentences
        """
        return self._said(candidates, paraphrase, lambda entry: (entry.positive, entry.clause_positive))

    def negated(self, candidates: Candidates, paraphrase: int = 0) -> list[str]:
        """Return the sentences that say that the triples are false.

        :param candidates: the triples, ``n`` of them
        :param paraphrase: which wording; counted round when a relation has fewer
        :returns: shape: ``(n,)``, the sentences
        """
        return self._said(candidates, paraphrase, lambda entry: (entry.negated, entry.clause_negated))

    def _said(
        self, candidates: Candidates, paraphrase: int, form: Callable[[_Statements], tuple[tuple[str, ...], ...]]
    ) -> list[str]:
        which = validate_count("paraphrase", paraphrase, 0)
        self.check(candidates.relations)
        said = []
        for head, relation, tail in candidates.triples():
            entry = self._entry(relation)
            stripped = _stripped(tail, entry.strip)
            wordings = form(entry)[entry.fits(stripped)]
            parts = {"head": self._plain(head), "tail": self._plain(stripped)}
            said.append(_filled(wordings[which % len(wordings)], parts))
        return said

    def _plain(self, text: str) -> str:
        joined = " ".join(text.split())
        plain = joined if _ABBREVIATED.search(joined) else joined.rstrip(_STOPS) or joined
        return plain if self._words is None else self._words.sub(lambda found: self._names[found.group()], plain)

    def _entry(self, relation: str) -> _Statements:
        found = self._entries.get(self._aliases.get(relation, relation))
        if found is None:
            raise InvalidInputError(
                f"{self.source} has no templates for the relation {relation!r}, only for {', '.join(self.relations)}. "
                f"Write a JSON file that has it, such as {_EXAMPLE}, and give its path."
            )
        return found


def _checked(source: str, relation: str, entry: Any) -> _Statements:
    """Return the templates of a relation, or say what is wrong with them."""
    where = f"{source}: the relation {relation!r}"
    if not isinstance(entry, Mapping) or not {"positive", "negated"} <= set(entry) <= _FIELDS:
        raise InvalidInputError(
            f"{where} needs 'positive' and 'negated', and may have 'strip' and 'clause', got {entry!r}"
        )
    lists = {}
    for field, values in entry.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not all(isinstance(v, str) for v in values):
            raise InvalidInputError(f"{where} has the {field} {values!r}, expected a list of texts")
        lists[field] = tuple(values)
    positive, negated = lists["positive"], lists["negated"]
    if not positive or len(positive) != len(negated):
        raise InvalidInputError(
            f"{where} has {len(positive)} positive and {len(negated)} negated sentences, expected equally many, at "
            "least one of each: number k of one list is the negation of number k of the other"
        )
    given = [lists.get(name, ()) for name in _CLAUSE]
    if len({bool(one) for one in given}) > 1 or len(given[1]) != len(given[2]):
        raise InvalidInputError(f"{where} must have all of {', '.join(_CLAUSE)} or none, the last two equally long")
    for text in given[0]:
        try:
            re.compile(text)
        except re.error as error:
            raise InvalidInputError(f"{where}: {text!r} is no regular expression ({error}). Correct it.") from error
    for text in (*positive, *negated, *given[1], *given[2]):
        slots = _SLOT.findall(text)
        if sorted(slots) != ["head", "tail"] or "{" in _SLOT.sub("", text):
            raise InvalidInputError(f"{where}: {text!r} must have {{head}} and {{tail}} once each and no other brace")
    strip = tuple(sorted(lists.get("strip", ()), key=lambda one: (-len(one), one)))
    return _Statements(positive, negated, strip, *given)


def _stripped(tail: str, beginnings: tuple[str, ...]) -> str:
    """Return the tail without the longest beginning that the sentence says already, unless nothing is left."""
    tail = tail.strip()
    for beginning in beginnings:
        if len(tail) > len(beginning) and tail[: len(beginning)].casefold() == beginning.casefold():
            return tail[len(beginning) :].lstrip() or tail
    return tail


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """Return a sentence with its parts; what braces the parts have stays as it is."""

    def part(found: re.Match[str]) -> str:
        text = parts[found.group(1)]
        return text if text.endswith(tuple(_ENDS)) else text + found.group(2)  # one stop is enough

    sentence = re.sub(_SLOT.pattern + "([.\u3002]?)", part, template)
    first = sentence.split(" ", 1)[0]
    return sentence if any(map(str.isupper, first[1:])) else sentence[:1].upper() + sentence[1:]  # such as iPhone


def _words(names: Mapping[str, str]) -> re.Pattern[str] | None:
    """Return what finds words that are replaced, the longest first, or ``None`` if there are none."""
    if not names:
        return None
    known = "|".join(re.escape(one) for one in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z0-9_])(?:{known})(?![A-Za-z0-9_])")
